/**
 * The specification's OpenAPI files and event schemas (`test/spec/`) in one value: reading 200 files of YAML takes
 * seconds, so what came of it is kept in `node_modules/.cache` until a file changes.
 */

import { createHash } from 'node:crypto';
import { existsSync, globSync, mkdirSync, readFileSync, renameSync, statSync, writeFileSync } from 'node:fs';
import path from 'node:path';

export type Schema = { readonly [key: string]: unknown };

/** By status, then by content type; an answer or a body without a schema is `true`. */
export type Contents = Readonly<Record<string, Schema | true>>;

export interface Parameter {
  readonly name: string;
  readonly required: boolean;
  readonly schema: Schema;
}

export interface Operation {
  readonly api: 'application-service' | 'client-server' | 'identity' | 'push-gateway' | 'server-server';
  readonly method: string;
  /** With its parameters in braces. */
  readonly path: string;
  readonly responses: Readonly<Record<string, Contents>>;
  readonly requestBody?: Contents;
  readonly isBodyRequired: boolean;
  readonly query: readonly Parameter[];
}

export interface Bundle {
  readonly operations: readonly Operation[];
  /** Whole files, by their paths in `test/spec/`. `$ref`s name them, with a pointer where only a part is meant. */
  readonly files: Readonly<Record<string, Schema>>;
}

const root = path.resolve(import.meta.dirname, '../../..');
const specFolder = path.join(root, 'test/spec');
const cacheFolder = path.join(root, 'node_modules/.cache/kurir-spec');
/** What only people read. */
const PROSE = /^(title|description|summary|examples?|x-(addedIn|changedIn).*|x-weight|externalDocs)$/;
/** Under these, keys are names that the specification gives, not words of JSON schema. */
const NAMES = new Set(['properties', 'patternProperties', '$defs', 'dependentRequired']);
/** Makes references absolute, so that they mean the same wherever they stand. */
export const SCHEME = 'spec:/';
const METHODS = ['get', 'put', 'post', 'delete'];

let loaded: Bundle | undefined;

export async function specBundle(): Promise<Bundle> {
  if (loaded !== undefined) return loaded;
  const names = globSync('**/*.yaml', { cwd: specFolder }).sort();
  const cached = path.join(cacheFolder, `${keyOf(names)}.json`);
  if (!existsSync(cached)) {
    const bundle = await readBundle(names);
    mkdirSync(cacheFolder, { recursive: true });
    // Several processes may do this at once: the last one wins, with the same text.
    writeFileSync(`${cached}.${process.pid}`, JSON.stringify(bundle));
    renameSync(`${cached}.${process.pid}`, cached);
  }
  loaded = JSON.parse(readFileSync(cached, 'utf8')) as Bundle;
  return loaded;
}

/** Of what is read, and of this file, which says how. */
function keyOf(names: readonly string[]): string {
  const hash = createHash('sha256').update(readFileSync(import.meta.filename));
  for (const name of names) {
    const { size, mtimeMs } = statSync(path.join(specFolder, name));
    hash.update(`${name} ${size} ${mtimeMs}\n`);
  }
  return hash.digest('hex').slice(0, 16);
}

async function readBundle(names: readonly string[]): Promise<Bundle> {
  const { parse } = await import('yaml');
  const files = new Map<string, Schema>();
  for (const name of names) {
    const text = readFileSync(path.join(specFolder, name), 'utf8');
    files.set(name, clean(parse(text), name) as Schema);
  }
  const operations = [...files].flatMap(([name, file]) => operationsOf(name, file, files));
  return { operations, files: Object.fromEntries(files) };
}

/** Without prose, and with references by the path from `test/spec/`. */
function clean(node: unknown, file: string, areNames = false): unknown {
  if (Array.isArray(node)) return node.map((each) => clean(each, file));
  if (typeof node !== 'object' || node === null) return node;
  const entries = Object.entries(node).filter(([key]) => areNames || !PROSE.test(key));
  const cleaned: Record<string, unknown> = {};
  for (const [key, value] of entries) {
    if (!areNames && key === '$ref' && typeof value === 'string')
      cleaned.$ref = referenceFrom(file, value.trim());
    else cleaned[key] = clean(value, file, !areNames && NAMES.has(key));
  }
  return areNames ? cleaned : withNamesChecked(cleaned);
}

function referenceFrom(file: string, reference: string): string {
  const [target = '', pointer = ''] = reference.split('#');
  const resolved = target === '' ? file : path.posix.join(path.posix.dirname(file), target);
  return `${SCHEME}${resolved}#${pointer}`;
}

/**
 * `x-pattern-format` says the format of the names that a pattern of `patternProperties` fits. Where names are all of
 * one form, a name of another form is a mistake.
 */
function withNamesChecked(schema: Record<string, unknown>): Record<string, unknown> {
  const patterns = Object.values((schema.patternProperties ?? {}) as Record<string, Schema>);
  const format = patterns[0]?.['x-pattern-format'];
  if (patterns.length !== 1 || format === undefined || schema.properties !== undefined) return schema;
  return { ...schema, propertyNames: { format } };
}

function operationsOf(name: string, file: Schema, files: ReadonlyMap<string, Schema>): Operation[] {
  const paths = file.paths as Record<string, Record<string, Schema>> | undefined;
  if (paths === undefined) return [];
  const api = name.split('/')[1] as Operation['api'];
  return Object.entries(paths).flatMap(([suffix, methods]) =>
    METHODS.filter((method) => method in methods).map((method) => {
      const operation = methods[method] as Schema;
      const resolve = (node: unknown): Schema => resolved(node as Schema, files);
      const body = operation.requestBody === undefined ? undefined : resolve(operation.requestBody);
      const responses = Object.entries(operation.responses as Record<string, unknown>);
      const parameters = [...list(methods.parameters), ...list(operation.parameters)].map(resolve);
      return {
        api,
        method: method.toUpperCase(),
        // Two paths end in a space, which tells a second use of the same operation from the first.
        path: `${basePathOf(file)}${suffix}`.trim(),
        responses: Object.fromEntries(
          responses.map(([status, response]) => [status, contentsOf(resolve(response))]),
        ),
        ...(body !== undefined && { requestBody: contentsOf(body) }),
        isBodyRequired: body?.required === true,
        query: parameters.filter((parameter) => parameter.in === 'query').map(parameterOf),
      };
    }),
  );
}

function parameterOf({ name, required = false, schema = {} }: Schema): Parameter {
  return { name: String(name), required: required === true, schema: schema as Schema };
}

function contentsOf({ content = {} }: Schema): Contents {
  const types = Object.entries(content as Record<string, Schema>);
  return Object.fromEntries(
    types.map(([type, { schema }]) => [type, (schema as Schema | undefined) ?? true]),
  );
}

function basePathOf(file: Schema): string {
  const servers = file.servers as readonly { variables: { basePath: { default: string } } }[];
  return servers[0]?.variables.basePath.default.replace(/\/$/, '') ?? '';
}

function resolved(node: Schema, files: ReadonlyMap<string, Schema>): Schema {
  if (typeof node.$ref !== 'string') return node;
  const [file = '', pointer = ''] = node.$ref.slice(SCHEME.length).split('#');
  const steps = pointer.split('/').slice(1);
  const target = steps.reduce<unknown>((at, step) => (at as Schema | undefined)?.[step], files.get(file));
  if (target === undefined) throw new Error(`the specification's ${node.$ref} leads nowhere`);
  return resolved(target as Schema, files);
}

function list(value: unknown): readonly unknown[] {
  return Array.isArray(value) ? value : [];
}

/** Values against the specification's schemas; each schema is compiled when it is asked for first. */

import type { ErrorObject, ValidateFunction } from 'ajv';
import { Ajv2020 } from 'ajv/dist/2020.js';
import { decodeBase64, decodeBase64Url } from '#keys/base64.ts';
import { isEventId, isRoomAlias, isRoomId, isServerName, isUserId } from '#keys/ids.ts';
import { type Bundle, SCHEME, type Schema, specBundle } from './bundle.ts';

/** What does not fit a schema. */
export interface Misfit {
  /** JSON pointer to the value. */
  readonly pointer: string;
  readonly expected: string;
  readonly value: unknown;
  /** The word of JSON schema that refuses, and where it stands. */
  readonly schemaPath: string;
}

const MXC = /^mxc:\/\/[^/]+\/[A-Za-z0-9_-]+$/;

const FORMATS: Readonly<Record<string, (text: string) => boolean>> = {
  'mx-user-id': isUserId,
  'mx-room-id': isRoomId,
  'mx-event-id': isEventId,
  'mx-room-alias': isRoomAlias,
  'mx-server-name': isServerName,
  'mx-mxc-uri': (text) => MXC.test(text),
  'mx-unpadded-base64': (text) => !text.includes('=') && decodeBase64(text) !== undefined,
  'mx-urlsafe-unpadded-base64': (text) => !text.includes('=') && decodeBase64Url(text) !== undefined,
  uri: (text) => URL.canParse(text),
  email: (text) => /^[^@\s]+@[^@\s]+$/.test(text),
};

/** The schemas of the specification, ready to be asked. */
export class SpecSchemas {
  readonly bundle: Bundle;
  readonly #ajv: Ajv2020;
  readonly #compiled = new Map<Schema | string, ValidateFunction>();
  readonly #added = new Set<string>();

  constructor(bundle: Bundle) {
    this.bundle = bundle;
    this.#ajv = new Ajv2020({ strict: false, validateSchema: false, allErrors: true, verbose: true });
    for (const [name, validate] of Object.entries(FORMATS)) this.#ajv.addFormat(name, validate);
    // Numbers of JSON are whole where their type says so; how many bits they have says nothing more here.
    for (const name of ['int64', 'float'])
      this.#ajv.addFormat(name, { type: 'number', validate: () => true });
  }

  has(file: string): boolean {
    return file in this.bundle.files;
  }

  /** What of the value does not fit; `schema` is one, or names a file of `test/spec/`, with a pointer after `#`. */
  misfits(schema: Schema | string, value: unknown): Misfit[] {
    let validate = this.#compiled.get(schema);
    if (validate === undefined) {
      const whole = typeof schema === 'string' ? { $ref: `${SCHEME}${schema}` } : schema;
      this.#addReferenced(whole);
      validate = this.#ajv.compile(whole);
      this.#compiled.set(schema, validate);
    }
    return validate(value) ? [] : (validate.errors ?? []).map(misfitOf);
  }

  #addReferenced(node: unknown): void {
    if (typeof node !== 'object' || node === null) return;
    for (const [key, value] of Object.entries(node)) {
      if (key !== '$ref' || typeof value !== 'string') {
        this.#addReferenced(value);
        continue;
      }
      const file = value.slice(SCHEME.length).split('#', 1)[0] ?? '';
      if (this.#added.has(file)) continue;
      this.#added.add(file);
      const schema = this.bundle.files[file];
      if (schema === undefined) throw new Error(`test/spec has no ${file}`);
      this.#ajv.addSchema(schema, `${SCHEME}${file}`);
      this.#addReferenced(schema);
    }
  }
}

let ready: Promise<SpecSchemas> | undefined;

/** One for the process. */
export function specSchemas(): Promise<SpecSchemas> {
  ready ??= specBundle().then((bundle) => new SpecSchemas(bundle));
  return ready;
}

function misfitOf({
  instancePath,
  keyword,
  message = keyword,
  params,
  schemaPath,
  data,
}: ErrorObject): Misfit {
  const names = Object.values(params).filter((param) => typeof param !== 'object' || keyword === 'oneOf');
  const detail = keyword === 'enum' ? `: ${JSON.stringify(params.allowedValues)}` : '';
  const more =
    detail === '' && names.length > 0 && !message.includes(String(names[0])) ? ` (${names})` : detail;
  return { pointer: instancePath, expected: `${message}${more}`, value: data, schemaPath };
}

/**
 * Registration files: https://spec.matrix.org/v1.19/application-service-api/#registration
 *
 * Read as the ecosystem writes them: keys that nobody here knows are passed over, and what came into the specification
 * late is read under its older names too.
 */

import { isUserId, type ServerName, type UserId } from '#keys/ids.ts';
import { isObject, isStringArray, type Json, type JsonObject, own } from '#keys/json.ts';
import { type NamespaceEntry, Namespaces } from './namespaces.ts';
import { type Policy, policyIn } from './policy.ts';

export interface Registration {
  readonly id: string;
  /** Without a slash at its end. Undefined for a service that wants to be told nothing. */
  readonly url: string | undefined;
  readonly asToken: string;
  readonly hsToken: string;
  /** The user as whom the service acts unless it says otherwise. */
  readonly sender: UserId;
  readonly users: Namespaces;
  readonly aliases: Namespaces;
  readonly rooms: Namespaces;
  /** Whether the limits of how often users may do things hold for the users of the service. */
  readonly rateLimited: boolean;
  readonly protocols: readonly string[];
  readonly receivesEphemeral: boolean;
  /** MSC3202 and MSC4203: it is told what its devices need for encryption. */
  readonly receivesDevices: boolean;
  readonly policy: Policy;
}

export type ReadRegistration =
  | { readonly kind: 'ok'; readonly registration: Registration }
  /** Completes "the file". */
  | { readonly kind: 'invalid'; readonly reason: string };

/** What is wrong with a file. The message is for the operator. */
class Misfit extends Error {
  override readonly name = 'Misfit';
}

const LARGEST_FILE = 64 * 1024;
const LONGEST_NAME = 255;
const MOST_PROTOCOLS = 100;
/** Of tokens: they travel in headers. */
const TOKEN = /^[\x21-\x7E]{1,1000}$/;

/** Reads a registration file. */
export async function readRegistration(text: string, serverName: ServerName): Promise<ReadRegistration> {
  if (Buffer.byteLength(text) > LARGEST_FILE) return { kind: 'invalid', reason: 'is larger than 64 KiB' };
  const { parseDocument } = await import('yaml');
  const document = parseDocument(text, { uniqueKeys: true });
  const [problem] = document.errors;
  if (problem !== undefined) {
    return { kind: 'invalid', reason: `is not YAML: ${problem.message.split('\n', 1)[0]}` };
  }
  try {
    const file: unknown = document.toJS({ maxAliasCount: 100 });
    if (!isObject(file)) throw new Misfit('is not a list of "key: value" lines');
    return { kind: 'ok', registration: await registrationOf(file, serverName) };
  } catch (error) {
    if (error instanceof Misfit || error instanceof SyntaxError || error instanceof ReferenceError) {
      return { kind: 'invalid', reason: error.message };
    }
    throw error;
  }
}

async function registrationOf(file: JsonObject, serverName: ServerName): Promise<Registration> {
  const namespaces = own(file, 'namespaces') ?? {};
  if (!isObject(namespaces)) throw new Misfit('has namespaces that are no mapping');
  const sender = `@${textIn(file, 'sender_localpart')}:${serverName}`;
  if (!isUserId(sender)) throw new Misfit('has a sender_localpart that is none');
  return {
    id: nameIn(file, 'id'),
    url: urlIn(file),
    asToken: tokenIn(file, 'as_token'),
    hsToken: tokenIn(file, 'hs_token'),
    sender,
    users: await namespacesIn(namespaces, 'users'),
    aliases: await namespacesIn(namespaces, 'aliases'),
    rooms: await namespacesIn(namespaces, 'rooms'),
    rateLimited: flagIn(file, 'rate_limited') ?? true,
    protocols: protocolsIn(file),
    receivesEphemeral:
      flagIn(file, 'receive_ephemeral') ??
      flagIn(file, 'de.sorunome.msc2409.push_ephemeral') ??
      // What matrix-hookshot writes.
      flagIn(file, 'push_ephemeral') ??
      false,
    receivesDevices: flagIn(file, 'org.matrix.msc3202') ?? false,
    policy: policyOf(file),
  };
}

function policyOf(file: JsonObject): Policy {
  const policy = policyIn(own(file, 'kurir') ?? {});
  if (typeof policy === 'string') throw new Misfit(`has "kurir": ${policy}`);
  return policy;
}

async function namespacesIn(namespaces: JsonObject, kind: string): Promise<Namespaces> {
  const list = own(namespaces, kind) ?? [];
  if (!Array.isArray(list)) throw new Misfit(`has namespaces.${kind} that is no list`);
  const entries = list.map((entry: Json): NamespaceEntry => {
    if (!isObject(entry)) throw new Misfit(`has an entry of namespaces.${kind} that is no mapping`);
    const regex = own(entry, 'regex');
    if (typeof regex !== 'string' || regex === '') {
      throw new Misfit(`has an entry of namespaces.${kind} without a regex`);
    }
    return { regex, exclusive: flagIn(entry, 'exclusive') ?? false };
  });
  try {
    return await Namespaces.compile(entries);
  } catch (error) {
    if (error instanceof SyntaxError) throw new Misfit(`has namespaces.${kind}: ${error.message}`);
    throw error;
  }
}

function urlIn(file: JsonObject): string | undefined {
  const value = own(file, 'url') ?? '';
  if (value === '') return undefined;
  const url = typeof value === 'string' ? URL.parse(value) : null;
  if (url === null || (url.protocol !== 'http:' && url.protocol !== 'https:')) {
    throw new Misfit('has a url that is neither http: nor https:, nor null');
  }
  if (url.search !== '' || url.hash !== '') throw new Misfit('has a url with a query');
  return url.href.replace(/\/+$/, '');
}

function protocolsIn(file: JsonObject): readonly string[] {
  const protocols = own(file, 'protocols') ?? [];
  if (!isStringArray(protocols) || protocols.length > MOST_PROTOCOLS) {
    throw new Misfit('has protocols that are no list of names');
  }
  return protocols;
}

function tokenIn(file: JsonObject, key: string): string {
  const token = textIn(file, key);
  if (!TOKEN.test(token)) throw new Misfit(`has no ${key} yet: let the service generate the file`);
  return token;
}

function nameIn(file: JsonObject, key: string): string {
  const name = textIn(file, key);
  if (name.length > LONGEST_NAME || name.includes('\0') || name.includes('\n')) {
    throw new Misfit(`has an ${key} that is too long, or more than one line`);
  }
  return name;
}

function textIn(file: JsonObject, key: string): string {
  const value = own(file, key);
  if (typeof value === 'string' && value !== '') return value;
  // YAML reads 123 as a number.
  if (typeof value === 'number') return String(value);
  throw new Misfit(`has no ${key}`);
}

function flagIn(file: JsonObject, key: string): boolean | undefined {
  const value = own(file, key) ?? undefined;
  if (value === undefined || typeof value === 'boolean') return value;
  throw new Misfit(`has ${key} that is neither true nor false`);
}

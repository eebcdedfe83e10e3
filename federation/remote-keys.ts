/**
 * Where the key ring gets other servers' keys from: the database, the server itself, and notaries where some are
 * configured. https://spec.matrix.org/v1.19/server-server-api/#retrieving-server-keys
 */

import { parseLoose } from '#keys/canonical-json.ts';
import { publicKeyFrom } from '#keys/ed25519.ts';
import type { KeyId, ServerName } from '#keys/ids.ts';
import { isObject, type JsonObject, own, stringAt } from '#keys/json.ts';
import type { KeySource } from '#keys/key-ring.ts';
import { type ServerKeys, verifyServerKeyDocument } from '#keys/server-key-document.ts';
import { verifyJson } from '#keys/sign-json.ts';
import * as contradictedKeys from '#storage/contradicted-keys.ts';
import type { Database } from '#storage/database.ts';
import * as serverKeys from '#storage/server-keys.ts';
import type { FederationAnswer, FederationClient, FederationRequest } from './client.ts';

export interface RemoteKeysOptions {
  readonly client: FederationClient;
  readonly db: Database;
  readonly clock: { now(): number };
  readonly own: KeySource['own'];
  readonly pinned?: KeySource['pinned'];
  /** Servers to ask for the keys of those that do not answer, in this order. Their word counts as the server's own. */
  readonly notaries?: readonly ServerName[];
  readonly reportError?: (error: unknown) => void;
}

const QUERY = '/_matrix/key/v2/query';
/** Of a server's own document: as many keys as we take (`MAX_KEYS`) need less. It is stored as it is. */
const MAX_DOCUMENT_BYTES = 64 * 1024;
const MAX_BYTES = 1024 * 1024;
const TIMEOUT_MS = 10_000;
/**
 * The key ring has a back-off of its own, and a server that has just called us is up. The connection is kept: whoever
 * is in a room that one of us joins is told of it right afterwards.
 */
const KEY_REQUEST = { unsigned: true, backoff: 'ignore', timeoutMs: TIMEOUT_MS } as const;
/** For how long a notary's own keys are believed without asking again. */
const NOTARY_KEYS_TTL_MS = 60 * 60_000;

/** The source of a `KeyRing`. */
export function remoteKeySource(options: RemoteKeysOptions): KeySource {
  const { client, db, clock, own: ourselves, notaries = [], pinned, reportError } = options;
  const trusted = new NotaryKeys(client, clock);
  return {
    load: (server) => serverKeys.of(db, server),
    store: (keys) =>
      db.write('serverKeys.set', async (tx) => {
        await serverKeys.set(tx, keys);
        await contradictedKeys.remove(tx, keys.serverName);
      }),
    contradicted: ({ serverName: server, keys }) => {
      const published = new Map([...keys].map(([keyId, { publicKey }]) => [keyId, publicKey] as const));
      const noted = { server, keys: published, notedTs: clock.now() };
      return db.write('contradictedKeys.set', (tx) => contradictedKeys.set(tx, noted));
    },
    fetch: async (server, keyIds, signal) => {
      const published = await fetchPublishedKeys(client, server, signal);
      if (published !== undefined) return { ...published, fetchedTs: clock.now() };
      for (const notary of notaries) {
        // One after the other: the next is asked only if this one does not know.
        const passedOn = await askNotary(
          { client, trusted },
          notary,
          { server, keyIds, now: clock.now() },
          signal,
        );
        if (passedOn !== undefined) return { ...passedOn, fetchedTs: clock.now() };
      }
      return undefined;
    },
    clock,
    own: ourselves,
    ...(pinned !== undefined && { pinned }),
    ...(reportError !== undefined && { reportError }),
  };
}

/** `GET /_matrix/key/v2/server`, as it is answered. */
export function requestKeyDocument(
  client: FederationClient,
  server: ServerName,
  options: Pick<FederationRequest, 'signal' | 'ourselves' | 'backoff'> = {},
): Promise<FederationAnswer> {
  const path = '/_matrix/key/v2/server';
  const request = { server, method: 'GET', path, maxBytes: MAX_DOCUMENT_BYTES } as const;
  return client.request({ ...request, ...KEY_REQUEST, ...options });
}

/** What `server` itself publishes, verified; undefined where it does not answer or the answer does not hold. */
export async function fetchPublishedKeys(
  client: FederationClient,
  server: ServerName,
  signal?: AbortSignal,
): Promise<ServerKeys | undefined> {
  const document = objectIn(await requestKeyDocument(client, server, signal === undefined ? {} : { signal }));
  return document === undefined ? undefined : verifyServerKeyDocument(document, server);
}

/** What notaries published of themselves. Not what was stored: that may be from before their key changed. */
class NotaryKeys {
  readonly #client: FederationClient;
  readonly #clock: { now(): number };
  readonly #known = new Map<ServerName, { readonly keys: ServerKeys; readonly untilTs: number }>();

  constructor(client: FederationClient, clock: { now(): number }) {
    this.#client = client;
    this.#clock = clock;
  }

  /** Of a notary; undefined where it does not answer. Bounded by the list of notaries. */
  async of(notary: ServerName, signal: AbortSignal | undefined): Promise<ServerKeys | undefined> {
    const known = this.#known.get(notary);
    const now = this.#clock.now();
    if (known !== undefined && known.untilTs > now && known.untilTs <= now + NOTARY_KEYS_TTL_MS) {
      return known.keys;
    }
    const keys = await fetchPublishedKeys(this.#client, notary, signal);
    if (keys === undefined || keys.validUntilTs <= now) return undefined;
    const untilTs = Math.min(keys.validUntilTs, now + NOTARY_KEYS_TTL_MS);
    this.#known.set(notary, { keys, untilTs });
    return keys;
  }

  /** Has them asked anew next time: its key may have changed. */
  forget(notary: ServerName): void {
    this.#known.delete(notary);
  }
}

/**
 * What a notary says that `server` published. The document must be signed by the server itself, with a key that it
 * lists, and by the notary ("perspectives"): a stranger who pretends to be the notary has neither.
 */
async function askNotary(
  { client, trusted }: { client: FederationClient; trusted: NotaryKeys },
  notary: ServerName,
  wanted: { server: ServerName; keyIds: readonly KeyId[]; now: number },
  signal: AbortSignal | undefined,
): Promise<ServerKeys | undefined> {
  const criteria = wanted.keyIds.map((keyId) => [keyId, { minimum_valid_until_ts: wanted.now }] as const);
  const body = { server_keys: { [wanted.server]: Object.fromEntries(criteria) } };
  const request = { server: notary, maxBytes: MAX_BYTES, method: 'POST', path: QUERY, body } as const;
  // A notary that is away must not delay the look-up of every other server that is away.
  const limits = { ...KEY_REQUEST, backoff: 'obey', ...(signal !== undefined && { signal }) } as const;
  const answer = objectIn(await client.request({ ...request, ...limits }));
  const documents = answer === undefined ? undefined : own(answer, 'server_keys');
  const notaryKeys = Array.isArray(documents) ? await trusted.of(notary, signal) : undefined;
  if (notaryKeys === undefined || !Array.isArray(documents)) return undefined;
  const candidates = documents
    .filter(isObject)
    .filter((document) => stringAt(document, 'server_name') === wanted.server)
    .slice(0, 10);
  let newest: ServerKeys | undefined;
  for (const document of candidates) {
    // A notary gives several documents for one server only where keys were asked for that it no longer has.
    if (!(await isSignedBy(document, notaryKeys))) {
      trusted.forget(notary);
      continue;
    }
    const keys = await verifyServerKeyDocument(document, wanted.server);
    if (keys !== undefined && keys.validUntilTs > (newest?.validUntilTs ?? 0)) newest = keys;
  }
  return newest;
}

async function isSignedBy(document: JsonObject, signer: ServerKeys): Promise<boolean> {
  for (const [keyId, key] of signer.keys) {
    const publicKey = key.expiredTs === undefined ? publicKeyFrom(key.publicKey) : undefined;
    // One after the other: a server has one key that it signs with.
    if (publicKey !== undefined && (await verifyJson(document, signer.serverName, keyId, publicKey)))
      return true;
  }
  return false;
}

/** The JSON object of an answer; undefined where there is none. */
export function objectIn(answer: FederationAnswer): JsonObject | undefined {
  if (answer.kind === 'failed') return undefined;
  const body = parseLoose(answer.bytes);
  return body.kind === 'ok' && isObject(body.value) ? body.value : undefined;
}

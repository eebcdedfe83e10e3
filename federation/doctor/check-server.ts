/** Goes the whole way to another server, and looks at what is known here of it. Judges nothing: see `diagnose.ts`. */

import type { KeyId, RoomId, ServerName } from '#keys/ids.ts';
import { stringAt } from '#keys/json.ts';
import { type ServerKeys, verifyServerKeyDocument } from '#keys/server-key-document.ts';
import type { SigningKey } from '#keys/signing-key.ts';
import type { RoomsReader } from '#rooms/context.ts';
import { loadNids } from '#rooms/load.ts';
import { isServerAllowed } from '#rooms/server-acl.ts';
import * as serverKeys from '#storage/server-keys.ts';
import * as sharedRooms from '#storage/shared-rooms.ts';
import type { Backoff } from '../backoff.ts';
import { FederationClient, type FederationFailure } from '../client.ts';
import type { Network } from '../network/network.ts';
import type { Destination, ServerResolver } from '../network/resolve.ts';
import { TimeLimit } from '../network/time-limit.ts';
import { isUnrecognized, type Remote } from '../remote/answer.ts';
import { queryDirectory, queryProfile, version } from '../remote/queries.ts';
import { objectIn, requestKeyDocument } from '../remote-keys.ts';
import type { Callers, CallFacts } from './callers.ts';
import { isReached, type ReachFacts, reach } from './reach.ts';

/** Of a running server, or of a database that is only read. */
export interface CheckContext extends RoomsReader {
  readonly serverName: ServerName;
  readonly signingKey: SigningKey;
  readonly clock: { now(): number };
  readonly network: Network;
  readonly backoff: Backoff;
  /** What only a running server has. */
  readonly live?: { readonly resolver: ServerResolver; readonly callers: Callers };
}

/** What a server answered when it was asked for its keys. */
export type KeyDocumentFacts =
  | FederationFailure
  | { readonly kind: 'published'; readonly keys: ServerKeys; readonly skewMs: number | undefined }
  | {
      readonly kind: 'wrong';
      /** `malformed`: no key document; `name`: of another server; `unsigned`: by none of its own keys. */
      readonly problem: 'malformed' | 'name' | 'unsigned';
      readonly name: string;
      readonly skewMs: number | undefined;
    };

export interface CheckFacts {
  readonly ourServer: ServerName;
  readonly reach: ReachFacts;
  /** Undefined where it was not asked. */
  readonly keyDocument?: KeyDocumentFacts;
  /** The keys that were known before, without those that it had given up: unpadded Base64 by key id. */
  readonly knownKeys: ReadonlyMap<KeyId, string>;
  readonly version?: Remote<{ readonly name: string; readonly version: string }>;
  /** What became of a signed request. */
  readonly signed?: Remote<unknown>;
  readonly rooms: { readonly shared: number; readonly denyUs: readonly RoomId[] };
  /** Undefined where the server does not run. */
  readonly live?: LiveFacts;
  readonly ours: OwnFacts;
}

/** What a running server holds of the other one. */
export interface LiveFacts {
  readonly calls: CallFacts;
  /** For how long it is still left alone. */
  readonly backoffMs: number;
  /** Where it is reached now; undefined where that is not known. */
  readonly destination: Destination | undefined;
}

/** Our own name, looked at as others do. */
export interface OwnFacts {
  readonly reach: ReachFacts;
  readonly keyDocument?: KeyDocumentFacts;
  readonly keyId: KeyId;
  readonly publicKey: string;
}

/** For the whole check. */
const DEADLINE_MS = 60_000;
const REQUEST_MS = 10_000;
const MOST_ROOMS = 1_000;

/** Checks `server`. Sends it four requests at most, and changes nothing here. */
export async function checkServer(
  ctx: CheckContext,
  server: ServerName,
  stop?: AbortSignal,
): Promise<CheckFacts> {
  using limit = new TimeLimit(DEADLINE_MS, [stop]);
  const { signal } = limit;
  const [theirs, ours, knownKeys, rooms] = await Promise.all([
    askServer(ctx, server, signal),
    checkOurselves(ctx, signal),
    keysKnownOf(ctx, server),
    roomsWith(ctx, server),
  ]);
  const live = await liveFacts(ctx, [theirs.reach, ours.reach], limit);
  return {
    ...{ ourServer: ctx.serverName, ...theirs, ours, knownKeys, rooms },
    ...(live !== undefined && { live }),
  };
}

/** Looks at our own name as others do. */
export async function checkOurselves(ctx: CheckContext, signal: AbortSignal): Promise<OwnFacts> {
  const { keyId, publicKey } = ctx.signingKey.keyPair;
  const { facts, resolver } = await reach(ctx.network, ctx.serverName, { clock: ctx.clock, signal });
  if (!isReached(facts)) return { reach: facts, keyId, publicKey };
  await using client = clientWith(ctx, resolver);
  const keyDocument = await askKeys(client, ctx.serverName, { clock: ctx.clock, signal });
  return { reach: facts, keyDocument, keyId, publicKey };
}

async function askServer(
  ctx: CheckContext,
  server: ServerName,
  signal: AbortSignal,
): Promise<Pick<CheckFacts, 'reach' | 'keyDocument' | 'version' | 'signed'>> {
  const { clock } = ctx;
  const { facts, resolver } = await reach(ctx.network, server, { clock, signal });
  if (!isReached(facts) || server === ctx.serverName) return { reach: facts };
  await using client = clientWith(ctx, resolver);
  const keyDocument = await askKeys(client, server, { clock, signal });
  // What cannot be had of it without a signature cannot be had with one; and what is no Matrix server is not asked.
  const isMatrix =
    keyDocument.kind === 'published' || (keyDocument.kind === 'wrong' && keyDocument.name !== '');
  if (!isMatrix) return { reach: facts, keyDocument };
  const options = { backoff: 'caller', signal, timeoutMs: REQUEST_MS } as const;
  const [software, signed] = await Promise.all([
    version({ client }, server, options),
    askSigned({ client }, server, options),
  ]);
  return { reach: facts, keyDocument, version: software, signed };
}

/** Goes the way that was just seen, not one that is remembered. */
function clientWith(ctx: CheckContext, resolver: ServerResolver): FederationClient {
  const { serverName, signingKey, backoff } = ctx;
  return new FederationClient({ serverName, signingKey, resolver, backoff, dialer: ctx.network.dialer });
}

async function askKeys(
  client: FederationClient,
  server: ServerName,
  { clock, signal }: { readonly clock: { now(): number }; readonly signal: AbortSignal },
): Promise<KeyDocumentFacts> {
  const sentTs = clock.now();
  const answer = await requestKeyDocument(client, server, { signal, ourselves: true, backoff: 'caller' });
  if (answer.kind === 'failed') return answer;
  const { serverTs } = answer;
  const skewMs = serverTs === undefined ? undefined : serverTs - (sentTs + clock.now()) / 2;
  const document = objectIn(answer);
  const name = document === undefined ? undefined : stringAt(document, 'server_name');
  if (document === undefined || name === undefined)
    return { kind: 'wrong', problem: 'malformed', name: '', skewMs };
  if (name !== server) return { kind: 'wrong', problem: 'name', name, skewMs };
  const keys = await verifyServerKeyDocument(document, server);
  if (keys === undefined) return { kind: 'wrong', problem: 'unsigned', name, skewMs };
  return { kind: 'published', keys, skewMs };
}

/** Two questions that need a signature: some servers answer only one, or forbid it to all. */
async function askSigned(
  ctx: { readonly client: FederationClient },
  server: ServerName,
  options: Parameters<typeof queryProfile>[3] & object,
): Promise<Remote<unknown>> {
  const profile = await queryProfile(ctx, server, { userId: `@kurir-check:${server}` }, options);
  if (!tellsNothing(profile)) return profile;
  const directory = await queryDirectory(ctx, server, `#kurir-check:${server}`, options);
  return tellsNothing(directory) ? profile : directory;
}

/** A refusal that may be of the question, not of us. */
function tellsNothing(answer: Remote<unknown>): boolean {
  if (answer.kind === 'ok' || answer.reason !== 'refused') return false;
  return answer.status === 403 || isUnrecognized(answer);
}

async function keysKnownOf({ db }: CheckContext, server: ServerName): Promise<Map<KeyId, string>> {
  const known = await serverKeys.of(db, server);
  const present = [...(known?.keys ?? [])].filter(([, { expiredTs }]) => expiredTs === undefined);
  return new Map(present.map(([keyId, { publicKey }]) => [keyId, publicKey]));
}

async function roomsWith(ctx: CheckContext, server: ServerName): Promise<CheckFacts['rooms']> {
  const names = { ours: ctx.serverName, theirs: server };
  const shared = await sharedRooms.list(ctx.db, names, MOST_ROOMS);
  const nids = shared.map(({ aclNid }) => aclNid).filter((nid) => nid !== undefined);
  const acls = await loadNids(ctx, nids);
  const denyUs = shared.filter(({ aclNid }) => {
    const acl = aclNid === undefined ? undefined : acls.get(aclNid);
    return !isServerAllowed(acl?.event, ctx.serverName);
  });
  return { shared: shared.length, denyUs: denyUs.map(({ roomId }) => roomId) };
}

async function liveFacts(
  { live, backoff }: CheckContext,
  [theirs, ours]: readonly [ReachFacts, ReachFacts],
  limit: TimeLimit,
): Promise<LiveFacts | undefined> {
  if (live === undefined) return undefined;
  const { server } = theirs;
  // From an address that we have too it may be ourselves who fetched our key, in this check.
  const own = new Set(addressesIn(ours));
  const addresses = addressesIn(theirs).filter((address) => !own.has(address));
  const [backoffMs, destination] = await Promise.all([
    backoff.remainingMs(server),
    // Where it is not found in time there is nothing to compare.
    limit.race(live.resolver.resolve(server)).catch(() => undefined),
  ]);
  return { calls: live.callers.of(server, addresses), backoffMs, destination };
}

function addressesIn({ hosts }: ReachFacts): string[] {
  return hosts.flatMap(({ addresses }) => addresses.map(({ address }) => address));
}

/** https://spec.matrix.org/v1.19/client-server-api/#post_matrixclientv3keysclaim */

import type { ServerName, UserId } from '#keys/ids.ts';
import { isObject, type JsonObject } from '#keys/json.ts';
import { Lanes } from '#keys/lanes.ts';
import type { Tx } from '#storage/database.ts';
import * as e2eeKeys from '#storage/e2ee-keys.ts';
import type { FederationFailure } from '../client.ts';
import type { FederationContext } from '../context.ts';
import { claimKeys } from '../remote/keys.ts';

/** `take` throws where a server has asked for keys too often of late. */
export interface KeysContext extends FederationContext {
  readonly limits: { take(kind: 'server_keys', origin: string): void };
}

/** A one-time key that is asked for. */
export interface Claim {
  readonly userId: UserId;
  readonly deviceId: string;
  readonly algorithm: string;
}

/** A key that was given out, named `algorithm:key_id`. */
export interface ClaimedKey {
  readonly claim: Claim;
  readonly name: string;
  readonly key: JsonObject | string;
}

/** In one request: as many as the devices of a large room. */
export const MOST_CLAIMS = 10_000;
/** So that others who want to write need not wait for a large claim. */
const CLAIMS_AT_ONCE = 200;
const SERVERS_AT_ONCE = 64;

const lanes = new Lanes(SERVERS_AT_ONCE, Number.POSITIVE_INFINITY);

type ClaimsContext = Pick<FederationContext, 'db' | 'streams' | 'bridgedKeys'>;

/**
 * Gives out keys of our users' devices: a one-time key at most once, and in the order of their upload; where none is
 * left the fallback key. For what a device has no key of there is none in the answer.
 */
export async function claimOwnKeys(ctx: ClaimsContext, claims: readonly Claim[]): Promise<ClaimedKey[]> {
  const { bridged = [], stored = [] } = Object.groupBy(claims, ({ userId }) =>
    ctx.bridgedKeys?.givesKeysOf(userId) === true ? 'bridged' : 'stored',
  );
  const found = await Promise.all([take(ctx, stored, e2eeKeys.claim), claimBridgedKeys(ctx, bridged)]);
  return found.flat();
}

/**
 * MSC3983: "if that user has no unused OTKs (excluding fallback keys) on the homeserver", its service is asked; and the
 * server "uses the fallback key (if known) to fill in missing keys from the appservice".
 */
async function claimBridgedKeys(ctx: ClaimsContext, claims: readonly Claim[]): Promise<ClaimedKey[]> {
  const uploaded = await take(ctx, claims, e2eeKeys.takeOneTimeKey);
  const wanted = without(claims, uploaded);
  if (wanted.length === 0) return uploaded;
  const given = (await ctx.bridgedKeys?.claim(wanted)) ?? [];
  const fallback = await take(ctx, without(wanted, given), e2eeKeys.takeFallbackKey);
  return [...uploaded, ...given, ...fallback];
}

function without(claims: readonly Claim[], claimed: readonly ClaimedKey[]): Claim[] {
  const done = new Set(claimed.map(({ claim }) => claim));
  return claims.filter((claim) => !done.has(claim));
}

/** Asks other servers for keys of their users' devices, all at the same time. */
export async function claimRemoteKeys(
  ctx: Pick<FederationContext, 'client'>,
  claims: ReadonlyMap<ServerName, readonly Claim[]>,
  options: { readonly timeoutMs: number },
): Promise<{
  readonly claimed: readonly ClaimedKey[];
  readonly failures: ReadonlyMap<ServerName, FederationFailure>;
}> {
  const claimed: ClaimedKey[] = [];
  const failures = new Map<ServerName, FederationFailure>();
  await Promise.all(
    [...claims].map(async ([server, ofServer]) => {
      const answer = await lanes.run(() => claimKeys(ctx, server, ofServer, options));
      if (answer.kind === 'failed') failures.set(server, answer);
      else claimed.push(...answer.value);
    }),
  );
  return { claimed, failures };
}

type Taking = typeof e2eeKeys.claim;

async function take(ctx: ClaimsContext, claims: readonly Claim[], taking: Taking): Promise<ClaimedKey[]> {
  const taken: ClaimedKey[] = [];
  for (let from = 0; from < claims.length; from += CLAIMS_AT_ONCE) {
    const portion = claims.slice(from, from + CLAIMS_AT_ONCE);
    // Portion by portion.
    taken.push(...(await ctx.db.write('keys.claim', (tx) => takePortion(ctx, tx, portion, taking))));
  }
  return taken;
}

async function takePortion(
  { streams }: ClaimsContext,
  tx: Tx,
  claims: readonly Claim[],
  taking: Taking,
): Promise<ClaimedKey[]> {
  const taken: ClaimedKey[] = [];
  // One key at a time: two claims of one request for the same device must not be given the same key.
  for (const claim of claims) {
    const key = await taking(tx, claim, claim.algorithm);
    if (key === undefined) continue;
    taken.push({ claim, name: `${claim.algorithm}:${key.keyId}`, key: key.key });
    // The device hears of its new counts by its next sync.
    streams.allocate(tx, [`user:${claim.userId}`]);
  }
  return taken;
}

/** `{user_id: {device_id: {name: key}}}` */
export function claimedJson(claimed: readonly ClaimedKey[]): JsonObject {
  const users = new Map<string, Map<string, JsonObject>>();
  for (const { claim, name, key } of claimed) {
    const ofUser = users.get(claim.userId) ?? new Map<string, JsonObject>();
    users.set(claim.userId, ofUser.set(claim.deviceId, { [name]: key }));
  }
  return Object.fromEntries([...users].map(([userId, ofUser]) => [userId, Object.fromEntries(ofUser)]));
}

/** Reads `{user_id: {device_id: algorithm}}`; answers the user id of an entry that is not so. */
export function parseClaims(
  wanted: JsonObject,
  isUser: (userId: string) => userId is UserId,
): { readonly claims: readonly Claim[] } | { readonly fault: string } {
  const claims: Claim[] = [];
  for (const [userId, devices] of Object.entries(wanted)) {
    if (!isUser(userId) || !isObject(devices)) return { fault: userId };
    for (const [deviceId, algorithm] of Object.entries(devices)) {
      if (typeof algorithm !== 'string') return { fault: `${userId} ${deviceId}` };
      claims.push({ userId, deviceId, algorithm });
    }
  }
  return { claims };
}

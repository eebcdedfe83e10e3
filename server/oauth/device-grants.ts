/** https://spec.matrix.org/v1.19/client-server-api/#device-authorisation-flow, and RFC 8628 */

import { randomInt } from 'node:crypto';
import { hashToken, newToken } from '#keys/tokens.ts';
import { Lru } from '#storage/lru.ts';
import * as oauthDeviceGrants from '#storage/oauth-device-grants.ts';
import type { ServerContext } from '../context.ts';
import { isStillSignedIn, type Person } from '../sign-in/browser-sessions.ts';
import { type Client, clientOf } from './clients.ts';
import { OAuthError } from './errors.ts';
import { openSession, type TokenAnswer } from './sessions.ts';

const LIFETIME_MS = 10 * 60_000;
/** For so long a code that has expired is told from one that never was. */
const REMEMBERED_MS = LIFETIME_MS;
const INTERVAL_MS = 5_000;
/** Clocks and networks are not exact. */
const TOLERANCE_MS = 500;
const MOST_WAITING = 10_000;
/** "case-insensitive A-Z characters, no vowels" (RFC 8628, 6.1): 20 to the power of 8. */
const LETTERS = 'BCDFGHJKLMNPQRSTVWXZ';
const USER_CODE_LETTERS = 8;
const USER_CODE = /^[BCDFGHJKLMNPQRSTVWXZ]{8}$/;
const ATTEMPTS = 5;

export interface StartedGrant {
  readonly deviceCode: string;
  /** As people read it: `WDJB-MJHT`. */
  readonly userCode: string;
  readonly expiresInMs: number;
  readonly intervalMs: number;
}

/** Begins to wait for somebody to sign the device in. */
export async function startDeviceGrant(
  ctx: Pick<ServerContext, 'db' | 'clock'>,
  asked: { readonly client: Client; readonly scope: string; readonly address: string },
): Promise<StartedGrant> {
  const now = ctx.clock.now();
  const deviceCode = newToken('kdc');
  const { client, scope, address } = asked;
  const grant = { deviceCodeHash: hashToken(deviceCode), clientId: client.client_id, scope, address };
  const expiresTs = now + LIFETIME_MS;
  const userCode = await ctx.db.write('oauthDeviceGrants.add', async (tx) => {
    if ((await oauthDeviceGrants.count(tx, now)) >= MOST_WAITING) return undefined;
    // Of so many codes hardly one is taken.
    for (let attempt = 0; attempt < ATTEMPTS; attempt++) {
      const code = newUserCode();
      const userCodeHash = hashToken(code);
      if (await oauthDeviceGrants.add(tx, { ...grant, userCodeHash, expiresTs }, now - REMEMBERED_MS))
        return code;
    }
    return undefined;
  });
  if (userCode === undefined) {
    throw new OAuthError('temporarily_unavailable', 'Too many devices wait to be signed in');
  }
  return { deviceCode, userCode: spelled(userCode), expiresInMs: LIFETIME_MS, intervalMs: INTERVAL_MS };
}

/** A device that waits, as the person sees it who enters its code. */
export interface WaitingDevice {
  readonly client: Client;
  readonly address: string;
  readonly scope: string;
  readonly userCode: string;
}

/** The device that shows a code; undefined where none does, or not any more. */
export async function waitingDevice(
  ctx: Pick<ServerContext, 'db' | 'clock'>,
  typed: string,
): Promise<WaitingDevice | undefined> {
  const userCode = readUserCode(typed);
  const grant = userCode && (await oauthDeviceGrants.byUserCode(ctx.db, hashToken(userCode)));
  if (!userCode || !grant || grant.expiresTs <= ctx.clock.now() || grant.decidedTs !== undefined)
    return undefined;
  const client = await clientOf(ctx, grant.clientId);
  if (client === undefined) return undefined;
  return { client, address: grant.address, scope: grant.scope, userCode: spelled(userCode) };
}

/** What a person decides; false where it was too late, also since they have been signed out meanwhile. */
export async function decide(
  ctx: Pick<ServerContext, 'db' | 'clock'>,
  userCode: string,
  person: Pick<Person, 'userId' | 'origin' | 'tokenHash'> | undefined,
): Promise<boolean> {
  const hash = hashToken(readUserCode(userCode) ?? '');
  return await ctx.db.write('oauthDeviceGrants.decide', async (tx) => {
    if (person !== undefined && !(await isStillSignedIn(tx, person))) return false;
    return await oauthDeviceGrants.decide(tx, hash, person, ctx.clock.now());
  });
}

/** How often each device asks: in memory, since a restart may forgive. */
export class DevicePolls {
  readonly #polls = new Lru<string, { readonly lastTs: number; readonly intervalMs: number }>({
    maxEntries: MOST_WAITING,
  });

  /** "slow_down": "the interval MUST be increased by 5 seconds for this and all subsequent requests". */
  isTooSoon(hash: string, now: number): boolean {
    const { lastTs, intervalMs } = this.#polls.get(hash) ?? {
      lastTs: Number.NEGATIVE_INFINITY,
      intervalMs: INTERVAL_MS,
    };
    const isTooSoon = now - lastTs < intervalMs - TOLERANCE_MS;
    this.#polls.set(hash, { lastTs: now, intervalMs: isTooSoon ? intervalMs + INTERVAL_MS : intervalMs });
    return isTooSoon;
  }
}

/** Tokens for a device code, once somebody has granted it: https://www.rfc-editor.org/rfc/rfc8628#section-3.5 */
export async function exchangeDeviceCode(
  ctx: ServerContext,
  polls: DevicePolls,
  { client, deviceCode }: { readonly client: Client; readonly deviceCode: string },
): Promise<TokenAnswer> {
  const hash = hashToken(deviceCode);
  const now = ctx.clock.now();
  const grant = await oauthDeviceGrants.byDeviceCode(ctx.db, hash);
  if (grant === undefined || grant.clientId !== client.client_id) throw badDeviceCode();
  if (grant.expiresTs <= now) throw new OAuthError('expired_token', 'The device code has expired');
  if (grant.decidedTs === undefined) {
    if (polls.isTooSoon(hash, now)) throw new OAuthError('slow_down', 'The device asks too often');
    throw new OAuthError('authorization_pending', 'Nobody has signed the device in yet');
  }
  const { userId, scope, origin } = grant;
  if (userId === undefined) throw new OAuthError('access_denied', 'The user said no');
  const answer = await ctx.db.write('oauthDeviceGrants.exchange', async (tx) => {
    if (!(await oauthDeviceGrants.remove(tx, hash))) return undefined;
    return await openSession(ctx, tx, { userId, client, scope, origin });
  });
  if (answer === undefined) throw badDeviceCode();
  return answer;
}

function badDeviceCode(): OAuthError {
  return new OAuthError('invalid_grant', 'The device code is not valid, or was used');
}

function newUserCode(): string {
  return Array.from({ length: USER_CODE_LETTERS }, () => LETTERS[randomInt(LETTERS.length)]).join('');
}

/** As people type it: in any case, with or without what stands between. */
function readUserCode(typed: string): string | undefined {
  if (typed.length > 4 * USER_CODE_LETTERS) return undefined;
  const code = typed.toUpperCase().replaceAll(/[^A-Z0-9]/g, '');
  return USER_CODE.test(code) ? code : undefined;
}

function spelled(code: string): string {
  return `${code.slice(0, USER_CODE_LETTERS / 2)}-${code.slice(USER_CODE_LETTERS / 2)}`;
}

/** Who is signed in in a browser, on the server's own pages: by a cookie of which the database has only the hash. */

import type { FastifyReply, FastifyRequest } from 'fastify';
import type { UserId } from '#keys/ids.ts';
import { equalSecrets, hashToken, newToken } from '#keys/tokens.ts';
import type { BrowserSession } from '#storage/browser-sessions.ts';
import * as browserSessions from '#storage/browser-sessions.ts';
import type { Reader } from '#storage/database.ts';
import type { Origin } from '#storage/device-origins.ts';
import * as providerEnded from '#storage/provider-ended.ts';
import * as users from '#storage/users.ts';
import type { ServerContext } from '../context.ts';
import { readCookie, writeCookie } from './cookies.ts';

export type BrowserSessionsContext = Pick<ServerContext, 'db' | 'clock'> & {
  readonly config: Pick<ServerContext['config'], 'publicBaseurl'>;
};

/** Somebody who is signed in in the browser that makes the request. */
export interface Person extends BrowserSession {
  readonly user: users.User;
  /** By which the browser's session is kept. */
  readonly tokenHash: string;
  /** Must come back in each form of theirs: see `isTheirForm`. */
  readonly formToken: string;
}

/** By what a person has shown who they are. */
export interface Proof {
  readonly userId: UserId;
  readonly hasSecondFactor?: boolean;
  /** Where an identity provider has said it. */
  readonly origin?: Origin;
}

const COOKIE = 'kurir';
const LIFETIME_MS = 12 * 60 * 60_000;
const TOKEN = /^kbs_[\w-]{32}$/;

/**
 * Signs a person in in the browser that gets the answer; what it was signed in as before ends. False where nobody is
 * signed in, since the session of the identity provider has ended meanwhile.
 */
export async function startSession(
  ctx: BrowserSessionsContext,
  request: FastifyRequest,
  reply: FastifyReply,
  { userId, hasSecondFactor = false, origin }: Proof,
): Promise<boolean> {
  const token = newToken('kbs');
  const before = tokenOf(ctx, request);
  const isStarted = await ctx.db.write('browserSessions.start', async (tx) => {
    if (origin !== undefined && (await providerEnded.isSessionEnded(tx, origin))) return false;
    const now = ctx.clock.now();
    if (before !== undefined) await browserSessions.remove(tx, hashToken(before));
    await browserSessions.add(tx, hashToken(token), {
      userId,
      createdTs: now,
      authTs: now,
      factorTs: hasSecondFactor ? now : undefined,
      expiresTs: now + LIFETIME_MS,
      origin,
    });
    return true;
  });
  if (isStarted) writeCookie(ctx, reply, { name: COOKIE, value: token, lifetimeMs: LIFETIME_MS });
  return isStarted;
}

/** Who is signed in in the browser that asks; undefined also where their account cannot be used. */
export async function personOf(
  ctx: BrowserSessionsContext,
  request: FastifyRequest,
): Promise<Person | undefined> {
  const token = tokenOf(ctx, request);
  const session = token === undefined ? undefined : await browserSessions.of(ctx.db, hashToken(token));
  if (token === undefined || session === undefined || session.expiresTs <= ctx.clock.now()) return undefined;
  const user = await users.of(ctx.db, session.userId);
  if (user === undefined || user.deactivatedTs !== undefined || user.lockedTs !== undefined) return undefined;
  return { ...session, user, tokenHash: hashToken(token), formToken: hashToken(`form ${token}`) };
}

/** Whether somebody is signed in still, as the caller writes what they have granted: they may have been signed out since. */
export async function isStillSignedIn(
  reader: Reader,
  { tokenHash }: Pick<Person, 'tokenHash'>,
): Promise<boolean> {
  return (await browserSessions.of(reader, tokenHash)) !== undefined;
}

/** Signs out in the browser that asks. */
export async function endSession(
  ctx: BrowserSessionsContext,
  request: FastifyRequest,
  reply: FastifyReply,
): Promise<void> {
  const token = tokenOf(ctx, request);
  if (token !== undefined) {
    await ctx.db.write('browserSessions.end', (tx) => browserSessions.remove(tx, hashToken(token)));
  }
  writeCookie(ctx, reply, { name: COOKIE, value: '', lifetimeMs: 0 });
}

/** True for a form that was shown to this person: no other site can know its token (CSRF). */
export function isTheirForm(person: Person, form: URLSearchParams): boolean {
  return equalSecrets(form.get('form_token') ?? '', person.formToken);
}

/**
 * True for a form that comes from a page of this server, as browsers tell it: for forms of people who are not signed in.
 * Browsers that tell nothing (`Origin` and `Sec-Fetch-Site` are absent) are programs, which nobody can lead astray.
 */
export function isFromOurPage(ctx: Pick<BrowserSessionsContext, 'config'>, request: FastifyRequest): boolean {
  const { 'sec-fetch-site': site, origin } = request.headers;
  if (site !== undefined) return site === 'same-origin' || site === 'none';
  // Pages that send no referrer make browsers say "null".
  if (origin === undefined) return true;
  const { publicBaseurl } = ctx.config;
  return (
    origin ===
    (publicBaseurl === undefined ? `${request.protocol}://${request.host}` : new URL(publicBaseurl).origin)
  );
}

function tokenOf(ctx: BrowserSessionsContext, request: FastifyRequest): string | undefined {
  const token = readCookie(ctx, request, COOKIE);
  return token !== undefined && TOKEN.test(token) ? token : undefined;
}

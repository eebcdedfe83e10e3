/** Who sent a federation request: https://spec.matrix.org/v1.19/server-server-api/#request-authentication */

import type { FastifyRequest } from 'fastify';
import { encodeCanonical } from '#keys/canonical-json.ts';
import { type PublicKey, verify } from '#keys/ed25519.ts';
import type { KeyId, ServerName } from '#keys/ids.ts';
import { isObject, type Json } from '#keys/json.ts';
import type { KeyQuery } from '#keys/key-ring.ts';
import { Lanes, LanesFull } from '#keys/lanes.ts';
import type { FederationContext } from './context.ts';
import { forbidden, limitExceeded, unauthorized } from './errors.ts';
import { parseXMatrix } from './x-matrix.ts';

declare module 'fastify' {
  interface FastifyRequest {
    /** The server that signed the request; '' where none was asked to. */
    origin: ServerName;
  }
}

type AuthContext = Pick<FederationContext, 'serverName' | 'keyRing' | 'clock' | 'backoff' | 'callers'>;

/** A request as it was received. */
export interface SignedRequest {
  readonly authorization: string | undefined;
  readonly method: string;
  /** The target exactly as received, with its query: percent-encoding is covered by the signature. */
  readonly uri: string;
  /** The parsed body; undefined where there is none. */
  readonly content: Json | undefined;
  /** The bytes that `content` was parsed from. */
  readonly rawBody?: Buffer | undefined;
}

/** The preHandler of the routes that only servers may call. Sets `request.origin`, or throws 401. */
export function authenticateOrigin(ctx: AuthContext): (request: FastifyRequest) => Promise<void> {
  return async (request) => {
    const { rawBody } = request as { rawBody?: unknown };
    const verdict = await verifyOrigin(ctx, {
      authorization: request.headers.authorization,
      method: request.method,
      uri: request.raw.url ?? '',
      content: isObject(request.body) ? request.body : undefined,
      rawBody: Buffer.isBuffer(rawBody) ? rawBody : undefined,
    });
    if (verdict.kind === 'refused') {
      if (verdict.claimed !== undefined) ctx.callers.refused(verdict.claimed, verdict.reason);
      throw unauthorized(verdict.reason);
    }
    request.origin = verdict.origin;
    ctx.callers.called(verdict.origin);
    // Whoever calls us is up: what waits for it is sent now.
    await ctx.backoff.succeeded(verdict.origin);
  };
}

/**
 * The onRequest hook of all that other servers reach: throws 403 for a server that is no partner where only partners
 * may call, before its key is looked up or its body read. Who it is it says of itself; that it is true is for
 * `authenticateOrigin`. What says nothing is answered where no signature is asked for: it cannot be told from a client.
 */
export function refuseStrangers({
  partners,
}: Pick<FederationContext, 'partners'>): (request: FastifyRequest) => Promise<void> {
  return async ({ headers, routeOptions }) => {
    // Most servers are open: nothing is looked at twice then.
    if (partners.current.inbound === 'everyone' || PUBLIC.test(routeOptions.url ?? '')) return;
    const origin = parseXMatrix(headers.authorization ?? '')?.origin;
    if (origin === undefined || partners.mayCallUs(origin)) return;
    throw forbidden('This server federates with its partners only: ask its administrator to become one');
  };
}

/** How a server proves who it is, and where it is: that must be known before anything can be agreed. */
const PUBLIC = /^\/_matrix\/key\/v2\/server(\/|$)|^\/\.well-known\/|^\/health$/;

/** The server that signed the request, or why that cannot be told. */
export async function verifyOrigin(
  ctx: Pick<AuthContext, 'serverName' | 'keyRing' | 'clock'>,
  request: SignedRequest,
): Promise<{ kind: 'verified'; origin: ServerName } | Refused> {
  const auth = parseXMatrix(request.authorization ?? '');
  if (auth === undefined) return refused('Missing or malformed Authorization header');
  const { origin, destination = ctx.serverName, key: keyId, sig } = auth;
  // "If this property is included, but the value does not match the receiving server's name" - 401
  if (destination !== ctx.serverName) return refused('The request is for another server');
  if (origin === ctx.serverName) return refused('The request claims to be ours');
  const now = { atTs: ctx.clock.now(), strictValidity: true, calledUs: true };
  const key = await keyOf(ctx.keyRing, { origin, keyId, now });
  if (key === undefined) return refused(`No valid key ${keyId} of ${origin} can be found`, origin);
  const isValid = await isSigned(request, {
    target: { destination, method: request.method, origin, uri: request.uri },
    key,
    sig,
  });
  return isValid
    ? { kind: 'verified', origin }
    : refused(`The signature of ${origin} does not match the request`, origin);
}

/**
 * Anybody can have us ask any server for its key, and such a server may say nothing for long: those that wait for it
 * must not take the connections that we need for ourselves. Who signs with a key that we have does not wait.
 */
async function keyOf(
  keyRing: AuthContext['keyRing'],
  { origin, keyId, now }: { origin: ServerName; keyId: KeyId; now: KeyQuery },
): Promise<PublicKey | undefined> {
  if (keyRing.cachedKeyFor(origin, keyId, now) !== undefined) return keyRing.keyFor(origin, keyId, now);
  const lanes = lookUps.get(keyRing) ?? new Lanes(MOST_LOOK_UPS, MOST_WAITING);
  lookUps.set(keyRing, lanes);
  try {
    return await lanes.run(() => keyRing.keyFor(origin, keyId, now));
  } catch (error) {
    if (error instanceof LanesFull) throw limitExceeded(BUSY_RETRY_MS);
    throw error;
  }
}

/** Half of the handshakes that are made at once (`network/dial.ts`). */
const MOST_LOOK_UPS = 32;
const MOST_WAITING = 256;
const BUSY_RETRY_MS = 10_000;

const lookUps = new WeakMap<AuthContext['keyRing'], Lanes>();

/**
 * The signature covers the canonical JSON of the body. Most servers send it so: what looks like it is tried first, since
 * to make it again takes as long as all else about the request. A body with numbers that we cannot hold exactly (in one
 * bad event among good ones) has another in our hands: there too the bytes count as they came.
 */
async function isSigned(
  { content, rawBody }: SignedRequest,
  { target, key, sig }: { target: { [key: string]: Json }; key: PublicKey; sig: string },
): Promise<boolean> {
  const rest = encodeCanonical(target);
  if (content === undefined) return verify(key, rest, sig);
  const received = rawBody?.toString();
  const isFirst = received !== undefined && looksCanonical(received, content);
  if (isFirst && (await verify(key, withContent(received, rest), sig))) return true;
  const encoded = encodeCanonical(content);
  if (!(isFirst && received === encoded) && (await verify(key, withContent(encoded, rest), sig))) return true;
  if (isFirst || received === undefined || received === encoded) return false;
  return verify(key, withContent(received, rest), sig);
}

/** Goes by the outermost names, and by the space before the first of them. */
function looksCanonical(text: string, content: Json): boolean {
  const names = isObject(content) ? Object.keys(content) : [];
  const isInOrder = names.every((name, index) => index === 0 || (names[index - 1] ?? '') < name);
  return isInOrder && text.startsWith(`{"${names[0] ?? ''}":`);
}

function withContent(content: string, rest: string): string {
  return `{"content":${content},${rest.slice(1)}`;
}

interface Refused {
  readonly kind: 'refused';
  readonly reason: string;
  /** The server that the request says it is of. */
  readonly claimed?: ServerName;
}

function refused(reason: string, claimed?: ServerName): Refused {
  return { kind: 'refused', reason, ...(claimed !== undefined && { claimed }) };
}

/** https://spec.matrix.org/v1.19/client-server-api/#client-authentication */

import type { FastifyRequest } from 'fastify';
import { forbidden, missingToken, unknownToken, userLocked } from '#federation/errors.ts';
import type { Tx } from '#storage/database.ts';
import * as devices from '#storage/devices.ts';
import { type MasqueradeContext, masquerade } from '../appservices/masquerade.ts';
import type { ServerContext } from '../context.ts';
import { accessTokenOf } from './access-token.ts';
import { refusalOf } from './route-access.ts';
import type { Found, Requester, UsedFrom } from './sessions.ts';

export type { Requester } from './sessions.ts';

export type RequesterContext = MasqueradeContext & Pick<ServerContext, 'appservices' | 'consents'>;

type Known = Found & { readonly kind: 'known' };

const MAX_USER_AGENT = 200;

/**
 * Who makes the request, by its access token, where they may use the route. Throws `M_MISSING_TOKEN`,
 * `M_UNKNOWN_TOKEN`, `M_USER_LOCKED`, `M_USER_SUSPENDED`, `M_GUEST_ACCESS_FORBIDDEN` or `M_CONSENT_NOT_GIVEN`.
 */
export async function requireRequester(ctx: RequesterContext, request: FastifyRequest): Promise<Requester> {
  const token = accessTokenOf(request);
  if (token === undefined) throw missingToken();
  const { requester, isLocked } = knownNow(ctx, request, token) ?? (await known(ctx, request, token));
  const { url = '' } = request.routeOptions;
  const { method } = request;
  const refusal = refusalOf({ ...requester, isLocked }, method, url);
  if (refusal !== undefined) throw refusal;
  if (!ctx.consents.areAsked) return requester;
  const due = await ctx.consents.refusalOf(requester, { method, url, room: roomOf(request) });
  if (due !== undefined) throw due;
  return requester;
}

/**
 * Who makes the request, where it has an access token at all: for routes that are open to everybody. Throws
 * `M_UNKNOWN_TOKEN` or `M_USER_LOCKED`.
 */
export async function findRequester(
  ctx: RequesterContext,
  request: FastifyRequest,
): Promise<Requester | undefined> {
  const token = accessTokenOf(request);
  if (token === undefined) return undefined;
  const { requester, isLocked } = await known(ctx, request, token);
  if (isLocked) throw userLocked();
  return requester;
}

/**
 * Within the write of what outlives a device, or lets another one in: throws `M_UNKNOWN_TOKEN` where the device was signed
 * out since it asked. Nothing of it is to remain.
 */
export async function requireStillSignedIn(
  tx: Tx,
  { userId, deviceId, hasDevice = true }: Requester,
): Promise<void> {
  if (hasDevice && (await devices.of(tx, userId, deviceId)) === undefined) throw unknownToken();
}

/** Who makes the request, if they are an administrator of this server; else throws `M_FORBIDDEN`. */
export async function requireAdmin(ctx: RequesterContext, request: FastifyRequest): Promise<Requester> {
  const requester = await requireRequester(ctx, request);
  if (!requester.isAdmin) throw forbidden('Only for administrators of this server');
  return requester;
}

/** What a path names as a room, perhaps by its alias. */
function roomOf({ params }: FastifyRequest): string | undefined {
  if (typeof params !== 'object' || params === null) return undefined;
  const named = 'roomId' in params ? params.roomId : 'roomIdOrAlias' in params && params.roomIdOrAlias;
  return typeof named === 'string' ? named : undefined;
}

/** As mostly: a user's token that is in memory. */
function knownNow(ctx: RequesterContext, request: FastifyRequest, token: string): Known | undefined {
  if (ctx.appservices.ofToken(token) !== undefined) return undefined;
  const found = ctx.sessions.findNow(token, () => usedFromOf(request));
  return found?.kind === 'known' ? found : undefined;
}

async function known(ctx: RequesterContext, request: FastifyRequest, token: string): Promise<Known> {
  const usedFrom = () => usedFromOf(request);
  const service = ctx.appservices.ofToken(token);
  if (service !== undefined)
    return { kind: 'known', ...(await masquerade(ctx, service, { request, usedFrom })) };
  const found = await ctx.sessions.find(token, usedFrom);
  if (found.kind === 'known') return found;
  throw unknownToken({ softLogout: found.kind === 'expired' });
}

function usedFromOf(request: FastifyRequest): UsedFrom {
  return { ip: request.ip, userAgent: request.headers['user-agent']?.slice(0, MAX_USER_AGENT) };
}

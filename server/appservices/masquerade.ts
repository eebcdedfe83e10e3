/** https://spec.matrix.org/v1.19/application-service-api/#identity-assertion */

import type { FastifyRequest } from 'fastify';
import { forbidden, invalidParam, missingParam, unknownDevice, userDeactivated } from '#federation/errors.ts';
import { belongsTo, isUserId, type UserId } from '#keys/ids.ts';
import * as devices from '#storage/devices.ts';
import * as users from '#storage/users.ts';
import type { Requester, UsedFrom } from '../auth/sessions.ts';
import type { ServerContext } from '../context.ts';
import { type Query, queryString } from '../query.ts';
import type { Appservice } from './appservice.ts';

export type MasqueradeContext = Pick<ServerContext, 'db' | 'serverName' | 'sessions' | 'limits'>;

/** What no device is called, for what a service does without one: transaction ids are its own. */
const TIME = /^\d{1,16}$/;
const NO_DEVICE_PREFIX = 'appservice ';

/**
 * As whom a service makes a request: "the user specified in the query string must be covered by one of the application
 * service's `user` namespaces". Throws `M_FORBIDDEN`, `M_UNKNOWN_DEVICE` or `M_USER_DEACTIVATED`.
 */
export async function masquerade(
  ctx: MasqueradeContext,
  service: Appservice,
  { request, usedFrom }: { readonly request: FastifyRequest; readonly usedFrom: () => UsedFrom },
): Promise<{ readonly requester: Requester; readonly isLocked: boolean }> {
  const query = request.query as Query;
  const userId = assertedUser(ctx, service, query);
  const user = await users.of(ctx.db, userId);
  if (user === undefined) throw forbidden('The application service has not registered this user');
  if (user.deactivatedTs !== undefined) throw userDeactivated();
  const asserted = queryString(query, 'device_id') ?? queryString(query, 'org.matrix.msc3202.device_id');
  if (asserted !== undefined) {
    if ((await devices.of(ctx.db, userId, asserted)) === undefined) throw unknownDevice();
    ctx.sessions.noteUse({ userId, deviceId: asserted }, usedFrom);
  }
  if (!service.isLimited(userId)) ctx.limits.spareForNow(userId);
  const requester: Requester = {
    userId,
    deviceId: asserted ?? `${NO_DEVICE_PREFIX}${service.id}`,
    isGuest: user.isGuest,
    // Who administers the server does so by signing in: a service that speaks for everybody must not.
    isAdmin: user.isAdmin && service.belongingOf(userId) === 'exclusive',
    isSuspended: user.suspendedTs !== undefined,
    appservice: service,
    hasDevice: asserted !== undefined,
  };
  return { requester, isLocked: user.lockedTs !== undefined };
}

/**
 * The device of a request that needs one. "If no `device_id` is supplied, the homeserver [...] will fail to complete
 * operations which require a device ID".
 */
export function requiredDevice({ deviceId, hasDevice }: Requester): string {
  if (hasDevice === false) throw missingParam('device_id');
  return deviceId;
}

/** Throws where the requester's own service may not do what nobody may who is not one. */
export function requireService({ appservice }: Requester): Appservice {
  if (appservice === undefined) throw forbidden('Only for application services');
  return appservice;
}

/** "the caller can append a `ts` query string argument to change the `origin_server_ts` of the resulting event" */
export function givenTime({ appservice }: Requester, query: Query): { readonly originServerTs?: number } {
  const ts = appservice === undefined ? undefined : queryString(query, 'ts');
  if (ts === undefined) return {};
  if (!TIME.test(ts) || !Number.isSafeInteger(Number(ts)))
    throw invalidParam('ts is no time in milliseconds');
  return { originServerTs: Number(ts) };
}

function assertedUser(ctx: MasqueradeContext, service: Appservice, query: Query): UserId {
  const asserted = queryString(query, 'user_id');
  if (asserted === undefined || asserted === '') return service.registration.sender;
  if (!isUserId(asserted)) throw invalidParam('user_id is not a user ID');
  if (!belongsTo(asserted, ctx.serverName) || !service.hasUser(asserted)) {
    throw forbidden(`The application service cannot act as ${asserted}`);
  }
  return asserted;
}

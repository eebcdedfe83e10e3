/** https://spec.matrix.org/v1.19/application-service-api/#server-admin-style-permissions */

import type { FastifyRequest } from 'fastify';
import {
  appserviceLoginUnsupported,
  exclusive,
  forbidden,
  invalidUsername,
  missingParam,
  missingToken,
  unknown,
  unknownToken,
  userInUse,
} from '#federation/errors.ts';
import { isCompliantUserId, type UserId } from '#keys/ids.ts';
import { type JsonObject, stringAt } from '#keys/json.ts';
import * as users from '#storage/users.ts';
import { accessTokenOf } from '../auth/access-token.ts';
import { signIn } from '../auth/accounts.ts';
import { askedSession, signedInAnswer } from '../auth/sign-in.ts';
import { optionalBoolean, optionalObject, optionalString, requiredString } from '../body.ts';
import type { ServerContext } from '../context.ts';
import type { Appservice } from './appservice.ts';

/** The type of `/login` and `/register` by which a service makes its users, and signs them in. */
export const APPSERVICE_LOGIN = 'm.login.application_service';

/** Makes a user of the service, without a password. */
export async function registerForService(
  ctx: ServerContext,
  request: FastifyRequest,
  body: JsonObject,
): Promise<JsonObject> {
  const service = serviceOf(ctx, request);
  const userId = userNamed(ctx, requiredString(body, 'username'));
  refuseOutside(ctx, service, userId);
  const isSilent = optionalBoolean(body, 'inhibit_login') === true;
  if (!isSilent) refuseSession(ctx);
  const asked = askedSession(body);
  const isNew = await ctx.db.write('appservices.register', async (tx) =>
    users.create(tx, { userId, passwordHash: undefined, isAdmin: false, now: ctx.clock.now() }),
  );
  if (!isNew) throw userInUse();
  if (isSilent) return { user_id: userId, home_server: ctx.serverName };
  return signedInAnswer(ctx, userId, await signIn(ctx, userId, asked));
}

/** The user of the service that it signs in; the caller does that. */
export async function loginForService(
  ctx: ServerContext,
  request: FastifyRequest,
  body: JsonObject,
): Promise<users.User> {
  const service = serviceOf(ctx, request);
  const userId = userNamed(ctx, identified(body));
  refuseOutside(ctx, service, userId);
  refuseSession(ctx);
  const user = await users.of(ctx.db, userId);
  if (user === undefined) throw forbidden('The application service has not registered this user');
  // What it may not do as them (`masquerade.ts`) it must not get a token for.
  if (user.isAdmin && service.belongingOf(userId) !== 'exclusive') {
    throw forbidden('An administrator of this server is signed in by nobody else');
  }
  return user;
}

/** "without a valid `as_token`, the endpoints will return an error with the `M_MISSING_TOKEN` or `M_UNKNOWN_TOKEN` error code" */
function serviceOf(ctx: ServerContext, request: FastifyRequest): Appservice {
  const token = accessTokenOf(request);
  if (token === undefined) throw missingToken();
  const service = ctx.appservices.ofToken(token);
  if (service === undefined) throw unknownToken();
  return service;
}

/**
 * The id of `name` or `@name:server`, letter by letter: networks tell `Alice` from `alice`, and their bridges have had
 * users of such names for long.
 */
function userNamed({ serverName }: ServerContext, name: string): UserId {
  const userId = name.startsWith('@') ? name : `@${name}:${serverName}`;
  if (!isCompliantUserId(userId) || !userId.endsWith(`:${serverName}`)) throw invalidUsername();
  return userId;
}

/** "Application services which attempt to create users [...] *outside* of their defined namespaces, or log in as users outside of [these] will receive an error code `M_EXCLUSIVE`." */
function refuseOutside(ctx: ServerContext, service: Appservice, userId: UserId): void {
  const owner = ctx.appservices.exclusiveOwnerOf(userId);
  if (!service.hasUser(userId) || (owner !== undefined && owner !== service)) {
    throw exclusive('The user is not in a namespace of the application service');
  }
}

/** "The server MUST return a 400": where an authentication service signs people in, no token of ours is good. */
function refuseSession({ mas }: ServerContext): void {
  if (mas !== undefined) throw appserviceLoginUnsupported();
}

function identified(body: JsonObject): string {
  const identifier = optionalObject(body, 'identifier');
  if (identifier === undefined) {
    const user = optionalString(body, 'user');
    if (user === undefined) throw missingParam('identifier');
    return user;
  }
  const type = stringAt(identifier, 'type') ?? 'm.id.user';
  if (type !== 'm.id.user') throw unknown(400, `Identifiers of the type ${type} are not supported`);
  return requiredString(identifier, 'user');
}

/**
 * What a Matrix Authentication Service has done here: accounts, devices and names, by the paths that it knows of Synapse.
 * Each is called with the secret that the two share, and can be called again.
 */

import type { FastifyInstance, FastifyRequest } from 'fastify';
import { forbidden, invalidUsername, missingToken, notFound, userInUse } from '#federation/errors.ts';
import type { UserId } from '#keys/ids.ts';
import type { JsonObject } from '#keys/json.ts';
import * as crossSigningResets from '#storage/cross-signing-resets.ts';
import * as profiles from '#storage/profiles.ts';
import * as users from '#storage/users.ts';
import { refuseReserved } from '../appservices/restraint.ts';
import { accessTokenOf, bearerOf } from '../auth/access-token.ts';
import { deactivate, newUserId, signOut } from '../auth/accounts.ts';
import { leaveRooms } from '../auth/leave-rooms.ts';
import { renameDevice } from '../auth/rename-device.ts';
import { bodyObject, optionalBoolean, requiredString, stringList } from '../body.ts';
import type { ServerContext } from '../context.ts';
import type { AuthenticationService } from '../mas/authentication-service.ts';
import { refuseOwnSignIn } from '../mas/own-sign-in.ts';
import { provision, reactivate, setName, syncDevices, upsertDevice } from '../mas/provisioning.ts';
import { type Query, requiredQuery } from '../query.ts';

const PATH = '/_synapse/mas';
/** "the client can ... within ten minutes": as for the account page of this server. */
const RESET_MS = 10 * 60_000;

export function masRoutes(app: FastifyInstance, ctx: ServerContext): void {
  const { mas } = ctx;
  if (mas === undefined) return;
  refuseOwnSignIn(app, (request) => {
    const token = accessTokenOf(request);
    return token !== undefined && ctx.appservices.ofToken(token) !== undefined;
  });
  lookUps(app, ctx, mas);

  const operations: ReadonlyMap<string, Operation> = new Map([
    ['update_device_display_name', renameDeviceOf],
    ['delete_device', deleteDevice],
    ['sync_devices', syncDevicesOf],
    ['delete_user', deleteUser],
    ['reactivate_user', (ctx, { userId }) => reactivate(ctx, userId)],
    ['set_displayname', (ctx, { userId, body }) => setName(ctx, userId, requiredString(body, 'displayname'))],
    ['unset_displayname', (ctx, { userId }) => setName(ctx, userId, undefined)],
    ['allow_cross_signing_reset', allowReset],
  ] satisfies [string, Operation][]);
  for (const [name, operation] of operations) {
    app.post(`${PATH}/${name}`, async (request) => {
      requireService(mas, request);
      const body = bodyObject(request);
      const { userId } = await existing(ctx, requiredString(body, 'localpart'));
      await operation(ctx, { userId, body });
      return {};
    });
  }

  app.post(`${PATH}/provision_user`, async (request, reply) => {
    requireService(mas, request);
    const body = bodyObject(request);
    const isNew = await provision(ctx, userIdOf(ctx, requiredString(body, 'localpart')), body);
    return reply.code(isNew ? 201 : 200).send({});
  });

  app.post(`${PATH}/upsert_device`, async (request, reply) => {
    requireService(mas, request);
    const body = bodyObject(request);
    const { userId } = await existing(ctx, requiredString(body, 'localpart'));
    const isNew = await upsertDevice(ctx, userId, body);
    return reply.code(isNew ? 201 : 200).send({});
  });
}

/** What is done for an account that exists. */
type Operation = (
  ctx: ServerContext,
  asked: { readonly userId: UserId; readonly body: JsonObject },
) => Promise<void>;

function lookUps(app: FastifyInstance, ctx: ServerContext, mas: AuthenticationService): void {
  app.get<{ Querystring: Query }>(`${PATH}/query_user`, async (request) => {
    requireService(mas, request);
    const user = await existing(ctx, requiredQuery(request.query, 'localpart'));
    const { displayname = null, avatar_url: avatarUrl = null } = await profiles.of(ctx.db, user.userId);
    return {
      user_id: user.userId,
      display_name: displayname,
      avatar_url: avatarUrl,
      is_suspended: user.suspendedTs !== undefined,
      is_deactivated: user.deactivatedTs !== undefined,
    };
  });

  app.get<{ Querystring: Query }>(`${PATH}/is_localpart_available`, async (request) => {
    requireService(mas, request);
    const userId = newUserId(requiredQuery(request.query, 'localpart'), ctx.serverName);
    if (userId === undefined) throw invalidUsername();
    refuseReserved(ctx, userId);
    if ((await users.of(ctx.db, userId)) !== undefined) throw userInUse();
    return {};
  });
}

function requireService(mas: AuthenticationService, request: FastifyRequest): void {
  const token = bearerOf(request.headers.authorization ?? '');
  if (token === undefined) throw missingToken();
  if (!mas.isSecret(token)) throw forbidden('Only for the authentication service of this server');
}

function userIdOf(ctx: ServerContext, localpart: string): UserId {
  const userId = newUserId(localpart, ctx.serverName);
  if (userId === undefined) throw invalidUsername();
  return userId;
}

async function existing(ctx: ServerContext, localpart: string): Promise<users.User> {
  const user = await users.of(ctx.db, `@${localpart}:${ctx.serverName}`);
  if (user === undefined) throw notFound('No such user');
  return user;
}

const renameDeviceOf: Operation = async (ctx, { userId, body }) => {
  const deviceId = requiredString(body, 'device_id');
  const name = requiredString(body, 'display_name');
  const isKnown = await ctx.db.write('mas.renameDevice', (tx) =>
    renameDevice(ctx, tx, { userId, deviceId }, name),
  );
  if (!isKnown) throw notFound('No such device');
};

const deleteDevice: Operation = async (ctx, { userId, body }) => {
  await signOut(ctx, userId, [requiredString(body, 'device_id')]);
};

const syncDevicesOf: Operation = async (ctx, { userId, body }) => {
  await syncDevices(ctx, userId, stringList(body, 'devices'));
};

const deleteUser: Operation = async (ctx, { userId, body }) => {
  const erase = optionalBoolean(body, 'erase') ?? false;
  if (!(await deactivate(ctx, userId, { erase }))) return;
  ctx.background.run(leaveRooms(ctx, userId), 'a deactivated user could not leave all rooms');
};

const allowReset: Operation = async (ctx, { userId }) => {
  const untilTs = ctx.clock.now() + RESET_MS;
  await ctx.db.write('mas.allowReset', (tx) => crossSigningResets.allowReset(tx, userId, untilTs));
};

/** https://spec.matrix.org/v1.19/client-server-api/#server-administration */

import type { FastifyInstance, FastifyRequest } from 'fastify';
import { badJson, forbidden, invalidParam, missingParam, notFound } from '#federation/errors.ts';
import { isUserId, serverNameOf, type UserId } from '#keys/ids.ts';
import type { JsonObject } from '#keys/json.ts';
import * as devices from '#storage/devices.ts';
import * as users from '#storage/users.ts';
import { setLocked, setSuspended } from '../auth/moderation.ts';
import { requireAdmin, requireRequester } from '../auth/requester.ts';
import { bodyObject, optionalBoolean } from '../body.ts';
import type { ServerContext } from '../context.ts';

type UserRequest = FastifyRequest<{ Params: { userId: string } }>;

/** What administrators may do to accounts, by the specification; and what a user may know of their own devices. */
export function adminRoutes(app: FastifyInstance, ctx: ServerContext): void {
  app.get('/_matrix/client/v3/admin/whois/:userId', async (request: UserRequest) => {
    const { userId: requester, isAdmin } = await requireRequester(ctx, request);
    if (!isAdmin && request.params.userId !== requester) throw forbidden('Only for yourself');
    ctx.limits.take('directory', requester);
    return whois(ctx, await targetOf(ctx, request));
  });

  const switches = [
    { name: 'lock', key: 'locked', isOn: (user: users.User) => user.lockedTs !== undefined, set: setLocked },
    {
      name: 'suspend',
      key: 'suspended',
      isOn: (user: users.User) => user.suspendedTs !== undefined,
      set: setSuspended,
    },
  ];
  for (const { name, key, isOn, set } of switches) {
    const path = `/_matrix/client/v1/admin/${name}/:userId`;
    app.get(path, async (request: UserRequest) => {
      const admin = await requireAdmin(ctx, request);
      return { [key]: isOn(await moderated(ctx, request, admin.userId)) };
    });

    app.put(path, async (request: UserRequest) => {
      const admin = await requireAdmin(ctx, request);
      ctx.limits.take('moderation', admin.userId);
      const value = requiredBoolean(bodyObject(request), key);
      const user = await moderated(ctx, request, admin.userId);
      if (user.userId === admin.userId) throw forbidden('You cannot do this to yourself');
      if (!(await set(ctx, user.userId, value))) throw notFound('No such user');
      return { [key]: value };
    });
  }
}

/** The account that is looked at or changed: "or the target user is another administrator" is 403. */
async function moderated(ctx: ServerContext, request: UserRequest, admin: UserId): Promise<users.User> {
  const user = await targetOf(ctx, request);
  if (user.isAdmin && user.userId !== admin) throw forbidden('The user is an administrator, too');
  return user;
}

async function targetOf(ctx: ServerContext, request: UserRequest): Promise<users.User> {
  const { userId } = request.params;
  if (!isUserId(userId)) throw invalidParam('Not a user ID');
  if (serverNameOf(userId) !== ctx.serverName) throw invalidParam('The user is not one of this server');
  const user = await users.of(ctx.db, userId);
  if (user === undefined || user.deactivatedTs !== undefined) throw notFound('No such user');
  return user;
}

async function whois(ctx: ServerContext, { userId }: users.User): Promise<JsonObject> {
  await ctx.sessions.writeUses();
  const owned = await devices.ofUser(ctx.db, userId);
  return {
    user_id: userId,
    devices: Object.fromEntries(
      owned.map((device) => [device.deviceId, { sessions: [{ connections: connectionsOf(device) }] }]),
    ),
  };
}

/** The last one: no more is kept of where people were. */
function connectionsOf({ lastSeenIp, lastSeenTs, lastSeenUserAgent }: devices.Device): JsonObject[] {
  if (lastSeenIp === undefined || lastSeenTs === undefined) return [];
  const userAgent = lastSeenUserAgent === undefined ? {} : { user_agent: lastSeenUserAgent };
  return [{ ip: lastSeenIp, last_seen: lastSeenTs, ...userAgent }];
}

function requiredBoolean(body: JsonObject, key: string): boolean {
  const value = optionalBoolean(body, key);
  if (value === undefined) throw key in body ? badJson(`${key} must be a boolean`) : missingParam(key);
  return value;
}

/** https://spec.matrix.org/v1.19/client-server-api/#device-management */

import type { FastifyInstance, FastifyReply, FastifyRequest } from 'fastify';
import { isDeviceId } from '#federation/e2ee-keys/device-keys.ts';
import { badJson, invalidParam, notFound } from '#federation/errors.ts';
import type { UserId } from '#keys/ids.ts';
import { isStringArray, type JsonObject, own } from '#keys/json.ts';
import * as devices from '#storage/devices.ts';
import { addDevice, signOut } from '../auth/accounts.ts';
import { confirmByPassword } from '../auth/confirm-password.ts';
import { renameDevice } from '../auth/rename-device.ts';
import { type Requester, requireRequester } from '../auth/requester.ts';
import { bodyObject, optionalString } from '../body.ts';
import type { ServerContext } from '../context.ts';

interface OneDevice {
  Params: { deviceId: string };
}

const MOST_DEVICES = 1_000;

/** The list of a user's devices: to see, to rename, and to sign out. */
export function deviceManagementRoutes(app: FastifyInstance, ctx: ServerContext): void {
  app.get('/_matrix/client/v3/devices', async (request) => {
    const { userId } = await requireRequester(ctx, request);
    return { devices: (await devices.ofUser(ctx.db, userId)).map(deviceJson) };
  });

  app.get<OneDevice>('/_matrix/client/v3/devices/:deviceId', async (request) => {
    const { userId } = await requireRequester(ctx, request);
    const device = await devices.of(ctx.db, userId, request.params.deviceId);
    if (device === undefined) throw notFound('You have no such device');
    return deviceJson(device);
  });

  app.put<OneDevice>('/_matrix/client/v3/devices/:deviceId', async (request, reply) => {
    const { userId, appservice } = await requireRequester(ctx, request);
    const { deviceId } = request.params;
    ctx.limits.take('account_data', userId);
    const name = optionalString(bodyObject(request), 'display_name');
    if (appservice !== undefined && (await devices.of(ctx.db, userId, deviceId)) === undefined) {
      return createDevice(ctx, reply, { userId, deviceId, displayName: name });
    }
    await ctx.db.write('devices.rename', async (tx) => {
      const isKnown =
        name === undefined
          ? (await devices.of(tx, userId, deviceId)) !== undefined
          : await renameDevice(ctx, tx, { userId, deviceId }, name);
      if (!isKnown) throw notFound('You have no such device');
    });
    return {};
  });

  app.delete<OneDevice>('/_matrix/client/v3/devices/:deviceId', async (request) => {
    const requester = await requireRequester(ctx, request);
    return deleteDevices(ctx, request, { requester, deviceIds: [request.params.deviceId] });
  });

  app.post('/_matrix/client/v3/delete_devices', async (request) => {
    const requester = await requireRequester(ctx, request);
    const deviceIds = own(bodyObject(request), 'devices');
    if (!isStringArray(deviceIds)) throw badJson('devices is not a list of device IDs');
    if (deviceIds.length > MOST_DEVICES) throw invalidParam('devices: too many');
    return deleteDevices(ctx, request, { requester, deviceIds });
  });
}

/** "Application services can use [this] endpoint to create new devices." */
async function createDevice(
  ctx: ServerContext,
  reply: FastifyReply,
  device: { readonly userId: UserId; readonly deviceId: string; readonly displayName: string | undefined },
): Promise<JsonObject> {
  if (!isDeviceId(device.deviceId)) throw invalidParam('The device ID is empty or too long');
  await addDevice(ctx, device);
  reply.code(201);
  return {};
}

/** "The device was successfully removed, or had been removed previously." */
async function deleteDevices(
  ctx: ServerContext,
  request: FastifyRequest,
  { requester, deviceIds }: { readonly requester: Requester; readonly deviceIds: readonly string[] },
): Promise<JsonObject> {
  // What is confirmed for some devices is not confirmed for others.
  const action = `delete ${JSON.stringify([...new Set(deviceIds)].sort())} of`;
  const body = request.rawBody.length === 0 ? {} : bodyObject(request);
  // Of an application service: these "MUST NOT require User-Interactive Authentication".
  const session =
    requester.appservice === undefined
      ? await confirmByPassword(ctx, body, { requester, action, address: request.ip })
      : undefined;
  const known = await devices.ofUser(ctx.db, requester.userId);
  const present = known.map(({ deviceId }) => deviceId).filter((deviceId) => deviceIds.includes(deviceId));
  await signOut(ctx, requester.userId, present);
  if (session !== undefined) ctx.interactiveAuth.finish(session);
  return {};
}

function deviceJson({ deviceId, displayName, lastSeenTs, lastSeenIp }: devices.Device): JsonObject {
  return {
    device_id: deviceId,
    ...(displayName !== undefined && { display_name: displayName }),
    ...(lastSeenTs !== undefined && { last_seen_ts: lastSeenTs }),
    ...(lastSeenIp !== undefined && { last_seen_ip: lastSeenIp }),
  };
}

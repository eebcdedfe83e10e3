/**
 * Dehydrated devices, which take in keys of rooms while a user is signed in nowhere. Not part of the specification yet:
 * https://github.com/matrix-org/matrix-spec-proposals/pull/3814
 */

import type { FastifyInstance, FastifyRequest } from 'fastify';
import { isDeviceId } from '#federation/e2ee-keys/device-keys.ts';
import {
  badJson,
  forbidden,
  invalidParam,
  type MatrixError,
  missingParam,
  notFound,
  tooLarge,
} from '#federation/errors.ts';
import type { UserId } from '#keys/ids.ts';
import { type JsonObject, stringAt } from '#keys/json.ts';
import type { Tx } from '#storage/database.ts';
import type { DehydratedDevice } from '#storage/dehydrated-devices.ts';
import * as dehydratedDevices from '#storage/dehydrated-devices.ts';
import * as devices from '#storage/devices.ts';
import * as toDevice from '#storage/to-device.ts';
import { deviceName, refuseTakenDeviceId, removeDevices } from '../auth/accounts.ts';
import { type Requester, requireRequester, requireStillSignedIn } from '../auth/requester.ts';
import { bodyObject, optionalObject, optionalString, requiredString } from '../body.ts';
import type { ServerContext } from '../context.ts';
import { type KeyUpload, parseUpload, storeUpload } from '../e2ee-keys/key-upload.ts';
import { sendJsonText } from '../json-text.ts';
import { type Query, queryLimit, queryString } from '../query.ts';
import { formatToken, parseToken } from '../sync/token.ts';

type EventsRequest = FastifyRequest<{ Params: { readonly deviceId: string }; Querystring: Query }>;

const PATH = '/_matrix/client/unstable/org.matrix.msc3814.v1/dehydrated_device';
const BODY_LIMIT = 1024 * 1024;
const LARGEST_DEVICE_DATA = 256 * 1024;
const MOST_MESSAGES = 100;

/** The one dehydrated device that each user may have. */
export function dehydratedDeviceRoutes(app: FastifyInstance, ctx: ServerContext): void {
  app.put(PATH, { bodyLimit: BODY_LIMIT }, async (request) => {
    const requester = await requireOwner(ctx, request);
    const { userId } = requester;
    const device = parseDevice(userId, bodyObject(request));
    await ctx.db.write('dehydratedDevices.set', async (tx) => {
      await requireStillSignedIn(tx, requester);
      await replace(ctx, tx, userId, device);
    });
    ctx.sessions.forget(userId);
    return { device_id: device.deviceId };
  });

  app.get(PATH, async (request) => {
    const { userId } = await requireOwner(ctx, request);
    const found = await dehydratedDevices.of(ctx.db, userId);
    if (found === undefined) throw noDevice();
    return { device_id: found.deviceId, device_data: found.deviceData };
  });

  app.delete(PATH, async (request) => {
    const { userId } = await requireOwner(ctx, request);
    const deviceId = await ctx.db.write('dehydratedDevices.remove', async (tx) => {
      const found = await dehydratedDevices.of(tx, userId);
      if (found !== undefined) await removeDevices(ctx, tx, userId, [found.deviceId]);
      return found?.deviceId;
    });
    if (deviceId === undefined) throw noDevice();
    return { device_id: deviceId };
  });

  // The form of the proposal as it was: there always is a next token, and the last answer is empty.
  app.post(`${PATH}/:deviceId/events`, async (request: EventsRequest, reply) => {
    const from = optionalString(bodyObject(request), 'next_batch');
    const { events, next } = await eventsAfter(ctx, request, { from, limit: MOST_MESSAGES });
    return sendJsonText(reply, `{"events":${events},"next_batch":${JSON.stringify(next)}}`);
  });

  // As it is now: the token is omitted where nothing is left.
  app.get(`${PATH}/:deviceId/events`, async (request: EventsRequest, reply) => {
    const limit = queryLimit(request.query, { fallback: MOST_MESSAGES, most: MOST_MESSAGES });
    const from = queryString(request.query, 'from');
    const { events, next, isMore } = await eventsAfter(ctx, request, { from, limit: Math.max(limit, 1) });
    const token = isMore ? `,"next_batch":${JSON.stringify(next)}` : '';
    return sendJsonText(reply, `{"events":${events}${token}}`);
  });
}

interface Events {
  /** JSON. */
  readonly events: string;
  readonly next: string;
  readonly isMore: boolean;
}

interface NewDevice extends DehydratedDevice {
  readonly displayName: string | undefined;
  readonly keys: KeyUpload;
}

async function requireOwner(ctx: ServerContext, request: FastifyRequest): Promise<Requester> {
  const requester = await requireRequester(ctx, request);
  ctx.limits.take('keys', `${requester.userId} dehydrated`);
  return requester;
}

function parseDevice(userId: UserId, body: JsonObject): NewDevice {
  const deviceId = requiredString(body, 'device_id');
  if (!isDeviceId(deviceId)) throw invalidParam('device_id is not the ID of a device');
  const deviceData = optionalObject(body, 'device_data');
  if (deviceData === undefined) throw missingParam('device_data');
  if (stringAt(deviceData, 'algorithm') === undefined) throw badJson('device_data: no algorithm');
  if (Buffer.byteLength(JSON.stringify(deviceData)) > LARGEST_DEVICE_DATA) {
    throw tooLarge('device_data is over 256 KiB');
  }
  const keys = parseUpload(body, { userId, deviceId });
  // Without keys nobody could send it any.
  if (keys.deviceKeys === undefined) throw missingParam('device_keys');
  const name = optionalString(body, 'initial_device_display_name');
  return { deviceId, deviceData, displayName: name === undefined ? undefined : deviceName(name), keys };
}

/** "uploading a new dehydrated device will remove any previously-set dehydrated device." */
async function replace(ctx: ServerContext, tx: Tx, userId: UserId, device: NewDevice): Promise<void> {
  const { deviceId, displayName, keys } = device;
  const before = await dehydratedDevices.of(tx, userId);
  if (before !== undefined) await removeDevices(ctx, tx, userId, [before.deviceId]);
  await refuseTakenDeviceId(tx, userId, deviceId);
  const isNew = await devices.create(tx, { userId, deviceId, displayName, now: ctx.clock.now() });
  if (!isNew) throw forbidden('device_id is that of a device you are signed in on');
  await dehydratedDevices.set(tx, userId, device);
  await storeUpload(ctx, tx, { userId, deviceId }, keys);
}

/**
 * Messages to the device, which stay: "the server should *not* delete any to-device messages delivered in previous
 * batches", so that another client can begin anew.
 */
async function eventsAfter(
  ctx: ServerContext,
  request: EventsRequest,
  { from, limit }: { readonly from: string | undefined; readonly limit: number },
): Promise<Events> {
  const { userId } = await requireOwner(ctx, request);
  const { deviceId } = request.params;
  const device = await dehydratedDevices.of(ctx.db, userId);
  if (device?.deviceId !== deviceId) throw forbidden('This is not your dehydrated device');
  const after = from === undefined ? 0 : parseToken(from);
  if (after === undefined) throw invalidParam('Not a token of this server');
  const upto = ctx.streams.upto();
  const { messages, last = after } = await toDevice.since(
    ctx.db,
    { userId, deviceId },
    { after, upto, limit },
  );
  const rest = await toDevice.since(ctx.db, { userId, deviceId }, { after: last, upto, limit: 1 });
  return { events: `[${messages.join(',')}]`, next: formatToken(last), isMore: rest.messages.length > 0 };
}

function noDevice(): MatrixError {
  return notFound('No dehydrated device');
}

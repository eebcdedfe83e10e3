/** https://spec.matrix.org/v1.19/client-server-api/#send-to-device-messaging */

import type { FastifyInstance } from 'fastify';
import { badJson, invalidParam, tooLarge } from '#federation/errors.ts';
import { isUserId, serverNameOf, type UserId } from '#keys/ids.ts';
import { isObject, type JsonObject, objectAt } from '#keys/json.ts';
import * as devices from '#storage/devices.ts';
import type { DeviceRef } from '#storage/e2ee-keys.ts';
import * as toDevice from '#storage/to-device.ts';
import { requireRequester } from '../auth/requester.ts';
import { bodyObject } from '../body.ts';
import type { ServerContext } from '../context.ts';

const BODY_LIMIT = 1024 * 1024;
const LARGEST_CONTENT = 64 * 1024;
const MOST_MESSAGES = 1_000;

interface Outgoing {
  readonly userId: UserId;
  /** A device id, or `*` for all devices of the user. */
  readonly deviceId: string;
  readonly content: JsonObject;
}

/** Messages from device to device, outside of any room. */
export function toDeviceRoutes(app: FastifyInstance, ctx: ServerContext): void {
  app.put<{ Params: { eventType: string; txnId: string } }>(
    '/_matrix/client/v3/sendToDevice/:eventType/:txnId',
    { bodyLimit: BODY_LIMIT },
    async (request) => {
      const { userId, deviceId } = await requireRequester(ctx, request);
      ctx.limits.take('to_device', userId);
      const { eventType, txnId } = request.params;
      const outgoing = parseMessages(bodyObject(request)).filter((message) => isLocal(ctx, message.userId));
      await ctx.db.write('toDevice.send', async (tx) => {
        const sender = { userId, deviceId };
        const isNew = await toDevice.isNewTransaction(tx, sender, { txnId, now: ctx.clock.now() });
        if (!isNew) return;
        for (const { device, content } of await addressees(tx, outgoing)) {
          await toDevice.add(tx, ctx.streams, device, { sender: userId, type: eventType, content });
        }
      });
      return {};
    },
  );
}

function parseMessages(body: JsonObject): Outgoing[] {
  const messages = objectAt(body, 'messages');
  if (messages === undefined) throw badJson('messages is not an object');
  const outgoing: Outgoing[] = [];
  for (const [userId, byDevice] of Object.entries(messages)) {
    if (!isUserId(userId) || !isObject(byDevice)) throw invalidParam(`messages: ${userId}`);
    for (const [deviceId, content] of Object.entries(byDevice)) {
      if (!isObject(content)) throw invalidParam(`messages: ${userId} ${deviceId} is not an object`);
      if (JSON.stringify(content).length > LARGEST_CONTENT) throw tooLarge('Message is over 64 KiB');
      outgoing.push({ userId, deviceId, content });
    }
  }
  if (outgoing.length > MOST_MESSAGES) throw invalidParam('messages: too many');
  return outgoing;
}

async function addressees(
  tx: Parameters<typeof devices.ofUsers>[0],
  outgoing: readonly Outgoing[],
): Promise<{ device: DeviceRef; content: JsonObject }[]> {
  const known = await devices.ofUsers(tx, [...new Set(outgoing.map((message) => message.userId))]);
  return outgoing.flatMap(({ userId, deviceId, content }) =>
    known
      .filter((device) => device.userId === userId && (deviceId === '*' || device.deviceId === deviceId))
      .map((device) => ({ device: { userId, deviceId: device.deviceId }, content })),
  );
}

function isLocal(ctx: ServerContext, userId: UserId): boolean {
  return serverNameOf(userId) === ctx.serverName;
}

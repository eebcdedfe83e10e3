/** https://spec.matrix.org/v1.19/client-server-api/#send-to-device-messaging */

import type { FastifyInstance } from 'fastify';
import { deliverToDevices } from '#federation/deliver-to-device.ts';
import { badJson, invalidParam, tooLarge, userSuspended } from '#federation/errors.ts';
import { isRelayable, sizeOf, type ToDeviceMessage, toDeviceEdus } from '#federation/to-device-edus.ts';
import { belongsTo, isUserId } from '#keys/ids.ts';
import { isObject, type JsonObject, objectAt } from '#keys/json.ts';
import * as toDevice from '#storage/to-device.ts';
import { requireRequester } from '../auth/requester.ts';
import { bodyObject } from '../body.ts';
import type { ServerContext } from '../context.ts';

const BODY_LIMIT = 1024 * 1024;
const LARGEST_CONTENT = 64 * 1024;
const MOST_MESSAGES = 1_000;
const MAX_TYPE_BYTES = 255;

/** Messages from device to device, outside of any room. */
export function toDeviceRoutes(app: FastifyInstance, ctx: ServerContext): void {
  app.put<{ Params: { eventType: string; txnId: string } }>(
    '/_matrix/client/v3/sendToDevice/:eventType/:txnId',
    { bodyLimit: BODY_LIMIT },
    async (request) => {
      const { userId, deviceId, isSuspended } = await requireRequester(ctx, request);
      ctx.limits.take('to_device', userId);
      const { eventType, txnId } = request.params;
      if (Buffer.byteLength(eventType) > MAX_TYPE_BYTES) throw invalidParam('The event type is too long');
      const outgoing = parseMessages(bodyObject(request));
      // Enough to verify their devices, and to share keys among them.
      if (isSuspended && outgoing.some((message) => message.userId !== userId)) throw userSuspended();
      const { own = [], other = [] } = Object.groupBy(outgoing, (message) =>
        belongsTo(message.userId, ctx.serverName) ? 'own' : 'other',
      );
      if (!other.every(({ content }) => isRelayable(content)))
        throw badJson('A message is not canonical JSON');
      const edus = toDeviceEdus({ sender: userId, type: eventType }, other);
      await ctx.db.write('toDevice.send', async (tx) => {
        const sender = { userId, deviceId };
        const isNew = await toDevice.isNewTransaction(tx, sender, { txnId, now: ctx.clock.now() });
        if (!isNew) return;
        await deliverToDevices(ctx, tx, { sender: userId, type: eventType }, own);
        for (const { server, edu } of edus) await ctx.sender.enqueueEdu(tx, [server], { edu });
      });
      return {};
    },
  );
}

function parseMessages(body: JsonObject): ToDeviceMessage[] {
  const messages = objectAt(body, 'messages');
  if (messages === undefined) throw badJson('messages is not an object');
  const outgoing: ToDeviceMessage[] = [];
  for (const [userId, byDevice] of Object.entries(messages)) {
    if (!isUserId(userId) || !isObject(byDevice)) throw invalidParam(`messages: ${userId}`);
    for (const [deviceId, content] of Object.entries(byDevice)) {
      if (!isObject(content)) throw invalidParam(`messages: ${userId} ${deviceId} is not an object`);
      if (sizeOf(content) > LARGEST_CONTENT) throw tooLarge('Message is over 64 KiB');
      outgoing.push({ userId, deviceId, content });
    }
  }
  if (outgoing.length > MOST_MESSAGES) throw invalidParam('messages: too many');
  return outgoing;
}

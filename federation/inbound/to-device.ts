/** Messages from device to device: https://spec.matrix.org/v1.19/server-server-api/#send-to-device-messaging */

import { belongsTo, isUserId, type ServerName, type UserId } from '#keys/ids.ts';
import { isObject, type JsonObject, objectAt, own, stringAt } from '#keys/json.ts';
import type { Tx } from '#storage/database.ts';
import * as devices from '#storage/devices.ts';
import * as toDevice from '#storage/to-device.ts';
import type { EduContext } from './edu-source.ts';

/** A message for a device of a user of ours, or for all of them (`*`). */
interface Message {
  readonly userId: UserId;
  readonly deviceId: string;
  readonly content: JsonObject;
}

/** What one EDU holds. */
interface ToDevice {
  readonly sender: UserId;
  readonly type: string;
  readonly messageId: string;
  readonly messages: readonly Message[];
}

const MAX_CONTENT_BYTES = 64 * 1024;
const MAX_TYPE_BYTES = 255;
/** "Arbitrary utf8 string, of maximum length 32 codepoints": some servers use more. */
const MAX_MESSAGE_ID = 255;
/** In one EDU: servers send fewer. */
const MOST_MESSAGES = 1_000;
/** A device that does not come back is not to fill the disk. */
const MOST_WAITING = 50_000;

/**
 * Takes in `m.direct_to_device`s in their order, in one write: only of the origin's own users, each `message_id` once,
 * for devices that there are. What is malformed, too large or for others is left out, the rest delivered.
 */
export async function receiveToDevice(
  ctx: EduContext,
  origin: ServerName,
  contents: readonly JsonObject[],
): Promise<void> {
  const told = contents.flatMap((content) => toDeviceFrom(ctx, origin, content) ?? []);
  if (told.length === 0) return;
  await ctx.db.write('federation.toDevice', async (tx) => {
    for (const each of told) await deliver(ctx, tx, origin, each);
  });
}

async function deliver(ctx: EduContext, tx: Tx, origin: ServerName, told: ToDevice): Promise<void> {
  const { sender, type, messageId, messages } = told;
  const known = await devices.ofUsers(tx, [...new Set(messages.map(({ userId }) => userId))]);
  const byUser = Map.groupBy(known, ({ userId }) => userId);
  const addressed = messages.flatMap((message) =>
    (byUser.get(message.userId) ?? [])
      .filter(({ deviceId }) => message.deviceId === '*' || message.deviceId === deviceId)
      .map((device) => ({ device, content: message.content })),
  );
  if (addressed.length === 0) return;
  if (!(await toDevice.isNewInbound(tx, origin, { messageId, now: ctx.clock.now() }))) return;
  for (const { device, content } of addressed) {
    if (await toDevice.hasWaiting(tx, device, MOST_WAITING)) {
      ctx.log.debug({ origin, userId: device.userId }, 'a device has too many messages waiting');
    } else await toDevice.add(tx, ctx.streams, device, { sender, type, content });
  }
}

/** Undefined where it is malformed, not the origin's to say, or for nobody here. */
function toDeviceFrom(ctx: EduContext, origin: ServerName, content: JsonObject): ToDevice | undefined {
  const sender = own(content, 'sender');
  const type = stringAt(content, 'type');
  const messageId = stringAt(content, 'message_id');
  if (!isUserId(sender) || !belongsTo(sender, origin)) return undefined;
  if (type === undefined || Buffer.byteLength(type) > MAX_TYPE_BYTES) return undefined;
  if (messageId === undefined || messageId.length > MAX_MESSAGE_ID) return undefined;
  const messages = messagesIn(ctx, objectAt(content, 'messages') ?? {});
  return messages.length === 0 ? undefined : { sender, type, messageId, messages };
}

function messagesIn({ serverName }: EduContext, byUser: JsonObject): Message[] {
  const messages: Message[] = [];
  for (const [userId, byDevice] of Object.entries(byUser)) {
    if (!isUserId(userId) || !belongsTo(userId, serverName) || !isObject(byDevice)) continue;
    for (const [deviceId, content] of Object.entries(byDevice)) {
      if (messages.length >= MOST_MESSAGES) return messages;
      if (isObject(content) && isSmall(content)) messages.push({ userId, deviceId, content });
    }
  }
  return messages;
}

function isSmall(content: JsonObject): boolean {
  return Buffer.byteLength(JSON.stringify(content)) <= MAX_CONTENT_BYTES;
}

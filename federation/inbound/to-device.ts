/** Messages from device to device: https://spec.matrix.org/v1.19/server-server-api/#send-to-device-messaging */

import { belongsTo, isUserId, type ServerName, type UserId } from '#keys/ids.ts';
import { isObject, type JsonObject, objectAt, own, stringAt } from '#keys/json.ts';
import type { Tx } from '#storage/database.ts';
import * as toDevice from '#storage/to-device.ts';
import { addressees, deliverToDevices } from '../deliver-to-device.ts';
import type { ToDeviceMessage } from '../to-device-edus.ts';
import type { EduContext, EduWrite } from './edu-source.ts';

/** What one EDU holds. */
interface ToDevice {
  readonly sender: UserId;
  readonly type: string;
  readonly messageId: string;
  readonly messages: readonly ToDeviceMessage[];
}

const MAX_CONTENT_BYTES = 64 * 1024;
const MAX_TYPE_BYTES = 255;
/** "Arbitrary utf8 string, of maximum length 32 codepoints": some servers use more. */
const MAX_MESSAGE_ID = 255;
/** In one EDU: servers send fewer. */
const MOST_MESSAGES = 1_000;

/**
 * Takes in an `m.direct_to_device`: only of the origin's own users, each `message_id` once, for devices that there are.
 * What is malformed, too large or for others is left out, the rest delivered.
 */
export async function receiveToDevice(
  ctx: EduContext,
  origin: ServerName,
  content: JsonObject,
): Promise<EduWrite | undefined> {
  const told = toDeviceFrom(ctx, origin, content);
  return told && { rows: told.messages.length, write: (tx) => deliver(ctx, tx, origin, told) };
}

async function deliver(ctx: EduContext, tx: Tx, origin: ServerName, told: ToDevice): Promise<void> {
  const { sender, type, messageId, messages } = told;
  // What is for nobody is not remembered.
  if ((await addressees(tx, messages)).length === 0) return;
  if (!(await toDevice.isNewInbound(tx, origin, { messageId, now: ctx.clock.now() }))) return;
  await deliverToDevices(ctx, tx, { sender, type }, messages);
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

function messagesIn({ serverName }: EduContext, byUser: JsonObject): ToDeviceMessage[] {
  const messages: ToDeviceMessage[] = [];
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

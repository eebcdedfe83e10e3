/** Messages to devices of users of other servers: https://spec.matrix.org/v1.19/server-server-api/#send-to-device-messaging */

import { randomUUID } from 'node:crypto';
import { encodeCanonical, parseStrict } from '#keys/canonical-json.ts';
import { type ServerName, serverNameOf, type UserId } from '#keys/ids.ts';
import type { JsonObject } from '#keys/json.ts';

/** What is sent to one device. */
export interface ToDeviceMessage {
  readonly userId: UserId;
  /** A device id, or `*` for all devices of the user. */
  readonly deviceId: string;
  readonly content: JsonObject;
}

/** 100 EDUs of this size fit into a transaction of any server. A single message may be as large. */
const MOST_BYTES = 64 * 1024;

/** The bytes of a message. */
export function sizeOf(content: JsonObject): number {
  return Buffer.byteLength(JSON.stringify(content));
}

/** True where other servers can read a message: what they cannot verify the signature of they do not take. */
export function isRelayable(content: JsonObject): boolean {
  return parseStrict(encodeCanonical(content)).kind === 'ok';
}

/** The EDUs of one message to many devices: one for each server, or several where that would be too large. */
export function toDeviceEdus(
  message: { readonly sender: UserId; readonly type: string },
  messages: readonly ToDeviceMessage[],
): { readonly server: ServerName; readonly edu: JsonObject }[] {
  const byServer = Map.groupBy(messages, ({ userId }) => serverNameOf(userId));
  return [...byServer].flatMap(([server, ofServer]) =>
    server === undefined
      ? []
      : portionsOf(ofServer).map((portion) => ({ server, edu: eduOf(message, portion) })),
  );
}

function portionsOf(messages: readonly ToDeviceMessage[]): ToDeviceMessage[][] {
  const portions: ToDeviceMessage[][] = [];
  let bytes = Number.POSITIVE_INFINITY;
  for (const message of messages) {
    const size = sizeOf(message.content) + message.userId.length + message.deviceId.length;
    bytes += size;
    if (bytes <= MOST_BYTES) portions.at(-1)?.push(message);
    else {
      portions.push([message]);
      bytes = size;
    }
  }
  return portions;
}

function eduOf(
  { sender, type }: { sender: UserId; type: string },
  portion: readonly ToDeviceMessage[],
): JsonObject {
  const byUser = Map.groupBy(portion, ({ userId }) => userId);
  const messages = [...byUser].map(([userId, ofUser]) => {
    return [userId, Object.fromEntries(ofUser.map(({ deviceId, content }) => [deviceId, content]))] as const;
  });
  // "of maximum length 32 codepoints"
  const messageId = randomUUID().replaceAll('-', '');
  const content = { sender, type, message_id: messageId, messages: Object.fromEntries(messages) };
  return { edu_type: 'm.direct_to_device', content };
}

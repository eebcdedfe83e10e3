/** Who types in a room, as other servers tell it: https://spec.matrix.org/v1.19/server-server-api/#typing-notifications */

import { isRoomId, isUserId, type ServerName } from '#keys/ids.ts';
import { type JsonObject, own } from '#keys/json.ts';
import { type EduContext, isMember, roomFor } from './edu-source.ts';

/** Servers repeat it before this time is over, as long as the user goes on typing. */
const TYPING_MS = 60_000;

/** "Receiving servers should verify that the user is in the room, and is a user belonging to the sending server." */
export async function receiveTyping(
  ctx: EduContext,
  origin: ServerName,
  content: JsonObject,
): Promise<undefined> {
  const roomId = own(content, 'room_id');
  const userId = own(content, 'user_id');
  const typing = own(content, 'typing');
  if (!isRoomId(roomId) || !isUserId(userId) || typeof typing !== 'boolean') return;
  const room = await roomFor(ctx, origin, roomId);
  if (room === undefined || !(await isMember(ctx, room, userId, origin))) return;
  ctx.typing.set({ roomId, userId, typing }, TYPING_MS);
}

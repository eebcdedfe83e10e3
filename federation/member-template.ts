import { belongsTo, type ServerName, type UserId } from '#keys/ids.ts';
import type { JsonObject } from '#keys/json.ts';
import { buildTemplate } from '#rooms/build.ts';
import type { Room } from '#rooms/room.ts';
import type { FederationContext } from './context.ts';
import { forbidden } from './errors.ts';
import { userIdParam } from './room-params.ts';

/** The user in the path, for a server that asks for a membership of it: 403 for a user of another server. */
export function ownUserParam(text: string, origin: ServerName): UserId {
  const userId = userIdParam(text);
  if (!belongsTo(userId, origin)) throw forbidden('The user is of another server');
  return userId;
}

/** What make_join, make_knock and make_leave answer with: the user's own membership event, unsigned; 403 where it is not allowed. */
export async function memberTemplate(
  ctx: FederationContext,
  room: Room,
  userId: UserId,
  content: JsonObject,
): Promise<{ room_version: string; event: JsonObject }> {
  const built = await buildTemplate(ctx, room, {
    roomId: room.roomId,
    sender: userId,
    type: 'm.room.member',
    stateKey: userId,
    content,
  });
  if (built.kind === 'forbidden') throw forbidden(built.reason);
  return { room_version: room.rules.version, event: built.template };
}

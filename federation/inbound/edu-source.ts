/** Which rooms and users an EDU may speak of: those of its origin, where the access control list lets it take part. */

import { belongsTo, type RoomId, type ServerName, type UserId } from '#keys/ids.ts';
import type { JsonObject } from '#keys/json.ts';
import type { Room } from '#rooms/room.ts';
import type { Tx } from '#storage/database.ts';
import * as memberships from '#storage/memberships.ts';
import { isAllowedByAcl, roomWeAreIn } from '../access.ts';
import type { FederationContext } from '../context.ts';

export type EduContext = Omit<FederationContext, 'sender' | 'inbound'>;

/** What an EDU leaves on disk, written together with what those beside it leave. */
export interface EduWrite {
  /** How many rows that are, about. */
  readonly rows: number;
  /** The body of a write, of which other EDUs may have their part. */
  readonly write: (tx: Tx) => Promise<void>;
}

/**
 * Reads the content of one EDU, and answers what is to be written for it; what is malformed or not the origin's to say is
 * passed over.
 */
export type ReceiveEdu = (
  ctx: EduContext,
  origin: ServerName,
  content: JsonObject,
) => Promise<EduWrite | undefined>;

/** The room, where this server is in it and its access control list lets `origin` take part. */
export async function roomFor(
  ctx: EduContext,
  origin: ServerName,
  roomId: RoomId,
): Promise<Room | undefined> {
  const room = await roomWeAreIn(ctx, roomId);
  return room !== undefined && (await isAllowedByAcl(ctx, room, origin)) ? room : undefined;
}

/** Whether the user is of `origin` and joined to the room. */
export async function isMember(
  ctx: EduContext,
  room: Room,
  userId: UserId,
  origin: ServerName,
): Promise<boolean> {
  if (!belongsTo(userId, origin)) return false;
  return (await memberships.of(ctx.db, room.roomNid, userId))?.membership === 'join';
}

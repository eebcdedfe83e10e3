/** What another server may see and do here. Nothing is thrown: the routes make errors of it. */

import { encodeCanonical } from '#keys/canonical-json.ts';
import type { EventId, RoomId, ServerName } from '#keys/ids.ts';
import type { RoomsContext } from '#rooms/context.ts';
import { erasedFor } from '#rooms/erasure.ts';
import { loadEvent } from '#rooms/load.ts';
import { redact } from '#rooms/redact.ts';
import { getRoom, isInRoom, joinedServers, type Room } from '#rooms/room.ts';
import { isServerAllowed } from '#rooms/server-acl.ts';
import { currentStateEvent } from '#rooms/state.ts';
import { isPlaced, type StoredEvent } from '#rooms/stored-event.ts';
import { visibleTo } from '#rooms/visibility.ts';

/** The room, where this server takes part in it. */
export async function roomWeAreIn(ctx: RoomsContext, roomId: RoomId): Promise<Room | undefined> {
  const room = await getRoom(ctx, roomId);
  return room !== undefined && (await isInRoom(ctx, room)) ? room : undefined;
}

/** Whether the room's current access control list lets a server take part. */
export async function isAllowedByAcl(ctx: RoomsContext, room: Room, server: ServerName): Promise<boolean> {
  const acl = await currentStateEvent(ctx, room.roomNid, 'm.room.server_acl', '');
  return isServerAllowed(acl?.event, server);
}

/**
 * The room, where both this server and `origin` take part in it and its access control list allows that. Undefined
 * otherwise, for rooms that do not exist too, so that nobody learns which rooms there are.
 */
export async function roomSharedWith(
  ctx: RoomsContext,
  origin: ServerName,
  roomId: RoomId,
): Promise<Room | undefined> {
  const room = await roomWeAreIn(ctx, roomId);
  if (room === undefined || !(await joinedServers(ctx, room.roomNid)).includes(origin)) return undefined;
  return (await isAllowedByAcl(ctx, room, origin)) ? room : undefined;
}

/**
 * An event of the room that a server in it may refer to: stored, not rejected, and of this very room. Of another
 * room or not there at all is the same answer.
 */
export async function getEventForServer(
  ctx: RoomsContext,
  room: Room,
  eventId: EventId,
): Promise<StoredEvent | undefined> {
  const stored = await loadEvent(ctx, eventId);
  return stored !== undefined && stored.roomNid === room.roomNid && stored.status !== 'rejected'
    ? stored
    : undefined;
}

/** Whether the room's history visibility lets a server have the event; a part of its state it always may have. */
export async function isVisibleTo(
  ctx: RoomsContext,
  room: Room,
  server: ServerName,
  stored: StoredEvent,
): Promise<boolean> {
  return (await visibilityOf(ctx, room, server, [stored]))[0] === true;
}

/** The texts of events for a server: whole where it may see them, redacted where not. */
export async function textsFor(
  ctx: RoomsContext,
  room: Room,
  server: ServerName,
  events: readonly StoredEvent[],
): Promise<string[]> {
  const visible = await visibilityOf(ctx, room, server, events);
  const erased = await erasedFor(ctx, room.roomNid, { server }, events);
  return events.map((stored, index) => {
    const { event } = stored;
    const isWhole = visible[index] === true && !erased.has(stored);
    return isWhole ? event.json : encodeCanonical(redact(event.pdu, event.rules));
  });
}

async function visibilityOf(
  ctx: RoomsContext,
  room: Room,
  server: ServerName,
  events: readonly StoredEvent[],
): Promise<readonly boolean[]> {
  const visible = await visibleTo(ctx, room.roomNid, { server }, events);
  // Of what has no place in the graph only state is of use to others: it was in some state that we were given.
  return events.map(
    (stored, index) => visible[index] === true || (!isPlaced(stored) && stored.event.stateKey !== undefined),
  );
}

/**
 * "When a user joins the new room, the server should automatically transfer/replicate some of the user's
 * personalized settings such as notifications, tags, etc."
 * https://spec.matrix.org/v1.19/client-server-api/#room-upgrades
 */
import { isRoomId, type RoomId, type UserId } from '#keys/ids.ts';
import { isStringArray, type Json, type JsonObject, objectAt, own } from '#keys/json.ts';
import * as accountData from '#storage/account-data.ts';
import type { Tx } from '#storage/database.ts';
import * as memberships from '#storage/memberships.ts';
import * as pushRules from '#storage/push-rules.ts';
import type { RoomsContext } from '../context.ts';
import { getRoom } from '../room.ts';
import { currentStateEvent } from '../state.ts';

export interface Succession {
  readonly from: RoomId;
  readonly to: RoomId;
}

/**
 * Takes a user's settings over into a room that they have joined, where it replaces a room that they were in: both
 * must say so, the one by its `predecessor`, the other by its tombstone.
 */
export async function carrySettingsOnJoin(ctx: RoomsContext, userId: UserId, roomId: RoomId): Promise<void> {
  const room = await getRoom(ctx, roomId);
  const create = room && (await currentStateEvent(ctx, room.roomNid, 'm.room.create', ''));
  const from = create === undefined ? undefined : predecessorOf(create.event.content);
  const old = from === undefined ? undefined : await getRoom(ctx, from);
  if (from === undefined || old === undefined) return;
  if ((await memberships.of(ctx.db, old.roomNid, userId)) === undefined) return;
  const tombstone = await currentStateEvent(ctx, old.roomNid, 'm.room.tombstone', '');
  if (tombstone === undefined || own(tombstone.event.content, 'replacement_room') !== roomId) return;
  await ctx.db.write('rooms.carrySettings', (tx) => carrySettings(ctx, tx, userId, { from, to: roomId }));
}

/** The room that the content of a create event says its room replaces. */
export function predecessorOf(create: JsonObject): RoomId | undefined {
  const roomId = own(objectAt(create, 'predecessor') ?? {}, 'room_id');
  return isRoomId(roomId) ? roomId : undefined;
}

/** Takes a user's settings of one room over to another: tags, push rules, and whether it is a direct conversation. */
export async function carrySettings(
  ctx: RoomsContext,
  tx: Tx,
  userId: UserId,
  { from, to }: Succession,
): Promise<void> {
  const tags = await accountData.get(tx, { userId, roomId: from, type: 'm.tag' });
  const present = await accountData.get(tx, { userId, roomId: to, type: 'm.tag' });
  if (tags !== undefined && present === undefined) {
    await accountData.set(tx, ctx.streams, { userId, roomId: to, type: 'm.tag', content: tags });
  }
  await pushRules.carryToRoom(tx, ctx.streams, userId, { from, to });
  const direct = await accountData.get(tx, { userId, roomId: '', type: 'm.direct' });
  const content = direct && withSuccessor(direct, { from, to });
  if (content !== undefined) {
    await accountData.set(tx, ctx.streams, { userId, roomId: '', type: 'm.direct', content });
  }
}

/** `m.direct` with the new room beside the old one, wherever that stands; undefined where nothing changes. */
function withSuccessor(direct: JsonObject, { from, to }: Succession): JsonObject | undefined {
  let changed = false;
  const lists = Object.entries(direct).map(([userId, list]): [string, Json] => {
    if (!isStringArray(list) || !list.includes(from) || list.includes(to)) return [userId, list];
    changed = true;
    return [userId, [...list, to]];
  });
  return changed ? Object.fromEntries(lists) : undefined;
}

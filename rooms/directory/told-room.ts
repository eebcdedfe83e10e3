/** Entries of rooms as other servers tell them: only what has the right shape is taken from them. */

import { isRoomAlias, isRoomId, type RoomId } from '#keys/ids.ts';
import { integerAt, isObject, type Json, type JsonObject, own, stringAt } from '#keys/json.ts';
import type { PublicRoom } from './room-entry.ts';

/** `RoomSummary` of the specification, by the word of a server that may not know all of it. */
export interface ToldRoom extends PublicRoom {
  readonly join_rule?: string;
  readonly room_type?: string;
  readonly allowed_room_ids?: readonly RoomId[];
}

/** Of one room: real ones name a few. */
const MOST_ALLOWED_ROOMS = 100;
const TEXTS = ['name', 'topic', 'avatar_url', 'join_rule', 'room_type', 'encryption', 'room_version'];

/** The entry without what is malformed or unknown; undefined where a required member is. */
export function toldRoom(json: Json | undefined): ToldRoom | undefined {
  if (!isObject(json)) return undefined;
  const roomId = own(json, 'room_id');
  const members = integerAt(json, 'num_joined_members');
  const isReadable = own(json, 'world_readable');
  const letsGuestsIn = own(json, 'guest_can_join');
  if (!isRoomId(roomId) || members === undefined || members < 0) return undefined;
  if (typeof isReadable !== 'boolean' || typeof letsGuestsIn !== 'boolean') return undefined;
  const alias = own(json, 'canonical_alias');
  const allowed = allowedRoomsIn(json);
  return {
    room_id: roomId,
    num_joined_members: members,
    world_readable: isReadable,
    guest_can_join: letsGuestsIn,
    ...Object.fromEntries(textsIn(json)),
    ...(isRoomAlias(alias) && { canonical_alias: alias }),
    ...(allowed.length > 0 && { allowed_room_ids: allowed }),
  };
}

function textsIn(json: JsonObject): [string, string][] {
  return TEXTS.flatMap((key): [string, string][] => {
    const text = stringAt(json, key);
    return text === undefined || text === '' ? [] : [[key, text]];
  });
}

function allowedRoomsIn(json: JsonObject): RoomId[] {
  const allowed: Json = own(json, 'allowed_room_ids') ?? [];
  return Array.isArray(allowed) ? allowed.slice(0, MOST_ALLOWED_ROOMS).filter(isRoomId) : [];
}

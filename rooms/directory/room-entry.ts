/**
 * What of a room is shown to those who are not in it, in the directory, in summaries and in spaces:
 * https://spec.matrix.org/v1.19/client-server-api/#get_matrixclientv1room_summaryroomidoralias
 */
import type { RoomId } from '#keys/ids.ts';
import { isObject, type Json, type JsonObject, objectAt, own, stringAt } from '#keys/json.ts';
import * as memberships from '#storage/memberships.ts';
import type { RoomsContext } from '../context.ts';
import { allowedRooms } from '../restricted.ts';
import type { Room } from '../room.ts';
import { currentStateEvents } from '../state.ts';

/** `PublishedRoomsChunk` of the specification. */
export interface PublicRoom extends JsonObject {
  readonly room_id: RoomId;
  readonly num_joined_members: number;
  readonly world_readable: boolean;
  readonly guest_can_join: boolean;
}

/** `RoomSummary` of the specification. */
export interface RoomEntry extends PublicRoom {
  readonly room_version: string;
}

/** The state that an entry of the directory is made of. */
export const STATE_TYPES = [
  'm.room.avatar',
  'm.room.canonical_alias',
  'm.room.create',
  'm.room.guest_access',
  'm.room.history_visibility',
  'm.room.join_rules',
  'm.room.name',
  'm.room.topic',
];

/** The entry of a room that this server is in. */
export async function entryOf(ctx: RoomsContext, room: Room): Promise<RoomEntry> {
  const keys = [...STATE_TYPES, 'm.room.encryption'].map((type) => ({ type, stateKey: '' }));
  const stored = await currentStateEvents(ctx, room.roomNid, keys);
  const state = new Map(stored.map(({ event }) => [event.type, event.content]));
  const { joined } = await memberships.countsIn(ctx.db, room.roomNid);
  const algorithm = stringAt(state.get('m.room.encryption') ?? {}, 'algorithm');
  const joinRules = stored.find(({ event }) => event.type === 'm.room.join_rules')?.event;
  const joinRule = stringAt(joinRules?.content ?? {}, 'join_rule');
  const isRestricted = joinRule === 'restricted' || joinRule === 'knock_restricted';
  return {
    ...publicRoom({ roomId: room.roomId, joinedMembers: joined }, state),
    ...(isRestricted && { allowed_room_ids: [...allowedRooms(joinRules)] }),
    ...(algorithm !== undefined && { encryption: algorithm }),
    room_version: room.rules.version,
  };
}

/** The entry by the contents of the room's state events, by type. */
export function publicRoom(
  room: { readonly roomId: RoomId; readonly joinedMembers: number },
  state: ReadonlyMap<string, JsonObject>,
): PublicRoom {
  const text = (type: string, key: string) => nonEmpty(stringAt(state.get(type) ?? {}, key));
  const optional = {
    name: nameIn(state),
    topic: topicIn(state),
    canonical_alias: aliasIn(state),
    avatar_url: text('m.room.avatar', 'url'),
    join_rule: text('m.room.join_rules', 'join_rule'),
    room_type: text('m.room.create', 'type'),
  };
  const present = Object.entries(optional).filter(
    (entry): entry is [string, string] => entry[1] !== undefined,
  );
  return {
    room_id: room.roomId,
    num_joined_members: room.joinedMembers,
    world_readable: text('m.room.history_visibility', 'history_visibility') === 'world_readable',
    guest_can_join: text('m.room.guest_access', 'guest_access') === 'can_join',
    ...Object.fromEntries(present),
  };
}

export function nameIn(state: ReadonlyMap<string, JsonObject>): string | undefined {
  return nonEmpty(stringAt(state.get('m.room.name') ?? {}, 'name'));
}

export function aliasIn(state: ReadonlyMap<string, JsonObject>): string | undefined {
  return nonEmpty(stringAt(state.get('m.room.canonical_alias') ?? {}, 'alias'));
}

/** "The plain text topic of the room. Omitted if no `text/plain` mimetype exists in `m.room.topic`." */
export function topicIn(state: ReadonlyMap<string, JsonObject>): string | undefined {
  const content = state.get('m.room.topic') ?? {};
  const block = objectAt(content, 'm.topic');
  if (block === undefined) return nonEmpty(stringAt(content, 'topic'));
  const texts: Json = own(block, 'm.text') ?? [];
  const plain = (Array.isArray(texts) ? texts : []).find(
    (text: Json) => isObject(text) && (stringAt(text, 'mimetype') ?? 'text/plain') === 'text/plain',
  );
  return isObject(plain) ? nonEmpty(stringAt(plain, 'body')) : undefined;
}

function nonEmpty(text: string | undefined): string | undefined {
  return text === '' ? undefined : text;
}

/** Spaces of other servers: https://spec.matrix.org/v1.19/server-server-api/#spaces */

import { isRoomId, isUserId, type RoomId, type ServerName } from '#keys/ids.ts';
import { integerAt, isObject, type Json, type JsonObject, objectAt, own } from '#keys/json.ts';
import {
  type ChildEvent,
  childrenOf,
  MOST_CHILDREN,
  SPACE,
  type SpaceChild,
} from '#rooms/directory/hierarchy.ts';
import { type ToldRoom, toldRoom } from '#rooms/directory/told-room.ts';
import { type Remote, readObject } from './answer.ts';
import { encode, FEDERATION, type RemoteContext, type RemoteOptions, smallQuery } from './request.ts';

const MAX_SPACE_BYTES = 4 * 1024 * 1024;

/** A room, and the rooms below it, as far as a server tells. */
export interface ToldSpace {
  readonly room: ToldRoom;
  /** In the order in which they are to be shown. */
  readonly children: readonly SpaceChild[];
  /** What the server knows of the children. */
  readonly rooms: ReadonlyMap<RoomId, ToldRoom>;
  /** "The requesting server should consider these room IDs as not accessible from anywhere." */
  readonly inaccessible: ReadonlySet<RoomId>;
  /** Of the answer. */
  readonly bytes: number;
}

/** `GET v1/hierarchy`. What is malformed of the children is left out. */
export async function hierarchy(
  ctx: RemoteContext,
  server: ServerName,
  { roomId, suggestedOnly }: { readonly roomId: RoomId; readonly suggestedOnly: boolean },
  options: RemoteOptions = {},
): Promise<Remote<ToldSpace>> {
  const path = `${FEDERATION}/v1/hierarchy/${encode(roomId)}`;
  const request = smallQuery(server, path, { suggested_only: String(suggestedOnly) });
  const answer = await ctx.client.request({ ...request, maxBytes: MAX_SPACE_BYTES, ...options });
  const bytes = answer.kind === 'ok' ? answer.bytes.length : 0;
  return readObject(answer, (body) => {
    const told = objectAt(body, 'room');
    const room = toldRoom(told);
    if (told === undefined || room?.room_id !== roomId) return undefined;
    const rooms = listAt(body, 'children').map(toldRoom);
    return {
      room,
      children: room.room_type === SPACE ? childrenOf(childEventsIn(told)) : [],
      rooms: new Map(rooms.flatMap((child) => (child === undefined ? [] : [[child.room_id, child]]))),
      inaccessible: new Set(listAt(body, 'inaccessible_children').filter(isRoomId)),
      bytes,
    };
  });
}

/** Stripped state events "with an added `origin_server_ts` key". */
function childEventsIn(room: JsonObject): ChildEvent[] {
  return listAt(room, 'children_state').flatMap((event) => {
    if (!isObject(event) || own(event, 'type') !== 'm.space.child') return [];
    const [stateKey, sender] = [own(event, 'state_key'), own(event, 'sender')];
    const content = objectAt(event, 'content');
    const originServerTs = integerAt(event, 'origin_server_ts');
    if (!isRoomId(stateKey) || !isUserId(sender)) return [];
    if (content === undefined || originServerTs === undefined) return [];
    return [{ type: 'm.space.child', stateKey, sender, content, originServerTs }];
  });
}

function listAt(body: JsonObject, key: string): readonly Json[] {
  const list: Json = own(body, key) ?? [];
  return Array.isArray(list) ? list.slice(0, MOST_CHILDREN) : [];
}

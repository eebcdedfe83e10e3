/** Questions to other servers with short answers: https://spec.matrix.org/v1.19/server-server-api/#querying-for-information */

import {
  isRoomId,
  isServerName,
  type RoomAlias,
  type RoomId,
  type ServerName,
  type UserId,
} from '#keys/ids.ts';
import { integerAt, type Json, type JsonObject, objectAt, own, stringAt } from '#keys/json.ts';
import { MAX_PUBLIC_ROOMS, type PublicRooms } from '#rooms/directory/directory.ts';
import { toldRoom } from '#rooms/directory/told-room.ts';
import { type Remote, readObject } from './answer.ts';
import {
  FEDERATION,
  QUERY_TIMEOUT_MS,
  type RemoteContext,
  type RemoteOptions,
  smallQuery,
  WAITED_FOR,
} from './request.ts';

const MAX_SERVERS = 10_000;
const MAX_DIRECTORY_BYTES = 4 * 1024 * 1024;

/** `GET v1/query/profile` */
export async function queryProfile(
  ctx: RemoteContext,
  server: ServerName,
  wanted: { userId: UserId; field?: string },
  options: RemoteOptions = {},
): Promise<Remote<JsonObject>> {
  const query = { user_id: wanted.userId, field: wanted.field };
  const request = smallQuery(server, `${FEDERATION}/v1/query/profile`, query);
  return readObject(await ctx.client.request({ ...request, ...options }), (profile) => profile);
}

/** `GET v1/query/directory` */
export async function queryDirectory(
  ctx: RemoteContext,
  server: ServerName,
  alias: RoomAlias,
  options: RemoteOptions = {},
): Promise<Remote<{ roomId: RoomId; servers: readonly ServerName[] }>> {
  const request = smallQuery(server, `${FEDERATION}/v1/query/directory`, { room_alias: alias });
  return readObject(await ctx.client.request({ ...request, ...WAITED_FOR, ...options }), (answer) => {
    const roomId = own(answer, 'room_id');
    const servers = own(answer, 'servers');
    if (!isRoomId(roomId) || !Array.isArray(servers)) return undefined;
    return { roomId, servers: servers.filter(isServerName).slice(0, MAX_SERVERS) };
  });
}

/**
 * `POST v1/publicRooms`; `body` as the client-server API has it. Of the rooms those are left out whose entries are
 * malformed, and those beyond what a page holds.
 */
export async function publicRooms(
  ctx: RemoteContext,
  server: ServerName,
  body: JsonObject,
  options: RemoteOptions = {},
): Promise<Remote<PublicRooms>> {
  const path = `${FEDERATION}/v1/publicRooms`;
  const request = {
    server,
    method: 'POST',
    path,
    body,
    timeoutMs: QUERY_TIMEOUT_MS,
    maxBytes: MAX_DIRECTORY_BYTES,
    ...WAITED_FOR,
    ...options,
  } as const;
  return readObject(await ctx.client.request(request), publicRoomsIn);
}

function publicRoomsIn(answer: JsonObject): PublicRooms | undefined {
  const rooms: Json | undefined = own(answer, 'chunk');
  if (!Array.isArray(rooms)) return undefined;
  const chunk = rooms.slice(0, MAX_PUBLIC_ROOMS).map((room: Json) => toldRoom(room));
  const [next, previous] = [stringAt(answer, 'next_batch'), stringAt(answer, 'prev_batch')];
  const total = integerAt(answer, 'total_room_count_estimate');
  return {
    chunk: chunk.filter((room) => room !== undefined),
    ...(next !== undefined && { next_batch: next }),
    ...(previous !== undefined && { prev_batch: previous }),
    ...(total !== undefined && { total_room_count_estimate: total }),
  };
}

/** `GET v1/version` */
export async function version(
  ctx: RemoteContext,
  server: ServerName,
  options: RemoteOptions = {},
): Promise<Remote<{ name: string; version: string }>> {
  const request = smallQuery(server, `${FEDERATION}/v1/version`, {});
  return readObject(await ctx.client.request({ ...request, ...options }), (answer) => {
    const software = objectAt(answer, 'server') ?? {};
    return { name: stringAt(software, 'name') ?? '', version: stringAt(software, 'version') ?? '' };
  });
}

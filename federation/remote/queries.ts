/** Questions to other servers with short answers: https://spec.matrix.org/v1.19/server-server-api/#querying-for-information */

import {
  isRoomId,
  isServerName,
  type RoomAlias,
  type RoomId,
  type ServerName,
  type UserId,
} from '#keys/ids.ts';
import { type JsonObject, objectAt, own, stringAt } from '#keys/json.ts';
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

/** `POST v1/publicRooms`; `body` as the client-server API has it. The answer's `chunk` is an array. */
export async function publicRooms(
  ctx: RemoteContext,
  server: ServerName,
  body: JsonObject,
  options: RemoteOptions = {},
): Promise<Remote<JsonObject>> {
  const path = `${FEDERATION}/v1/publicRooms`;
  const request = {
    server,
    method: 'POST',
    path,
    body,
    timeoutMs: QUERY_TIMEOUT_MS,
    ...WAITED_FOR,
    ...options,
  } as const;
  return readObject(await ctx.client.request(request), (answer) =>
    Array.isArray(own(answer, 'chunk')) ? answer : undefined,
  );
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

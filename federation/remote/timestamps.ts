/** https://spec.matrix.org/v1.19/server-server-api/#get_matrixfederationv1timestamp_to_eventroomid */

import { type EventId, isEventId, type RoomId, type ServerName } from '#keys/ids.ts';
import { integerAt, own } from '#keys/json.ts';
import { type Remote, readObject } from './answer.ts';
import { encode, FEDERATION, type RemoteContext, type RemoteOptions, smallQuery } from './request.ts';

export interface TimeInRoom {
  readonly roomId: RoomId;
  /** In milliseconds since 1970. */
  readonly ts: number;
  /** `f`: the first event at that time or later; `b`: the last one at that time or earlier. */
  readonly direction: 'f' | 'b';
}

/** `GET v1/timestamp_to_event`: an event on the wanted side of the time; its own time is what the server says it is. */
export async function timestampToEvent(
  ctx: RemoteContext,
  server: ServerName,
  { roomId, ts, direction }: TimeInRoom,
  options: RemoteOptions = {},
): Promise<Remote<{ eventId: EventId; originServerTs: number }>> {
  const path = `${FEDERATION}/v1/timestamp_to_event/${encode(roomId)}`;
  const request = smallQuery(server, path, { ts, dir: direction });
  return readObject(await ctx.client.request({ ...request, ...options }), (answer) => {
    const eventId = own(answer, 'event_id');
    const originServerTs = integerAt(answer, 'origin_server_ts');
    if (!isEventId(eventId) || originServerTs === undefined) return undefined;
    const isOnSide = direction === 'f' ? originServerTs >= ts : originServerTs <= ts;
    return isOnSide ? { eventId, originServerTs } : undefined;
  });
}

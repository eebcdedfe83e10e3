/** Events that relate to others, and how clients see them. */

import assert from 'node:assert/strict';
import type { Body, TestClient } from './client.ts';
import { inRoom } from './conversation.ts';

/** Sends an event that relates to another; answers its id. */
export function relate(
  sender: TestClient,
  roomId: string,
  relType: string,
  to: string,
  { type = 'm.room.message', key }: { readonly type?: string; readonly key?: string } = {},
): Promise<string> {
  const relatesTo = { rel_type: relType, event_id: to, ...(key !== undefined && { key }) };
  return sender.sendEvent(roomId, type, { msgtype: 'm.text', body: relType, 'm.relates_to': relatesTo });
}

/** Sends an edit of an event; answers its id. */
export function edit(
  sender: TestClient,
  roomId: string,
  of: string,
  body: string,
  type = 'm.room.message',
): Promise<string> {
  return sender.sendEvent(roomId, type, {
    msgtype: 'm.text',
    body: `* ${body}`,
    'm.new_content': { msgtype: 'm.text', body },
    'm.relates_to': { rel_type: 'm.replace', event_id: of },
  });
}

/** The path of what relates to an event. */
export function relationsPath(roomId: string, eventId: string, rest = ''): string {
  return `/_matrix/client/v1${inRoom(roomId)}/relations/${encodeURIComponent(eventId)}${rest}`;
}

/** The ids of events, or of what else has an `event_id`. */
export function idsOf(events: readonly Body[]): string[] {
  return events.map((event) => event.event_id);
}

/** One event as it is in every answer that has what relates to it, but for /sync and /relations. */
export async function shown(user: TestClient, roomId: string, eventId: string): Promise<Body[]> {
  const path = inRoom(roomId);
  const context = await user.get(`${path}/context/${eventId}?limit=20`);
  const { chunk } = await user.get(`${path}/messages?dir=b&limit=100`);
  const neighbour = [...context.events_before, ...context.events_after][0];
  const around = await user.get(`${path}/context/${neighbour.event_id}?limit=50`);
  const all = [
    context.event,
    await user.get(`${path}/event/${eventId}`),
    find(chunk, eventId),
    find([...around.events_before, ...around.events_after], eventId),
  ];
  return all;
}

function find(events: readonly Body[], eventId: string): Body {
  const found = events.find((event) => event.event_id === eventId);
  assert.ok(found, `${eventId} is not there`);
  return found;
}

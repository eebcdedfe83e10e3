/** Everything by which users and servers read a room, after it was poisoned: all of it is answered, and whole. */

import assert from 'node:assert/strict';
import { parseStrict } from '#keys/canonical-json.ts';
import { isObject, type Json } from '#keys/json.ts';
import { checkFormat } from '#rooms/format.ts';
import type { TestClient } from '#test/harness/client.ts';
import { inRoom } from '#test/harness/conversation.ts';
import type { TestRoom } from '#test/harness/room-builder.ts';
import type { RoomPeer } from '#test/harness/room-peer.ts';
import type { TestServer } from '#test/harness/server.ts';

const PAGE = 100;

/** The bodies of all messages that a user can read, the oldest first, after reading the room in every way. */
export async function readWhole(user: TestClient, roomId: string): Promise<string[]> {
  const backwards = await walk(user, roomId, 'b');
  const forwards = await walk(user, roomId, 'f');
  const sorted = (ids: readonly string[]) => [...ids].sort();
  const ids = (events: Awaited<ReturnType<typeof walk>>) => sorted(events.map(({ event_id: id }) => id));
  assert.deepEqual(ids(forwards), ids(backwards));
  const { rooms } = await user.sync({ fullState: true });
  assert.ok(rooms.join[roomId].timeline.events.length > 0);
  const state = await user.get(`${inRoom(roomId)}/state`);
  assert.ok(state.length > 3);
  await user.get(`${inRoom(roomId)}/members`);
  await user.get(`${inRoom(roomId)}/joined_members`);
  return backwards.reverse().map(({ content }) => String(content.body));
}

async function walk(user: TestClient, roomId: string, dir: 'b' | 'f') {
  const events: { event_id: string; content: { body?: unknown } }[] = [];
  let from = '';
  for (;;) {
    const { chunk, end } = await user.get(`${inRoom(roomId)}/messages?dir=${dir}&limit=${PAGE}${from}`);
    events.push(...chunk);
    if (end === undefined || (dir === 'f' && chunk.length === 0)) return events;
    from = `&from=${encodeURIComponent(end)}`;
  }
}

/** Another server reads the room: what it gets are valid events of the version. */
export async function readAsServer(server: TestServer, peer: RoomPeer): Promise<void> {
  const { room } = peer;
  const roomId = encodeURIComponent(room.roomId);
  const eventId = encodeURIComponent(room.last.eventId);
  const lists = [
    [`state/${roomId}?event_id=${eventId}`, 'pdus', 'auth_chain'],
    [`backfill/${roomId}?v=${eventId}&limit=100`, 'pdus'],
    [`event_auth/${roomId}/${eventId}`, 'auth_chain'],
    [`event/${eventId}`, 'pdus'],
  ];
  for (const [path, ...keys] of lists) {
    const { status, body } = await peer.request(server, { path: `/_matrix/federation/v1/${path}` });
    assert.equal(status, 200, path);
    for (const pdu of keys.flatMap((key) => body[key] as Json[])) assertValid(pdu, room);
  }
  const ids = await peer.request(server, {
    path: `/_matrix/federation/v1/state_ids/${roomId}?event_id=${eventId}`,
  });
  assert.equal(ids.status, 200);
}

function assertValid(pdu: Json, { rules }: TestRoom): void {
  assert.ok(isObject(pdu));
  // The answer was read as any JSON: of versions before 6 its numbers may be others than those that were sent.
  const read = rules.strictJson ? pdu : { ...pdu, depth: 1 };
  const parsed = parseStrict(JSON.stringify(read), { anyNumbers: !rules.strictJson });
  assert.equal(parsed.kind === 'ok' ? checkFormat(parsed.value, rules) : parsed.reason, undefined);
}

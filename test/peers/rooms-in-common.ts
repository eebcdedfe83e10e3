/** What tests against other servers do in rooms that both sides are in, and what they look at there. */

import assert from 'node:assert/strict';
import { isDeepStrictEqual } from 'node:util';
import type { Body, TestClient } from '#test/harness/client.ts';
import { inRoom, messagesOf, untilMessages } from '#test/harness/conversation.ts';
import { until } from '#test/harness/until.ts';

/** Gives the guest the power to change the state of a room. */
export async function letChangeState(host: TestClient, guest: TestClient, roomId: string): Promise<void> {
  const path = `${inRoom(roomId)}/state/m.room.power_levels/`;
  const levels = await host.get(path);
  await host.put(path, { ...levels, users: { ...levels.users, [guest.userId]: 50 }, state_default: 50 });
  const isKnown = async () => (await guest.get(path)).users?.[guest.userId] === 50;
  await until(isKnown, 'that the guest may change the state');
}

/** Two messages in turn from each, seen by both in that order. */
export async function talk(one: TestClient, other: TestClient, roomId: string): Promise<void> {
  const said: string[] = [];
  for (const [speaker, listener] of [
    [one, other],
    [other, one],
    [one, other],
    [other, one],
  ] as const) {
    const body = `${said.length} says ${speaker.userId}`;
    await speaker.send(roomId, body);
    await untilMessages(listener, roomId, [body]);
    said.push(body);
  }
  for (const user of [one, other]) {
    const seen = await messagesOf(user, roomId);
    assert.deepEqual(seen.slice(-said.length), said, `as ${user.userId} sees it`);
  }
}

/** One sends, edits, reacts and takes back; the other sees each of it. */
export async function editAndRedact(one: TestClient, other: TestClient, roomId: string): Promise<void> {
  const eventId = await one.send(roomId, `a draft of ${one.userId}`);
  const edited = `the final text of ${one.userId}`;
  await one.sendEvent(roomId, 'm.room.message', {
    msgtype: 'm.text',
    body: `* ${edited}`,
    'm.new_content': { msgtype: 'm.text', body: edited },
    'm.relates_to': { rel_type: 'm.replace', event_id: eventId },
  });
  const reaction = await one.sendEvent(roomId, 'm.reaction', {
    'm.relates_to': { rel_type: 'm.annotation', event_id: eventId, key: '👍' },
  });
  await untilMessages(other, roomId, [`* ${edited}`]);
  const edit = (await eventsOf(other, roomId)).find((event) => event.content.body === `* ${edited}`);
  assert.deepEqual(edit.content['m.relates_to'], { rel_type: 'm.replace', event_id: eventId });
  assert.equal(edit.content['m.new_content'].body, edited);
  await until(
    async () => (await contentOf(other, roomId, reaction))?.['m.relates_to']?.key === '👍',
    'a reaction',
  );

  for (const unwanted of [reaction, eventId]) await redactSeenBy(one, other, roomId, unwanted);
}

/** One takes an event back; the other sees that. */
export async function redactSeenBy(
  one: TestClient,
  other: TestClient,
  roomId: string,
  eventId: string,
): Promise<void> {
  const event = encodeURIComponent(eventId);
  await one.put(`${inRoom(roomId)}/redact/${event}/redact${event}`, { reason: 'a test' });
  const isGone = async () => Object.keys((await contentOf(other, roomId, eventId)) ?? { a: 1 }).length === 0;
  await until(isGone, `that ${other.userId} sees ${eventId} redacted`);
}

export async function contentOf(user: TestClient, roomId: string, eventId: string): Promise<Body> {
  const answer = await user.try('GET', `${inRoom(roomId)}/event/${encodeURIComponent(eventId)}`);
  return answer.status === 200 ? answer.body.content : undefined;
}

async function eventsOf(user: TestClient, roomId: string): Promise<Body[]> {
  return (await user.get(`${inRoom(roomId)}/messages?dir=b&limit=100`)).chunk;
}

/** Waits until the servers of all users hold the same event for every key of the state. */
export async function untilSameState(
  users: readonly TestClient[],
  roomId: string,
  wait: { longestMs?: number } = {},
): Promise<void> {
  const stateOf = async (user: TestClient) => {
    const events: Body[] = await user.get(`${inRoom(roomId)}/state`);
    return events.map((event) => `${event.type} ${event.state_key} ${event.event_id}`).sort();
  };
  let states: string[][] = [];
  const areSame = async () => {
    states = await Promise.all(users.map(stateOf));
    return states.every((state) => isDeepStrictEqual(state, states[0]));
  };
  try {
    await until(areSame, 'the same state', wait);
  } catch {
    // Say where they differ.
    for (const state of states) assert.deepEqual(state, states[0]);
  }
}

export async function untilLeft(user: TestClient, roomId: string): Promise<void> {
  await until(async () => {
    const { joined_rooms: joined } = await user.get('/joined_rooms');
    return !joined.includes(roomId);
  }, `that ${user.userId} is out of the room`);
}

/** All messages of a room, oldest first, page by page from its end. */
export async function wholeHistory(user: TestClient, roomId: string): Promise<string[]> {
  const seen: string[] = [];
  let from = '';
  for (let page = 0; page < 50; page++) {
    // Each page begins where the last one ended.
    const { chunk, end } = await user.get(`${inRoom(roomId)}/messages?dir=b&limit=50${from}`);
    seen.unshift(...bodiesOf(chunk).reverse());
    if (end === undefined) return seen;
    from = `&from=${encodeURIComponent(end)}`;
  }
  throw new Error('the history has no end');
}

/** The messages that came after a sync, as a client gets them: the gap filled from /messages where there is one. */
export async function timelineSince(user: TestClient, roomId: string, since: string): Promise<string[]> {
  const filter = { room: { timeline: { limit: 1_000 } } };
  const answer = await user.sync({ since, filter });
  const { timeline } = answer.rooms.join[roomId];
  if (!timeline.limited) return bodiesOf(timeline.events);
  const path = `${inRoom(roomId)}/messages?dir=b&limit=500&from=${encodeURIComponent(timeline.prev_batch)}&to=${encodeURIComponent(since)}`;
  const { chunk } = await user.get(path);
  return [...bodiesOf(chunk).reverse(), ...bodiesOf(timeline.events)];
}

function bodiesOf(events: Body[]): string[] {
  return events
    .filter((event) => event.type === 'm.room.message' && event.content.body !== undefined)
    .map((event) => event.content.body);
}

export function ephemeral(answer: Body, roomId: string, type: string): Body {
  const events: Body[] = answer.rooms?.join?.[roomId]?.ephemeral?.events ?? [];
  return events.findLast((event) => event.type === type)?.content;
}

export function serverOf(user: TestClient): string {
  return user.userId.slice(user.userId.indexOf(':') + 1);
}

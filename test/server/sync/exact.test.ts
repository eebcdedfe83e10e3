/**
 * Invariant: what a client makes of the answers of /sync is what there is, whoever writes, on whichever server, and
 * whatever answers are lost, asked for again or interleaved, also when the server is started again in between.
 */

import assert from 'node:assert/strict';
import { test } from 'node:test';
import { type Body, register, request, type TestClient } from '#test/harness/client.ts';
import { diceOf } from '#test/harness/dice.ts';
import { type Fleet, startFleet } from '#test/harness/fleet.ts';
import { casesOf, isLongRun, seed } from '#test/harness/rounds.ts';
import { act, type World } from './exact-deeds.ts';
import { ExactReader, type Manner } from './exact-reader.ts';

/** What says how long ago something was. */
const PASSING = new Set(['age', 'last_active_ago']);
const LAZY = { lazy_load_members: true };
const MANNERS: readonly Manner[] = [
  { name: 'all', filter: { room: { timeline: { limit: 1000 } } } },
  { name: 'short', filter: { room: { timeline: { limit: 3 } } } },
  { name: 'state after', filter: { room: { timeline: { limit: 4 } } }, after: true },
  { name: 'lazy', filter: { room: { timeline: { limit: 5 }, state: LAZY } } },
  { name: 'lazy, state after', filter: { room: { timeline: { limit: 2 }, state: LAZY } }, after: true },
  { name: 'messages', filter: { room: { timeline: { limit: 4, types: ['m.room.message'] } } } },
];

const USERS = isLongRun ? 10 : 3;
const DEEDS = isLongRun ? 30 : 10;
const PHASES = isLongRun ? 4 : 2;

for (let round = 0; round < casesOf({ usual: 1, inLongRun: 0.5 }); round++) {
  const roundSeed = seed + round;
  test(`sync: increments are exact (seed ${roundSeed})`, () => live(roundSeed));
}

async function live(roundSeed: number): Promise<void> {
  const dice = diceOf(roundSeed);
  await using fleet = await startFleet(2);
  const world = await populate(fleet);
  const readers = world.users.map((user, index) => {
    const manner = MANNERS[(index + roundSeed) % MANNERS.length];
    assert.ok(manner);
    return new ExactReader(fleet.at(index % 2), user, manner);
  });
  for (const reader of readers) await reader.take(await reader.ask());
  for (let phase = 0; phase < PHASES; phase++) {
    let ended = false;
    const writing = world.users.map((user) => act(world, user, diceOf(dice(1_000_000) + 1), DEEDS));
    const reading = readers.map((reader) => follow(reader, diceOf(dice(1_000_000) + 1), () => ended));
    await Promise.all([
      Promise.all(writing).finally(() => {
        ended = true;
      }),
      ...reading,
    ]);
    if (phase < PHASES - 1) await fleet.at(dice(2)).restart();
  }
  for (const reader of readers) await checkWhole(reader);
  for (const reader of readers) await checkAgain(reader, world);
}

/** Users of two servers, one after the other, and rooms of different kinds that all are in. */
async function populate(fleet: Fleet): Promise<World> {
  const users: TestClient[] = [];
  for (let index = 0; index < 2 * USERS; index++) users.push(await register(fleet.at(index % 2)));
  const levels = { events: { 'test.state': 0 }, invite: 0, kick: 50, ban: 50, state_default: 50 };
  const kinds = [
    { history_visibility: 'shared', join_rule: 'public' },
    { history_visibility: 'joined', join_rule: 'public' },
    { history_visibility: 'shared', join_rule: 'knock' },
  ];
  const rooms: string[] = [];
  for (const [index, kind] of kinds.entries()) {
    const creator = users[index];
    assert.ok(creator);
    const others = users.slice(0, 4).filter((user) => user !== creator);
    const initial_state = Object.entries(kind).map(([key, value]) => ({
      type: key === 'join_rule' ? 'm.room.join_rules' : `m.room.${key}`,
      state_key: '',
      content: { [key]: value },
    }));
    const roomId = await creator.createRoom({
      power_level_content_override: levels,
      initial_state,
      invite: others.map(({ userId }) => userId),
    });
    rooms.push(roomId);
    const via = creator.userId.slice(creator.userId.indexOf(':') + 1);
    for (const user of others) await user.join(roomId, [via]);
  }
  return { users, rooms, sent: new Map(rooms.map((roomId) => [roomId, []])), messages: [], count: 0 };
}

/** Reads on until told to stop and nothing comes any more. Loses answers, asks again, and asks twice at once. */
async function follow(
  reader: ExactReader,
  dice: (sides: number) => number,
  hasEnded: () => boolean,
): Promise<void> {
  for (;;) {
    const isLast = hasEnded();
    const timeout = isLast ? 150 : 50;
    const how = isLast ? 0 : dice(6);
    if (how === 1) await abort(reader, dice);
    if (how === 2) await reader.ask(timeout);
    const answers = await Promise.all(
      how === 3 ? [reader.ask(timeout), reader.ask(0)] : [reader.ask(timeout)],
    );
    const answer = answers[dice(answers.length)];
    await reader.take(answer);
    if (isLast && answer.rooms === undefined && answer.to_device === undefined) return;
  }
}

/** Asks and goes away, perhaps before there is an answer. */
async function abort(reader: ExactReader, dice: (sides: number) => number): Promise<void> {
  const signal = AbortSignal.timeout(dice(30));
  const url = `${reader.client.server.clientUrl}/_matrix/client/v3${reader.path(50)}`;
  const headers = { authorization: `Bearer ${reader.client.accessToken}` };
  await fetch(url, { signal, headers })
    .then(
      (answer) => answer.arrayBuffer(),
      () => undefined,
    )
    .catch(() => undefined);
}

/** What the reader has is what a client gets that begins now. */
async function checkWhole(reader: ExactReader): Promise<void> {
  const fresh = await caughtUp(reader);
  const name = `${reader.client.userId} (${reader.manner.name})`;
  assert.deepEqual([...reader.joined.keys()].sort(), [...fresh.joined.keys()].sort(), `${name}: rooms`);
  assert.deepEqual(
    [...reader.invited.keys()].sort(),
    [...fresh.invited.keys()].sort(),
    `${name}: invitations`,
  );
  assert.deepEqual([...reader.knocked.keys()].sort(), [...fresh.knocked.keys()].sort(), `${name}: knocks`);
  assert.deepEqual(sorted(reader.receipts), sorted(fresh.receipts), `${name}: receipts`);
  assert.deepEqual(sorted(reader.accountData), sorted(fresh.accountData), `${name}: account data`);
  for (const [roomId, { timeline, summary }] of reader.joined) {
    const all = await historyOf(reader, roomId);
    assert.deepEqual(timeline, all.slice(-timeline.length), `${name}: ${roomId} is the end of the history`);
    const now = fresh.joined.get(roomId)?.summary;
    for (const count of ['m.joined_member_count', 'm.invited_member_count']) {
      assert.equal(summary[count], now[count], `${name}: ${count} of ${roomId}`);
    }
  }
}

/** A reader that begins now; before and after it there was nothing new for the other. */
async function caughtUp(reader: ExactReader): Promise<ExactReader> {
  for (let turn = 0; turn < 50; turn++) {
    await reader.take(await reader.ask());
    const fresh = new ExactReader(reader.server, reader.client, reader.manner);
    await fresh.take(await freshAnswer(fresh));
    const answer = await reader.ask();
    await reader.take(answer);
    if (answer.rooms === undefined && answer.account_data === undefined) return fresh;
  }
  return assert.fail('there is no end of news');
}

async function freshAnswer(fresh: ExactReader): Promise<Body> {
  const { to_device: _, ...answer } = await fresh.ask(0);
  return answer;
}

/** Every request of before is answered alike twice, and each message to the device came once, in order. */
async function checkAgain(reader: ExactReader, { users, messages }: World): Promise<void> {
  const some = reader.tokens.filter((_, index) => index % 5 === 0).slice(-5);
  for (const since of some) {
    assert.deepEqual(
      steady(await reader.ask(0, since)),
      steady(await reader.ask(0, since)),
      `again from ${since}`,
    );
  }
  const own = messages.filter(({ to }) => to === reader.client);
  for (const { userId } of users) {
    const numbersOf = (list: readonly { from: string; number: number }[]) =>
      list.filter(({ from }) => from === userId).map(({ number }) => number);
    assert.deepEqual(numbersOf(reader.messages), numbersOf(own), `messages of ${userId}`);
  }
}

/** Without what goes on while nothing happens. */
function steady(answer: Body): Body {
  return JSON.parse(JSON.stringify(answer), (key, value) => (PASSING.has(key) ? undefined : value));
}

function sorted(map: ReadonlyMap<string, string>): [string, string][] {
  return [...map].sort();
}

async function historyOf(reader: ExactReader, roomId: string): Promise<string[]> {
  const { client, manner } = reader;
  const filter = encodeURIComponent(JSON.stringify(manner.filter.room.timeline));
  const ids: string[] = [];
  for (let from: string | undefined = ''; from !== undefined; ) {
    const query: string = `dir=b&limit=100&filter=${filter}${from === '' ? '' : `&from=${from}`}`;
    const path = `/_matrix/client/v3/rooms/${encodeURIComponent(roomId)}/messages?${query}`;
    const { body } = await request(client.server, 'GET', path, { token: client.accessToken });
    ids.push(...body.chunk.map((event: Body) => event.event_id));
    from = body.end;
  }
  return ids.reverse();
}

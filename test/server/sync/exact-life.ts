/**
 * A random life of some users of two servers, and of readers of theirs that lose answers, ask again, and ask twice at once,
 * while the servers are started again: what `exact.test.ts` and that of sliding sync have in common.
 */

import assert from 'node:assert/strict';
import { isDeepStrictEqual } from 'node:util';
import { type Body, register, type TestClient } from '#test/harness/client.ts';
import { diceOf } from '#test/harness/dice.ts';
import { type Fleet, startFleet } from '#test/harness/fleet.ts';
import { isLongRun } from '#test/harness/long-run.ts';
import type { TestServer } from '#test/harness/server.ts';
import { act, type World } from './exact-deeds.ts';

/** One request, as a client would send it. */
export interface ReaderRequest {
  readonly method: 'GET' | 'POST';
  /** From `/_matrix/` on. */
  readonly path: string;
  readonly body?: object;
}

/** Somebody who follows what happens, by whichever kind of sync. */
export interface Reader {
  readonly client: TestClient;
  readonly server: TestServer;
  /** The request that comes next; with `isLast` one that leaves nothing out. */
  request(timeout: number, isLast: boolean): ReaderRequest;
  /** Takes an answer and goes on from it. */
  take(answer: Body): Promise<void>;
  /** True where nothing was told that somebody waits for. */
  isQuiet(answer: Body): boolean;
  /** What the reader has is what there is. */
  checkWhole(world: World): Promise<void>;
}

type Dice = (sides: number) => number;

const USERS = isLongRun ? 10 : 3;
const DEEDS = isLongRun ? 30 : 10;
const PHASES = isLongRun ? 4 : 2;

/** Lets the users live, and checks at the end what each of the readers has. */
export async function live(
  roundSeed: number,
  readersOf: (world: World, fleet: Fleet) => readonly Reader[],
): Promise<void> {
  const dice = diceOf(roundSeed);
  await using fleet = await startFleet(2);
  const world = await populate(fleet);
  const readers = readersOf(world, fleet);
  for (const reader of readers) await reader.take(await ask(reader, 0));
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
  for (const reader of readers) await reader.checkWhole(world);
}

/** One request and its answer, which must be a success. */
export async function ask(reader: Reader, timeout: number, isLast = false): Promise<Body> {
  return answerTo(reader.client, reader.request(timeout, isLast));
}

export async function answerTo(client: TestClient, { method, path, body }: ReaderRequest): Promise<Body> {
  const answer = await client.try(method, path, body);
  assert.equal(answer.status, 200, `${path}: ${JSON.stringify(answer.body)}`);
  return answer.body;
}

/** Reads on until nothing comes any more, by requests that leave nothing out. */
export async function readOn(reader: Reader): Promise<void> {
  for (let turn = 0; turn < 50; turn++) {
    const answer = await ask(reader, 0, true);
    await reader.take(answer);
    if (reader.isQuiet(answer)) return;
  }
  assert.fail('there is no end of news');
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
async function follow(reader: Reader, dice: Dice, hasEnded: () => boolean): Promise<void> {
  for (;;) {
    const isLast = hasEnded();
    const timeout = isLast ? 150 : 50;
    const how = isLast ? 0 : dice(6);
    if (how === 1) await abort(reader, dice);
    if (how === 2) await ask(reader, timeout);
    const request = reader.request(timeout, isLast);
    const answers = await Promise.all(
      how === 3
        ? [answerTo(reader.client, request), answerTo(reader.client, reader.request(0, isLast))]
        : [answerTo(reader.client, request)],
    );
    const answer = answers[dice(answers.length)];
    await reader.take(answer);
    if (isLast && reader.isQuiet(answer)) return;
  }
}

/** Asks and goes away, perhaps before there is an answer. */
async function abort(reader: Reader, dice: Dice): Promise<void> {
  const signal = AbortSignal.timeout(dice(30));
  const { method, path, body } = reader.request(50, false);
  const headers = {
    authorization: `Bearer ${reader.client.accessToken}`,
    ...(body !== undefined && { 'content-type': 'application/json' }),
  };
  const options = { method, signal, headers, ...(body !== undefined && { body: JSON.stringify(body) }) };
  await fetch(`${reader.client.server.clientUrl}${path}`, options)
    .then(
      (answer) => answer.arrayBuffer(),
      () => undefined,
    )
    .catch(() => undefined);
}

/** Each message to the device came once, in the order in which its sender sent it. */
export function checkMessages(
  {
    client,
    messages,
  }: { readonly client: TestClient; readonly messages: readonly { from: string; number: number }[] },
  world: World,
): void {
  const own = world.messages.filter(({ to }) => to === client);
  for (const { userId } of world.users) {
    const numbersOf = (list: readonly { from: string; number: number }[]) =>
      list.filter(({ from }) => from === userId).map(({ number }) => number);
    assert.deepEqual(numbersOf(messages), numbersOf(own), `messages of ${userId}`);
  }
}

/**
 * A request is answered alike twice. News of the other server may come just between the two, such as who types: two
 * later ones are alike then.
 */
export async function assertAlike(asked: () => Promise<Body>, what: string): Promise<void> {
  for (let turn = 1; ; turn++) {
    const [first, again] = [steady(await asked()), steady(await asked())];
    if (isDeepStrictEqual(first, again)) return;
    if (turn === 3) assert.deepEqual(first, again, what);
  }
}

/** What says how long ago something was. */
const PASSING = new Set(['age', 'last_active_ago']);

/** Without what goes on while nothing happens. */
function steady(answer: Body): Body {
  return JSON.parse(JSON.stringify(answer), (key, value) => (PASSING.has(key) ? undefined : value));
}

export function sorted(map: ReadonlyMap<string, string>): [string, string][] {
  return [...map].sort();
}

/** All event ids of a room that a user sees, oldest first. */
export async function historyOf(client: TestClient, roomId: string, filter: object = {}): Promise<string[]> {
  const ids: string[] = [];
  for (let from: string | undefined = ''; from !== undefined; ) {
    const query: string = `dir=b&limit=100&filter=${encodeURIComponent(JSON.stringify(filter))}${from === '' ? '' : `&from=${from}`}`;
    const path = `/_matrix/client/v3/rooms/${encodeURIComponent(roomId)}/messages?${query}`;
    const { body } = await client.try('GET', path);
    ids.push(...body.chunk.map((event: Body) => event.event_id));
    from = body.end;
  }
  return ids.reverse();
}

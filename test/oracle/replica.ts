/** Servers that hear of one random room in different ways, to see that they come to the same end. */
import assert from 'node:assert/strict';
import type { EventId, RoomId } from '#keys/ids.ts';
import { type Event, eventFrom } from '#rooms/event.ts';
import type { VerifiedEvent } from '#rooms/ingress.ts';
import { type Received, receive } from '#rooms/receive.ts';
import { receiveOutliers } from '#rooms/receive-outliers.ts';
import { receiveRun } from '#rooms/receive-run.ts';
import { getRoom, type Room } from '#rooms/room.ts';
import * as rooms from '#storage/rooms.ts';
import { openRooms, type TestRooms, verified } from '#test/harness/rooms.ts';
import { rulesFor } from './ours.ts';
import type { RandomRoom } from './random-room.ts';
import { START_TS } from './room-workshop.ts';

/** How the events of a room come to one server. */
export interface Way {
  /** Decide which of the events comes next, in turn. */
  readonly choices: readonly number[];
  /** How many come at the same time. */
  readonly batch: number;
  /** Those that come at the same time stand one upon the other, in the order in which they come. */
  readonly inRuns: boolean;
  /** One of so many is tried before what it cites is there, one of so many comes twice. */
  readonly early: number;
  readonly twice: number;
  /** One of so many state events comes as a part of some state first. */
  readonly outlier: number;
  /** After how many events the server ends and begins again. */
  readonly restartAfter: number | undefined;
}

/** Each event once, in the order in which they were made. */
export const IN_ORDER: Way = {
  choices: [],
  batch: 1,
  inRuns: false,
  early: Number.POSITIVE_INFINITY,
  twice: Number.POSITIVE_INFINITY,
  outlier: Number.POSITIVE_INFINITY,
  restartAfter: undefined,
};

let inRuns = 0;

/** How many events were received together with others so far. */
export function receivedInRuns(): number {
  return inRuns;
}

/** Servers for many rooms; each attempt to make a failure smaller has new ones, since rooms may come again. */
export class Fleet implements AsyncDisposable {
  readonly #names: readonly string[];
  readonly #isDamaged: boolean;
  #servers: TestRooms[] = [];
  readonly #rooms = new Set<string>();

  /** `isDamaged`: its rooms are not checked at the end. */
  constructor(names: readonly string[], { isDamaged = false } = {}) {
    this.#names = names;
    this.#isDamaged = isDamaged;
  }

  /** The servers, for a room that they have not seen. */
  async servers(room: RandomRoom): Promise<readonly TestRooms[]> {
    if (this.#servers.length === 0 || this.#rooms.has(room.roomId)) {
      await this[Symbol.asyncDispose]();
      const [now, isDamaged] = [START_TS + 100_000, this.#isDamaged];
      const open = this.#names.map((serverName) => openRooms({ serverName, now, isDamaged }));
      this.#servers = await Promise.all(open);
    }
    this.#rooms.add(room.roomId);
    return this.#servers;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    const servers = this.#servers;
    this.#servers = [];
    this.#rooms.clear();
    for (const server of servers) await server[Symbol.asyncDispose]();
  }
}

/** The events of a room as they are after ingress, which is the same for all servers. */
export async function checkedEvents(server: TestRooms, { version, others, pdus }: RandomRoom) {
  const rules = rulesFor(version);
  const checked = [];
  for (const pdu of [...others, ...pdus]) checked.push(await verified(server.ctx, eventFrom(pdu, rules)));
  return checked;
}

/** Has a server receive a room in some way. Each event comes after those that it cites, but for early attempts. */
export async function deliver(
  server: TestRooms,
  room: RandomRoom,
  events: readonly VerifiedEvent[],
  way: Way,
): Promise<Room> {
  const dice = diceOf(way.choices);
  const ids = new Set(events.map(({ eventId }) => eventId));
  const waiting = new Map(events.map((event) => [event.eventId, event]));
  const isReady = (event: Event) => citedBy(event).every((id) => !waiting.has(id) && ids.has(id));
  let count = 0;
  while (waiting.size > 0) {
    const ready = [...waiting.values()].filter(isReady);
    // Those left cite what nobody has.
    const next = ready.length > 0 ? take(way, { ready, waiting, ids, dice }) : [...waiting.values()];
    const late = [...waiting.values()].filter((event) => !ready.includes(event));
    if (late.length > 0 && isOneOf(way.early, dice)) await tryEarly(server, late[dice() % late.length]);
    const told = next.filter(
      (event) => ready.length > 0 && event.stateKey !== undefined && isOneOf(way.outlier, dice),
    );
    await receiveTold(server, told, way);
    const kinds = way.inRuns ? await receiveInRuns(server, next) : await receiveAtOnce(server, next);
    for (const [index, kind] of kinds.entries()) {
      if (ready.length > 0) assert.notEqual(kind, 'missing', `${next[index]?.eventId} misses what is there`);
    }
    for (const event of next) {
      waiting.delete(event.eventId);
      ids.add(event.eventId);
      if (ready.length > 0 && isOneOf(way.twice, dice)) await assertKnown(server, event);
    }
    if (ready.length === 0) break;
    count += next.length;
    if (
      way.restartAfter !== undefined &&
      count >= way.restartAfter &&
      count - next.length < way.restartAfter
    ) {
      await server.restart();
    }
  }
  return roomIn(server, room.roomId as RoomId, String(room.version));
}

async function receiveAtOnce(server: TestRooms, events: readonly VerifiedEvent[]): Promise<string[]> {
  const received = await Promise.all(events.map((event) => receiveIn(server, event, 'live')));
  return received.map(({ kind }) => kind);
}

/** As what other servers tell of a state: all together, then the rest one by one; or all one by one. */
async function receiveTold(
  server: TestRooms,
  events: readonly VerifiedEvent[],
  { inRuns }: Way,
): Promise<void> {
  const [first] = events;
  if (first === undefined) return;
  const room = await roomIn(server, first.roomId, first.rules.version);
  const taken = inRuns ? await receiveOutliers(server.ctx, room, events) : new Set();
  for (const event of events) if (!taken.has(event.eventId)) await receiveIn(server, event, 'outlier');
}

/** As what other servers send: those that simply go on with the room together, the others one by one. */
async function receiveInRuns(server: TestRooms, events: readonly VerifiedEvent[]): Promise<string[]> {
  const kinds: string[] = [];
  while (kinds.length < events.length) {
    const left = events.slice(kinds.length);
    const [first] = left;
    if (first === undefined) break;
    const room = await roomIn(server, first.roomId, first.rules.version);
    const taken = await receiveRun(server.ctx, room, left);
    kinds.push(...Array.from({ length: taken }, () => 'accepted'));
    if (taken === 0) kinds.push((await receiveIn(server, first, 'live')).kind);
    if (taken > 1) inRuns += taken;
  }
  return kinds;
}

async function assertKnown(server: TestRooms, event: VerifiedEvent): Promise<void> {
  const { kind } = await receiveIn(server, event, 'live');
  assert.ok(kind === 'known' || kind === 'rejected', `${event.eventId} comes twice and is ${kind}`);
}

/** What cites events that are not there is missing them, unless it is refused anyhow. */
async function tryEarly(server: TestRooms, event: VerifiedEvent | undefined): Promise<void> {
  if (event === undefined) return;
  const { kind } = await receiveIn(server, event, 'live');
  assert.ok(
    kind === 'missing' || kind === 'rejected' || kind === 'known',
    `${event.eventId} is ${kind} too early`,
  );
}

async function receiveIn(server: TestRooms, event: VerifiedEvent, as: 'live' | 'outlier'): Promise<Received> {
  const room = await roomIn(server, event.roomId, event.rules.version);
  return receive(server.ctx, room, event, { as });
}

/** The room of a server; it is there from the first event on. */
async function roomIn(server: TestRooms, roomId: RoomId, version: string): Promise<Room> {
  const known = await getRoom(server.ctx, roomId);
  if (known !== undefined) return known;
  await server.ctx.db.write('test.room', (tx) => rooms.insert(tx, roomId, version));
  const room = await getRoom(server.ctx, roomId);
  assert.ok(room);
  return room;
}

function citedBy(event: Event): EventId[] {
  const create: EventId[] =
    event.rules.roomIdIsCreateHash && event.type !== 'm.room.create' ? [`$${event.roomId.slice(1)}`] : [];
  return [...event.prevEvents, ...event.authEvents, ...create];
}

/** What comes next: any that are ready, or one after the other, each ready after those before it. */
function take(
  way: Way,
  from: {
    readonly ready: readonly VerifiedEvent[];
    readonly waiting: ReadonlyMap<EventId, VerifiedEvent>;
    readonly ids: ReadonlySet<EventId>;
    readonly dice: () => number;
  },
): VerifiedEvent[] {
  const { ready, waiting, ids, dice } = from;
  if (!way.inRuns) return takeSome(ready, way.batch, dice);
  const taken = new Map<EventId, VerifiedEvent>();
  while (taken.size < way.batch) {
    const isThere = (id: EventId) => taken.has(id) || (!waiting.has(id) && ids.has(id));
    const next = [...waiting.values()].filter(
      (event) => !taken.has(event.eventId) && citedBy(event).every(isThere),
    );
    const [event] = takeSome(next, 1, dice);
    if (event === undefined) break;
    taken.set(event.eventId, event);
  }
  return [...taken.values()];
}

function takeSome(ready: readonly VerifiedEvent[], batch: number, dice: () => number): VerifiedEvent[] {
  const left = [...ready];
  return Array.from({ length: Math.min(batch, left.length) }, () =>
    left.splice(dice() % left.length, 1),
  ).flat();
}

/** The choices in turn, mixed so that a short list does not repeat itself; without choices always 0. */
function diceOf(choices: readonly number[]): () => number {
  let turn = 0;
  return () => {
    turn += 1;
    return choices.length === 0 ? 0 : (choices[turn % choices.length] ?? 0) + turn * 7;
  };
}

function isOneOf(many: number, dice: () => number): boolean {
  return Number.isFinite(many) && dice() % many === 0;
}

/** The rooms of one server, without a network: a real database in a temporary folder, and a clock that stands. */

import type { ServerName, UserId } from '#keys/ids.ts';
import type { JsonObject } from '#keys/json.ts';
import { KeyRing } from '#keys/key-ring.ts';
import type { ServerKeys } from '#keys/server-key-document.ts';
import type { RoomsContext } from '#rooms/context.ts';
import type { Event } from '#rooms/event.ts';
import { checkIngress, type VerifiedEvent } from '#rooms/ingress.ts';
import { type Received, type ReceiveOptions, receive } from '#rooms/receive.ts';
import { getRoom, type Room } from '#rooms/room.ts';
import { createRoomCache } from '#rooms/room-cache.ts';
import { type Draft, type Sent, sendEvent } from '#rooms/send.ts';
import { startRoom } from '#rooms/start-room.ts';
import { rulesOf } from '#rooms/versions.ts';
import type { Database } from '#storage/database.ts';
import { KeyedQueue } from '#storage/locks.ts';
import { migrate } from '#storage/migrate.ts';
import * as rooms from '#storage/rooms.ts';
import { openSqlite } from '#storage/sqlite.ts';
import { Streams } from '#storage/streams.ts';
import { temporaryFolder } from './databases.ts';
import { keyPairOf, type TestRoom } from './room-builder.ts';
import { assertSound } from './sound.ts';

export interface TestClock {
  now(): number;
  advance(ms: number): void;
}

export interface TestRooms extends AsyncDisposable {
  /** Where its database is, as a server has it in `data_dir`. */
  readonly folder: string;
  readonly ctx: RoomsContext & { readonly clock: TestClock };
  /** Ends and begins again on the same database, as after a restart: nothing is left in memory. */
  restart(): Promise<void>;
}

export interface TestRoomsOptions {
  /** `here.test` unless given. */
  readonly serverName?: ServerName;
  /** When the clock stands, in milliseconds since 1970. */
  readonly now?: number;
  /** The test breaks what is stored: its rooms are not checked when it ends. */
  readonly isDamaged?: boolean;
  /** The folder of a database that is there and stays; a temporary one unless given. */
  readonly folder?: string;
  /** What its functions see as the database. */
  readonly watch?: (db: Database) => Database;
}

/** The time of the events of `room-builder.ts`. */
const NOW = 1_700_000_500_000;
const silent = { debug() {}, info() {}, warn() {}, error() {} };

/** A server's rooms. Its keys, and those of every other server, are those of `keyPairOf`. */
export async function openRooms(options: TestRoomsOptions = {}): Promise<TestRooms> {
  const temporary = options.folder === undefined ? await temporaryFolder() : undefined;
  const folder = options.folder ?? temporary?.path ?? '';
  const clock = clockAt(options.now ?? NOW);
  const serverName = options.serverName ?? 'here.test';
  const { watch = (db: Database) => db } = options;
  const open = () => openIn(`${folder}/kurir.db`, { serverName, clock, watch });
  let opened = await open();
  return {
    folder,
    get ctx() {
      return opened.ctx;
    },
    restart: async () => {
      await opened.close();
      opened = await open();
    },
    [Symbol.asyncDispose]: async () => {
      try {
        if (options.isDamaged !== true) await assertSound(opened.ctx);
      } finally {
        await opened.close();
        await temporary?.[Symbol.asyncDispose]();
      }
    },
  };
}

async function openIn(
  path: string,
  {
    serverName,
    clock,
    watch,
  }: { serverName: ServerName; clock: TestClock; watch: (db: Database) => Database },
) {
  const opened = await openSqlite({ path, strictWatchdog: true });
  await migrate(opened);
  const streams = await Streams.open(opened);
  const db = watch(opened);
  const signingKey = { keyPair: keyPairOf(serverName), oldKeys: [] };
  const keyRing = new KeyRing({
    own: { serverName, signingKey },
    clock,
    load: async (server) => keysOf(server, clock),
    fetch: async () => undefined,
    store: async () => {},
  });
  const ctx = {
    serverName,
    signingKey,
    keyRing,
    db,
    streams,
    roomLocks: new KeyedQueue(),
    rooms: createRoomCache(),
    clock,
    log: silent,
  };
  const close = async () => {
    await streams[Symbol.asyncDispose]();
    await db.close();
  };
  return { ctx, close };
}

function clockAt(start: number): TestClock {
  let now = start;
  return {
    now: () => now,
    advance: (ms) => {
      now += ms;
    },
  };
}

function keysOf(server: ServerName, clock: TestClock): ServerKeys {
  const { keyId, publicKey } = keyPairOf(server);
  const validUntilTs = clock.now() + 24 * 60 * 60_000;
  const keys = new Map([[keyId, { publicKey }]]);
  return { serverName: server, validUntilTs, keys, document: {}, fetchedTs: clock.now() };
}

/** What a user of ours needs to start a room in one line. */
export interface StartOptions {
  /** 12 unless given. */
  readonly version?: string;
  /** `invite` unless given. */
  readonly joinRule?: string;
  /** Content over the defaults of `m.room.power_levels`. */
  readonly powerLevels?: JsonObject;
  /** Further local users, joined after the creator. */
  readonly members?: readonly UserId[];
}

let startedRooms = 0;

/** Starts a room of ours: create, the creator's join, power levels, join rules; then the members join. */
export async function startedRoom(
  ctx: RoomsContext,
  creator: UserId,
  options: StartOptions = {},
): Promise<Room> {
  const rules = rulesOf(options.version ?? '12');
  if (rules === undefined) throw new Error(`there is no room version ${options.version}`);
  const users = rules.privilegedCreators ? {} : { [creator]: 100 };
  const members = options.members ?? [];
  const content: JsonObject = { room_version: rules.version, ...(rules.creatorInContent && { creator }) };
  startedRooms += 1;
  const roomId = `!room${startedRooms}:${ctx.serverName}` as const;
  const started = await startRoom(ctx, {
    rules,
    drafts: [
      state(creator, 'm.room.create', '', content, roomId),
      state(creator, 'm.room.member', creator, { membership: 'join' }),
      state(creator, 'm.room.power_levels', '', { users, ...options.powerLevels }),
      state(creator, 'm.room.join_rules', '', { join_rule: 'public' }),
      ...members.map((member) => state(member, 'm.room.member', member, { membership: 'join' })),
      state(creator, 'm.room.join_rules', '', { join_rule: options.joinRule ?? 'invite' }),
    ],
  });
  if (started.kind !== 'started') throw new Error(`draft ${started.index}: ${started.reason}`);
  return roomOfId(ctx, started.roomId);
}

/** A draft of a state event. `startRoom` gives it its room, where the room has no id yet. */
export function state(
  sender: UserId,
  type: string,
  stateKey: string,
  content: JsonObject,
  roomId: Draft['roomId'] = '!room:here.test',
): Draft {
  return { roomId, sender, type, stateKey, content };
}

/** Sends a message, or throws why it was refused. */
export async function sendText(
  ctx: RoomsContext,
  room: Room,
  sender: UserId,
  body: string,
): Promise<SentEvent> {
  return sentOrThrow(
    await sendEvent(ctx, {
      roomId: room.roomId,
      sender,
      type: 'm.room.message',
      content: { msgtype: 'm.text', body },
    }),
  );
}

/** Sends a state event, or throws why it was refused. */
export async function sendState(
  ctx: RoomsContext,
  room: Room,
  sender: UserId,
  event: { readonly type: string; readonly stateKey?: string; readonly content: JsonObject },
): Promise<SentEvent> {
  const { type, stateKey = '', content } = event;
  return sentOrThrow(await sendEvent(ctx, state(sender, type, stateKey, content, room.roomId)));
}

export type SentEvent = Extract<Sent, { kind: 'sent' }>;

/** The sent event, or an error with the reason. */
export function sentOrThrow(sent: Sent): SentEvent {
  if (sent.kind !== 'sent') throw new Error(`not sent: ${JSON.stringify(sent)}`);
  return sent;
}

/** The event as it would be after ingress, from its text, with all signatures checked. */
export async function verified(ctx: RoomsContext, event: Event): Promise<VerifiedEvent> {
  for (let attempt = 0; attempt < 2; attempt++) {
    const checked = await checkIngress(ctx, event.rules, event.json);
    if (checked.kind === 'verified') return checked.event;
    if (checked.kind === 'dropped') throw new Error(`${event.type} was dropped: ${checked.reason}`);
    // As the federation layer does: the keys first, then once more.
    await ctx.keyRing.ensure(checked.keys);
  }
  throw new Error('the keys are not to be had');
}

/** Receives an event as another server sends it. */
export async function receiveFrom(
  ctx: RoomsContext,
  room: Room,
  event: Event,
  how: ReceiveOptions = { as: 'live' },
): Promise<Received> {
  return receive(ctx, room, await verified(ctx, event), how);
}

/** Receives all events of a built room, in the order in which they were made. */
export async function importRoom(ctx: RoomsContext, built: TestRoom): Promise<Room> {
  await ctx.db.write('test.room', (tx) => rooms.insert(tx, built.roomId, built.rules.version));
  const room = await roomOfId(ctx, built.roomId);
  for (const event of built.events.values()) {
    const received = await receiveFrom(ctx, room, event);
    if (received.kind !== 'accepted') throw new Error(`${event.type}: ${JSON.stringify(received)}`);
  }
  return room;
}

async function roomOfId(ctx: RoomsContext, roomId: Room['roomId']): Promise<Room> {
  const room = await getRoom(ctx, roomId);
  if (room === undefined) throw new Error('there is no such room');
  return room;
}

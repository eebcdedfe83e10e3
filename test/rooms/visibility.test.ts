import assert from 'node:assert/strict';
import { test } from 'node:test';
import type { UserId } from '#keys/ids.ts';
import type { RoomsContext } from '#rooms/context.ts';
import type { Room } from '#rooms/room.ts';
import { createRoomCache } from '#rooms/room-cache.ts';
import type { StoredEvent } from '#rooms/stored-event.ts';
import { type Viewer, visibleTo } from '#rooms/visibility.ts';
import type { Database } from '#storage/database.ts';
import { fc } from '#test/harness/rounds.ts';
import { roomOf, type TestRoom } from '../harness/room-builder.ts';
import { arrive, importRoom, localRooms } from './local-rooms.ts';

const ALICE: UserId = '@alice:a.test';
const BOB: UserId = '@bob:b.test';
const BEN: UserId = '@ben:b.test';
const STRANGER: UserId = '@stranger:c.test';

interface Scene {
  readonly ctx: RoomsContext;
  readonly room: Room;
  readonly built: TestRoom;
  /** Messages of Alice by name, and whatever else was sent. */
  readonly events: Map<string, StoredEvent>;
}

async function sceneOf(ctx: RoomsContext, visibility: string | undefined): Promise<Scene> {
  // Rooms made alike would have the same id.
  const built = roomOf(ALICE, {
    join_rule: 'public',
    create: { 'org.example.visibility': visibility ?? null },
  });
  if (visibility !== undefined) {
    built.state(ALICE, 'm.room.history_visibility', '', { history_visibility: visibility });
  }
  return { ctx, room: await importRoom(ctx, built), built, events: new Map() };
}

async function say(scene: Scene, name: string): Promise<void> {
  scene.events.set(name, await arrive(scene.ctx, scene.room, scene.built.message(ALICE, name)));
}

async function member(scene: Scene, name: string, [sender, target, membership]: [UserId, UserId, string]) {
  const event = scene.built.member(sender, target, membership);
  scene.events.set(name, await arrive(scene.ctx, scene.room, event));
}

/** The names of the events that the viewer may see, in their order. */
async function seen(scene: Scene, viewer: Viewer): Promise<string> {
  const visible = await visibleTo(scene.ctx, scene.room.roomNid, viewer, [...scene.events.values()]);
  return [...scene.events.keys()].filter((_, index) => visible[index]).join(' ');
}

/** What Bob sees, and his server, at each stage of his life in the room. */
const STAGES = ['before', 'invited', 'joined', 'left', 'banned', 'unbanned', 'back'] as const;
const MATRIX: Record<string, Record<(typeof STAGES)[number], string>> = {
  world_readable: {
    before: 'm0',
    invited: 'm0 invite m1',
    joined: 'm0 invite m1 join m2',
    left: 'm0 invite m1 join m2 leave m3',
    banned: 'm0 invite m1 join m2 leave m3 ban m4',
    unbanned: 'm0 invite m1 join m2 leave m3 ban m4 unban m5',
    back: 'm0 invite m1 join m2 leave m3 ban m4 unban m5 rejoin m6',
  },
  shared: {
    before: '',
    invited: '',
    joined: 'm0 invite m1 join m2',
    left: 'm0 invite m1 join m2 leave',
    banned: 'm0 invite m1 join m2 leave',
    unbanned: 'm0 invite m1 join m2 leave',
    back: 'm0 invite m1 join m2 leave m3 ban m4 unban m5 rejoin m6',
  },
  invited: {
    before: '',
    invited: 'invite m1',
    joined: 'invite m1 join m2',
    left: 'invite m1 join m2 leave',
    banned: 'invite m1 join m2 leave',
    unbanned: 'invite m1 join m2 leave',
    back: 'invite m1 join m2 leave rejoin m6',
  },
  joined: {
    before: '',
    invited: '',
    joined: 'join m2',
    left: 'join m2 leave',
    banned: 'join m2 leave',
    unbanned: 'join m2 leave',
    back: 'join m2 leave rejoin m6',
  },
};

async function live(scene: Scene, stage: (typeof STAGES)[number]): Promise<void> {
  switch (stage) {
    case 'before':
      return say(scene, 'm0');
    case 'invited':
      await member(scene, 'invite', [ALICE, BOB, 'invite']);
      return say(scene, 'm1');
    case 'joined':
      await member(scene, 'join', [BOB, BOB, 'join']);
      return say(scene, 'm2');
    case 'left':
      await member(scene, 'leave', [BOB, BOB, 'leave']);
      return say(scene, 'm3');
    case 'banned':
      await member(scene, 'ban', [ALICE, BOB, 'ban']);
      return say(scene, 'm4');
    case 'unbanned':
      await member(scene, 'unban', [ALICE, BOB, 'leave']);
      return say(scene, 'm5');
    case 'back':
      await member(scene, 'rejoin', [BOB, BOB, 'join']);
      return say(scene, 'm6');
  }
}

for (const [visibility, expected] of Object.entries(MATRIX)) {
  test(`history visibility ${visibility}: what a user sees before, during and after their membership`, async () => {
    await using rooms = await localRooms();
    const scene = await sceneOf(rooms.ctx, visibility);
    for (const stage of STAGES) {
      await live(scene, stage);
      assert.equal(await seen(scene, { userId: BOB }), expected[stage], stage);
      const all = [...scene.events.keys()].join(' ');
      assert.equal(await seen(scene, { userId: ALICE }), all, `${stage}: who was always there`);
      const world = visibility === 'world_readable';
      assert.equal(await seen(scene, { userId: STRANGER }), world ? all : '', `${stage}: a stranger`);
      assert.equal(await seen(scene, { server: 'c.test' }), world ? all : '', `${stage}: a strange server`);
    }
  });
}

test('history visibility: unset, or a value that is not understood, is shared', async () => {
  await using rooms = await localRooms();
  for (const visibility of [undefined, 'everybody']) {
    const scene = await sceneOf(rooms.ctx, visibility);
    for (const stage of STAGES) {
      await live(scene, stage);
      assert.equal(await seen(scene, { userId: BOB }), MATRIX.shared?.[stage], stage);
    }
  }
});

test('history visibility: the value at the event counts, not the one there is now', async () => {
  await using rooms = await localRooms();
  const scene = await sceneOf(rooms.ctx, 'joined');
  const set = async (name: string, value: string) => {
    const event = scene.built.state(ALICE, 'm.room.history_visibility', '', { history_visibility: value });
    scene.events.set(name, await arrive(scene.ctx, scene.room, event));
  };
  await say(scene, 'm0');
  await set('world', 'world_readable');
  await say(scene, 'm1');
  await set('joined', 'joined');
  await say(scene, 'm2');
  await set('shared', 'shared');
  await say(scene, 'm3');
  // "If the history_visibility before or after the event would allow them to see it"
  assert.equal(await seen(scene, { userId: STRANGER }), 'world m1 joined');
  assert.equal(await seen(scene, { server: 'b.test' }), 'world m1 joined');
  await member(scene, 'join', [BOB, BOB, 'join']);
  assert.equal(await seen(scene, { userId: BOB }), 'world m1 joined shared m3 join');
  assert.equal(await seen(scene, { server: 'b.test' }), 'world m1 joined shared m3 join');
});

test('a server sees what any of its users may see', async () => {
  await using rooms = await localRooms();
  const all = 'm0 invite m1 join m2 ben m3 leave m4';
  const expected = {
    world_readable: [all, `${all} benLeft m5`],
    // Once nobody of it is left, a server sees of shared history only what its users were there for.
    shared: [all, 'join m2 ben m3 leave m4 benLeft'],
    invited: ['invite m1 join m2 ben m3 leave m4', 'invite m1 join m2 ben m3 leave m4 benLeft'],
    joined: ['join m2 ben m3 leave m4', 'join m2 ben m3 leave m4 benLeft'],
  };
  for (const [visibility, [whileThere, afterwards]] of Object.entries(expected)) {
    const scene = await sceneOf(rooms.ctx, visibility);
    await live(scene, 'before');
    await live(scene, 'invited');
    await live(scene, 'joined');
    await member(scene, 'ben', [BEN, BEN, 'join']);
    await say(scene, 'm3');
    await member(scene, 'leave', [BOB, BOB, 'leave']);
    await say(scene, 'm4');
    assert.equal(await seen(scene, { server: 'b.test' }), whileThere, visibility);
    await member(scene, 'benLeft', [BEN, BEN, 'leave']);
    await say(scene, 'm5');
    assert.equal(await seen(scene, { server: 'b.test' }), afterwards, visibility);
  }
});

test('a user who was invited and sent away after they left still sees what they saw', async () => {
  await using rooms = await localRooms();
  const scene = await sceneOf(rooms.ctx, 'shared');
  await live(scene, 'before');
  await live(scene, 'joined');
  await live(scene, 'left');
  await member(scene, 'invite', [ALICE, BOB, 'invite']);
  await say(scene, 'm4');
  assert.equal(await seen(scene, { userId: BOB }), 'm0 join m2 leave');
  await member(scene, 'kick', [ALICE, BOB, 'leave']);
  await say(scene, 'm5');
  assert.equal(await seen(scene, { userId: BOB }), 'm0 join m2 leave');
});

test('an event that arrives after a user left is not shown to them, although it stands before', async () => {
  await using rooms = await localRooms();
  const scene = await sceneOf(rooms.ctx, 'shared');
  await live(scene, 'joined');
  const late = scene.built.fork();
  await live(scene, 'left');
  scene.events.set('late', await arrive(scene.ctx, scene.room, late.message(ALICE, 'late')));
  assert.equal(await seen(scene, { userId: BOB }), 'join m2 leave');
});

test('an event of another room is never visible', async () => {
  await using rooms = await localRooms();
  const scene = await sceneOf(rooms.ctx, 'world_readable');
  await say(scene, 'm0');
  const events = [...scene.events.values()];
  for (const viewer of [{ userId: ALICE }, { server: 'a.test' }]) {
    assert.deepEqual(await visibleTo(scene.ctx, scene.room.roomNid + 1, viewer, events), [false]);
  }
});

test('a page of a hundred events in a hundred states costs no more queries than one of ten', async () => {
  await using rooms = await localRooms();
  const scene = await sceneOf(rooms.ctx, 'joined');
  await member(scene, 'bob', [BOB, BOB, 'join']);
  for (let count = 0; count < 100; count++) {
    const user: UserId = `@user${count}:b.test`;
    await member(scene, user, [user, user, 'join']);
  }
  const events = [...scene.events.values()];
  const queries = async (page: readonly StoredEvent[]): Promise<number> => {
    let made = 0;
    const { db } = rooms.ctx;
    const counting = {
      dialect: db.dialect,
      get: (...args: Parameters<Database['get']>) => {
        made++;
        return db.get(...args);
      },
      all: (...args: Parameters<Database['all']>) => {
        made++;
        return db.all(...args);
      },
    };
    const ctx = { ...rooms.ctx, db: counting as unknown as Database, rooms: createRoomCache() };
    const visible = await visibleTo(ctx, scene.room.roomNid, { userId: BOB }, page);
    assert.ok(visible.every((yes) => yes));
    return made;
  };
  const ten = await queries(events.slice(-10));
  const hundred = await queries(events);
  assert.ok(hundred <= ten + 2 && hundred <= 15, `${ten} queries for ten events, ${hundred} for a hundred`);
});

/** A change of the room, and what the rules look at after it. */
interface Moment {
  readonly name: string;
  readonly visibility: string;
  readonly memberships: ReadonlyMap<UserId, string>;
  readonly changes: 'visibility' | UserId | undefined;
}

const OPS = ['say', 'join', 'leave', 'invite', 'ban', 'unban', 'visibility'] as const;

const op = fc.record({
  kind: fc.constantFrom(...OPS),
  user: fc.constantFrom(BOB, BEN, STRANGER),
  visibility: fc.constantFrom('world_readable', 'shared', 'invited', 'joined'),
});

/** The rules 1 to 5 of the specification, for one state. */
function allowed(
  { visibility, memberships }: Moment,
  users: readonly UserId[],
  joinedLater: boolean,
): boolean {
  if (visibility === 'world_readable') return true;
  if (users.some((user) => memberships.get(user) === 'join')) return true;
  if (visibility === 'shared' && joinedLater) return true;
  return visibility === 'invited' && users.some((user) => memberships.get(user) === 'invite');
}

function expectedFor(moments: readonly Moment[], viewer: Viewer): boolean[] {
  const users = 'server' in viewer ? [BOB, BEN].filter(() => viewer.server === 'b.test') : [viewer.userId];
  const isJoined = (moment: Moment | undefined) =>
    users.some((user) => moment?.memberships.get(user) === 'join');
  return moments.map((moment, index) => {
    const later = moments.slice(index + 1);
    const joinedLater = 'server' in viewer ? isJoined(moments.at(-1)) : later.some(isJoined);
    const before = moments[index - 1];
    const own = moment.changes === 'visibility' || users.some((user) => user === moment.changes);
    if (own && before !== undefined && allowed(before, users, joinedLater)) return true;
    return allowed(moment, users, joinedLater);
  });
}

test('row 7: random memberships and visibilities agree with the rules taken one by one', async () => {
  await using rooms = await localRooms();
  let count = 0;
  await fc.assert(
    fc.asyncProperty(fc.array(op, { minLength: 5, maxLength: 25, size: 'max' }), async (ops) => {
      const scene = await sceneOf(rooms.ctx, `random ${count++}`);
      const moments: Moment[] = [];
      await say(scene, 'start');
      moments.push({ name: 'start', visibility: 'shared', memberships: new Map(), changes: undefined });
      for (const { kind, user, visibility } of ops) await act(scene, moments, { kind, user, visibility });
      const events = [...scene.events.values()];
      const viewers = [{ userId: BOB }, { userId: BEN }, { userId: STRANGER }, { server: 'b.test' }];
      for (const viewer of viewers) {
        const visible = await visibleTo(rooms.ctx, scene.room.roomNid, viewer, events);
        assert.deepEqual(visible, expectedFor(moments, viewer), JSON.stringify(viewer));
      }
    }),
    { numRuns: 30 },
  );
});

async function act(
  scene: Scene,
  moments: Moment[],
  { kind, user, visibility }: { kind: (typeof OPS)[number]; user: UserId; visibility: string },
): Promise<void> {
  const before = moments.at(-1);
  assert.ok(before);
  const name = `e${moments.length}`;
  const membership = kind === 'unban' ? 'leave' : kind;
  const sender = kind === 'join' || kind === 'leave' ? user : ALICE;
  if (kind === 'say') {
    await say(scene, name);
    moments.push({ ...before, name, changes: undefined });
  } else if (kind === 'visibility') {
    const event = scene.built.state(ALICE, 'm.room.history_visibility', '', {
      history_visibility: visibility,
    });
    scene.events.set(name, await arrive(scene.ctx, scene.room, event));
    moments.push({ ...before, name, visibility, changes: 'visibility' });
  } else if (
    scene.built.verdict(sender, { type: 'm.room.member', state_key: user, content: { membership } }) ===
    undefined
  ) {
    await member(scene, name, [sender, user, membership]);
    const memberships = new Map(before.memberships).set(user, membership);
    moments.push({ ...before, name, memberships, changes: user });
  }
}

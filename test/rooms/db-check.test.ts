/** Each kind of damage to a room's rows is found, and said in words. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { publicKeysOf } from '#keys/signing-key.ts';
import type { RoomsContext } from '#rooms/context.ts';
import { checkRoom } from '#rooms/db-check.ts';
import type { Room } from '#rooms/room.ts';
import { keyPairOf, roomOf } from '#test/harness/room-builder.ts';
import {
  importRoom,
  openRooms,
  receiveFrom,
  sendState,
  sendText,
  startedRoom,
  type TestRooms,
} from '#test/harness/rooms.ts';

const alice = '@alice:here.test';
const bob = '@bob:here.test';
const eve = '@eve:elsewhere.test';

/** A room with members, messages, a fork that is healed, and one that is not. */
async function grown(ctx: RoomsContext): Promise<Room> {
  const built = roomOf(alice, { members: [eve, bob] });
  const room = await importRoom(ctx, built);
  const [left, right] = [built.fork(), built.fork()];
  await receiveFrom(ctx, room, left.state(alice, 'm.room.name', '', { name: 'left' }));
  await receiveFrom(ctx, room, right.state(alice, 'm.room.topic', '', { topic: 'right' }));
  await sendText(ctx, room, alice, 'together');
  await sendState(ctx, room, alice, { type: 'm.room.name', content: { name: 'both' } });
  const head = await sendText(ctx, room, alice, 'the last');
  assert.ok(head);
  return room;
}

async function run(server: TestRooms, ...statements: readonly string[]): Promise<void> {
  await server.ctx.db.write('test.damage', async (tx) => {
    for (const text of statements)
      assert.ok((await tx.run({ name: '', text })) > 0, `${text} changes nothing`);
  });
  await server.restart();
}

async function findings({ ctx }: TestRooms, room: Room): Promise<string[]> {
  const ownKeys = publicKeysOf({ keyPair: keyPairOf('here.test'), oldKeys: [] });
  const found = await Array.fromAsync(checkRoom({ ...ctx, ownKeys }, room, { depth: 'whole' }));
  return found.map((line) => line.replace(`${room.roomId}: `, ''));
}

const LAST = "(SELECT max(event_nid) FROM events WHERE type = 'm.room.message')";
const FIRST = "(SELECT min(event_nid) FROM events WHERE type = 'm.room.message')";
const NAME = "(SELECT max(event_nid) FROM events WHERE type = 'm.room.name')";

const DAMAGES: readonly (readonly [what: string, statements: readonly string[], says: RegExp])[] = [
  [
    'two create events',
    [`UPDATE events SET type = 'm.room.create' WHERE event_nid = ${LAST}`],
    /2 create events are accepted/,
  ],
  [
    'a current state without its create event',
    ["DELETE FROM current_state WHERE type = 'm.room.create'"],
    /the state has 0 create events/,
  ],
  [
    'a current state that is not that of the newest events',
    [`UPDATE rooms SET state_group = (SELECT state_before FROM events WHERE event_nid = ${NAME})`],
    /the current state of m.room.name "" is not what the newest events resolve to/,
  ],
  [
    'a table of the current state that says something else',
    [`UPDATE current_state SET event_nid = ${FIRST} WHERE type = 'm.room.name'`],
    /the current state has another m.room.name "" than the newest events make/,
  ],
  [
    'a rejected event in the current state',
    [`UPDATE events SET status = 'rejected', position = NULL WHERE event_nid = ${NAME}`],
    /is in the state, and was rejected/,
  ],
  [
    'an auth event that is gone',
    [
      "DELETE FROM events WHERE type = 'm.room.member' AND state_key = '@alice:here.test'",
      "DELETE FROM current_state WHERE type = 'm.room.member' AND state_key = '@alice:here.test'",
    ],
    /which authorises \$\S+, is missing/,
  ],
  [
    'a prev event that is gone',
    [`DELETE FROM events WHERE event_nid = ${FIRST}`],
    /which \$\S+ follows, is missing, and not noted as such/,
  ],
  [
    'an event with another content',
    [`UPDATE events SET json = replace(json, 'together', 'together!') WHERE event_nid = ${FIRST}`],
    /is damaged: its content has another hash/,
  ],
  [
    'an event of another depth, so that its id is another',
    [`UPDATE events SET json = replace(json, '"depth":', '"depth":1') WHERE event_nid = ${FIRST}`],
    /is damaged: it has another hash/,
  ],
  [
    'a text that is cut off',
    [`UPDATE events SET json = substr(json, 1, 50) WHERE event_nid = ${LAST}`],
    /is damaged: its text is not canonical JSON/,
  ],
  [
    'a number that no event may hold',
    [`UPDATE events SET json = replace(json, '"depth":', '"depth":1.5e') WHERE event_nid = ${FIRST}`],
    /is damaged: its text is not canonical JSON/,
  ],
  [
    'an event in another form than the canonical one',
    [`UPDATE events SET json = replace(json, '"depth":', '"depth": ') WHERE event_nid = ${FIRST}`],
    /is damaged: its text is not in canonical form/,
  ],
  [
    'a signature that is not ours',
    [
      `UPDATE events SET json = replace(json, '"here.test":{"ed25519:test":"', '"here.test":{"ed25519:test":"AAAA')
       WHERE event_nid = ${FIRST}`,
    ],
    /does not have the signature of this server/,
  ],
  [
    'an event filed under another sender',
    [`UPDATE events SET sender = '@eve:elsewhere.test' WHERE event_nid = ${FIRST}`],
    /is filed under what it is not/,
  ],
  [
    'a membership that the state does not have',
    [`UPDATE memberships SET membership = 'leave' WHERE user_id = '${bob}'`],
    /the membership of @bob:here.test is leave instead of join/,
  ],
  [
    'a member that the state does not have',
    [`UPDATE memberships SET user_id = '@mallory:evil.test' WHERE user_id = '${bob}'`],
    /@mallory:evil.test is joined without an event that says so/,
  ],
  [
    'a newest event that another follows',
    [`INSERT INTO forward_extremities (room_nid, event_nid) VALUES (1, ${FIRST})`],
    /is kept as a newest event, and \$\S+ follows it/,
  ],
  ['no newest event', ['DELETE FROM forward_extremities'], /there is no newest event/],
  [
    'two events at one position',
    [
      `UPDATE events SET position = (SELECT position FROM events WHERE event_nid = ${FIRST}) WHERE event_nid = ${LAST}`,
    ],
    /has the position of another event/,
  ],
  [
    'a position that was never reserved',
    [`UPDATE events SET position = 1000000000 WHERE event_nid = ${LAST}`],
    /has the position 1000000000, which was not reserved/,
  ],
  [
    'a position of what was not accepted',
    [`UPDATE events SET status = 'soft_failed' WHERE event_nid = ${FIRST}`],
    /has a position, and was not accepted/,
  ],
  [
    'a state before an event that its prev events do not make',
    [
      `UPDATE events SET state_before = (SELECT state_before FROM events WHERE event_nid = ${FIRST}),
         state_after = (SELECT state_before FROM events WHERE event_nid = ${FIRST}) WHERE event_nid = ${LAST}`,
    ],
    /the state before \$\S+ has another m.room.name "" than the events before make/,
  ],
  [
    'a state before the healing of a fork that is not the resolution',
    [
      `UPDATE events SET state_before = (SELECT state_before FROM events WHERE event_nid = ${NAME} - 2),
         state_after = (SELECT state_before FROM events WHERE event_nid = ${NAME} - 2) WHERE event_nid = ${FIRST}`,
    ],
    /the state before \$\S+ has another m.room.(name|topic) "" than the events before make/,
  ],
  [
    'a state event that its own state lacks',
    [`UPDATE events SET state_after = state_before WHERE event_nid = ${NAME}`],
    /is not in the state after it/,
  ],
  [
    'a message that changes the state',
    [
      `UPDATE events SET state_after = (SELECT state_before FROM events WHERE event_nid = ${FIRST}) WHERE event_nid = ${LAST}`,
    ],
    /the state after \$\S+ has other changes than the event/,
  ],
];

for (const [what, statements, says] of DAMAGES) {
  test(`found: ${what}`, async () => {
    await using server = await openRooms({ isDamaged: true });
    const room = await grown(server.ctx);
    assert.deepEqual(await findings(server, room), []);
    await run(server, ...statements);
    const found = await findings(server, room);
    assert.ok(
      found.some((finding) => says.test(finding)),
      `${what}: ${JSON.stringify(found, undefined, 1)}`,
    );
  });
}

test('a test whose rooms are not sound fails when it ends', async () => {
  const ends = async () => {
    await using server = await openRooms();
    await startedRoom(server.ctx, alice);
    await run(server, 'DELETE FROM forward_extremities');
  };
  await assert.rejects(ends, /there is no newest event/);
});

test('a room that is only known by its id has nothing to be found', async () => {
  await using server = await openRooms();
  const { ctx } = server;
  const room = await startedRoom(ctx, alice);
  await run(
    server,
    `INSERT INTO rooms (room_id, version, row_version, state_group) VALUES ('!a:b.test', '11', 0, 0)`,
  );
  assert.deepEqual(await findings(server, room), []);
});

import assert from 'node:assert/strict';
import { test } from 'node:test';
import type { UserId } from '#keys/ids.ts';
import type { JsonObject } from '#keys/json.ts';
import type { RoomsContext } from '#rooms/context.ts';
import { loadEvent } from '#rooms/load.ts';
import { changeMembership, type MembershipChange } from '#rooms/membership-local.ts';
import { authoriseRestrictedJoin } from '#rooms/restricted.ts';
import type { Room } from '#rooms/room.ts';
import { currentStateEvent } from '#rooms/state.ts';
import { roomOf } from '#test/harness/room-builder.ts';
import { importRoom, openRooms, receiveFrom, sendState, startedRoom } from '#test/harness/rooms.ts';

const ALICE = '@alice:here.test';
const BOB = '@bob:here.test';
const CAROL = '@carol:here.test';

type Change = Omit<MembershipChange, 'roomId'>;

function change(ctx: RoomsContext, room: Room, what: Change) {
  return changeMembership(ctx, { roomId: room.roomId, ...what });
}

async function contentOf(ctx: RoomsContext, room: Room, userId: UserId): Promise<JsonObject | undefined> {
  return (await currentStateEvent(ctx, room.roomNid, 'm.room.member', userId))?.event.content;
}

const join = (userId: UserId, more: Partial<Change> = {}): Change => ({
  sender: userId,
  target: userId,
  membership: 'join',
  ...more,
});

test('a member event has the profile of its user where it is shown, and the reason', async () => {
  await using rooms = await openRooms();
  const { ctx } = rooms;
  const room = await startedRoom(ctx, ALICE, { joinRule: 'public' });
  const profile = { displayname: 'Bob', avatar_url: 'mxc://x/y' };
  await change(ctx, room, {
    sender: ALICE,
    target: BOB,
    membership: 'invite',
    profile,
    content: { is_direct: true },
  });
  assert.deepEqual(await contentOf(ctx, room, BOB), { ...profile, is_direct: true, membership: 'invite' });
  await change(ctx, room, join(BOB, { profile }));
  assert.deepEqual(await contentOf(ctx, room, BOB), { ...profile, membership: 'join' });
  await change(ctx, room, {
    sender: ALICE,
    target: BOB,
    membership: 'kick',
    profile,
    content: { reason: 'noise' },
  });
  assert.deepEqual(await contentOf(ctx, room, BOB), { reason: 'noise', membership: 'leave' });
});

test('to join again changes nothing and answers with the event of the join', async () => {
  await using rooms = await openRooms();
  const { ctx } = rooms;
  const room = await startedRoom(ctx, ALICE, { joinRule: 'public' });
  const first = await change(ctx, room, join(BOB, { profile: { displayname: 'Bob' } }));
  assert.equal(first.kind, 'sent');
  assert.deepEqual(await change(ctx, room, join(BOB)), first);
  assert.deepEqual(await change(ctx, room, join(BOB, { profile: { displayname: 'Bob' } })), first);
});

test('a new profile makes a new join, and one without a name takes the name away', async () => {
  await using rooms = await openRooms();
  const { ctx } = rooms;
  const room = await startedRoom(ctx, ALICE, { joinRule: 'public' });
  await change(ctx, room, join(BOB, { profile: { displayname: 'Bob' } }));
  await change(ctx, room, join(BOB, { profile: { displayname: 'Robert' } }));
  assert.deepEqual(await contentOf(ctx, room, BOB), { displayname: 'Robert', membership: 'join' });
  await change(ctx, room, join(BOB, { profile: { displayname: undefined } }));
  assert.deepEqual(await contentOf(ctx, room, BOB), { membership: 'join' });
});

test('a room that the server does not know is an unknown room', async () => {
  await using rooms = await openRooms();
  const sent = await changeMembership(rooms.ctx, { roomId: '!x:here.test', ...join(BOB) });
  assert.deepEqual(sent, { kind: 'unknown_room' });
});

test('a join that the rules refuse is forbidden, with the reason', async () => {
  await using rooms = await openRooms();
  const { ctx } = rooms;
  const room = await startedRoom(ctx, ALICE);
  const refused = await change(ctx, room, join(BOB));
  assert.equal(refused.kind, 'forbidden');
  await change(ctx, room, { sender: ALICE, target: BOB, membership: 'ban' });
  const banned = await change(ctx, room, join(BOB));
  assert.match(banned.kind === 'forbidden' ? banned.reason : '', /banned/);
});

test('unban lifts a ban and does nothing else; kick does not lift a ban', async () => {
  await using rooms = await openRooms();
  const { ctx } = rooms;
  const room = await startedRoom(ctx, ALICE, { joinRule: 'public', members: [BOB] });
  const by = (membership: Change['membership']) =>
    change(ctx, room, { sender: ALICE, target: BOB, membership });
  assert.equal((await by('unban')).kind, 'forbidden');
  assert.equal((await contentOf(ctx, room, BOB))?.membership, 'join');
  assert.equal((await by('ban')).kind, 'sent');
  assert.equal((await by('kick')).kind, 'forbidden');
  assert.equal((await contentOf(ctx, room, BOB))?.membership, 'ban');
  assert.equal((await by('unban')).kind, 'sent');
  assert.equal((await contentOf(ctx, room, BOB))?.membership, 'leave');
});

test('a knock where the room takes knocks', async () => {
  await using rooms = await openRooms();
  const { ctx } = rooms;
  const knock = { sender: BOB, target: BOB, membership: 'knock', content: { reason: 'please' } } as const;
  const closed = await startedRoom(ctx, ALICE);
  assert.equal((await change(ctx, closed, knock)).kind, 'forbidden');
  const open = await startedRoom(ctx, ALICE, { joinRule: 'knock' });
  assert.equal((await change(ctx, open, knock)).kind, 'sent');
  assert.deepEqual(await contentOf(ctx, open, BOB), { membership: 'knock', reason: 'please' });
});

async function restrictTo(ctx: RoomsContext, room: Room, ...rooms: readonly string[]): Promise<void> {
  const allow = rooms.map((room_id) => ({ type: 'm.room_membership', room_id }));
  const content = { join_rule: 'restricted', allow };
  await sendState(ctx, room, ALICE, { type: 'm.room.join_rules', content });
}

for (const version of ['10', '11', '12']) {
  test(`v${version}: a member of an allowed room joins, authorised by one of ours who may invite`, async () => {
    await using rooms = await openRooms();
    const { ctx } = rooms;
    const space = await startedRoom(ctx, ALICE, { version, joinRule: 'public', members: [BOB] });
    const users = { ...(version !== '12' && { [ALICE]: 100 }), [CAROL]: 0 };
    const powerLevels = { invite: 50, users };
    const room = await startedRoom(ctx, ALICE, { version, members: [CAROL], powerLevels });
    await restrictTo(ctx, room, space.roomId);
    assert.equal((await change(ctx, room, join(BOB))).kind, 'sent');
    assert.deepEqual(await contentOf(ctx, room, BOB), {
      membership: 'join',
      join_authorised_via_users_server: ALICE,
    });
    // A change of profile needs nobody's word any more, and does not repeat it.
    await change(ctx, room, join(BOB, { profile: { displayname: 'Bob' } }));
    assert.deepEqual(await contentOf(ctx, room, BOB), { membership: 'join', displayname: 'Bob' });
  });
}

test('a restricted room refuses who is in none of the allowed rooms, whatever the client claims', async () => {
  await using rooms = await openRooms();
  const { ctx } = rooms;
  const space = await startedRoom(ctx, ALICE);
  const room = await startedRoom(ctx, ALICE);
  await restrictTo(ctx, room, space.roomId);
  assert.deepEqual(await authoriseRestrictedJoin(ctx, room, BOB), { kind: 'refused' });
  const claimed = await change(
    ctx,
    room,
    join(BOB, { content: { join_authorised_via_users_server: ALICE } }),
  );
  assert.equal(claimed.kind, 'forbidden');
});

test('who authorises a join is not for the client to say', async () => {
  await using rooms = await openRooms();
  const { ctx } = rooms;
  const room = await startedRoom(ctx, ALICE, { joinRule: 'public' });
  await change(ctx, room, join(BOB, { content: { join_authorised_via_users_server: ALICE, 'x.own': 1 } }));
  assert.deepEqual(await contentOf(ctx, room, BOB), { membership: 'join', 'x.own': 1 });
});

test("an invited user joins a restricted room without anybody's word", async () => {
  await using rooms = await openRooms();
  const { ctx } = rooms;
  const room = await startedRoom(ctx, ALICE);
  await restrictTo(ctx, room, '!nowhere:there.test');
  await change(ctx, room, { sender: ALICE, target: BOB, membership: 'invite' });
  assert.deepEqual(await authoriseRestrictedJoin(ctx, room, BOB), { kind: 'not_needed' });
  assert.equal((await change(ctx, room, join(BOB))).kind, 'sent');
});

test('unable_to_authorise: the server is not in the allowed room', async () => {
  await using rooms = await openRooms();
  const { ctx } = rooms;
  const room = await startedRoom(ctx, ALICE);
  await restrictTo(ctx, room, '!nowhere:there.test');
  assert.deepEqual(await authoriseRestrictedJoin(ctx, room, BOB), { kind: 'unable_to_authorise' });
});

test('unable_to_grant: none of our users in the room may invite', async () => {
  await using rooms = await openRooms();
  const { ctx } = rooms;
  const DAVE = '@dave:there.test';
  const space = await startedRoom(ctx, ALICE, { joinRule: 'public', members: [BOB] });
  const built = roomOf(DAVE, { version: '11', join_rule: 'public', power_levels: { invite: 50 } });
  built.join(ALICE);
  const allow = [{ type: 'm.room_membership', room_id: space.roomId }];
  built.state(DAVE, 'm.room.join_rules', '', { join_rule: 'restricted', allow });
  const room = await importRoom(ctx, built);
  assert.deepEqual(await authoriseRestrictedJoin(ctx, room, BOB), { kind: 'unable_to_grant' });
  const lifted = built.state(DAVE, 'm.room.power_levels', '', {
    users: { [DAVE]: 100, [ALICE]: 50 },
    invite: 50,
  });
  await receiveFrom(ctx, room, lifted);
  assert.deepEqual(await authoriseRestrictedJoin(ctx, room, BOB), { kind: 'authorised', by: ALICE });
});

test('malformed conditions count as not met', async () => {
  await using rooms = await openRooms();
  const { ctx } = rooms;
  const space = await startedRoom(ctx, ALICE, { joinRule: 'public', members: [BOB] });
  const room = await startedRoom(ctx, ALICE);
  for (const allow of [
    'x',
    [null, 5, {}],
    [{ type: 'm.other', room_id: space.roomId }],
    [{ type: 'm.room_membership' }],
  ]) {
    const content = { join_rule: 'restricted', allow };
    await sendState(ctx, room, ALICE, { type: 'm.room.join_rules', content });
    assert.deepEqual(await authoriseRestrictedJoin(ctx, room, BOB), { kind: 'refused' });
  }
});

test('the transaction of a client gives the same event again', async () => {
  await using rooms = await openRooms();
  const { ctx } = rooms;
  const room = await startedRoom(ctx, ALICE);
  const invite = {
    sender: ALICE,
    target: BOB,
    membership: 'invite',
    txn: { deviceId: 'D', txnId: 't' },
  } as const;
  const first = await change(ctx, room, invite);
  assert.equal(first.kind, 'sent');
  assert.deepEqual(await change(ctx, room, invite), first);
  assert.ok(first.kind === 'sent' && (await loadEvent(ctx, first.eventId)));
});

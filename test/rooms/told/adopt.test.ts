import assert from 'node:assert/strict';
import { test } from 'node:test';
import type { UserId } from '#keys/ids.ts';
import { checkRooms } from '#rooms/db-check.ts';
import type { Event } from '#rooms/event.ts';
import { loadEvent } from '#rooms/load.ts';
import { adoptInvite, recordOutOfBandLeave } from '#rooms/out-of-band.ts';
import { getRoom, isInRoom } from '#rooms/room.ts';
import { headOf } from '#rooms/room-head.ts';
import { currentState, stateAt } from '#rooms/state.ts';
import { adoptRoom, forgetUnfinishedJoins } from '#rooms/told/adopt.ts';
import { ToldState } from '#rooms/told/told-state.ts';
import { SUPPORTED_VERSIONS } from '#rooms/versions.ts';
import * as currentStateTable from '#storage/current-state.ts';
import * as eventEdges from '#storage/event-edges.ts';
import * as invites from '#storage/invites.ts';
import * as memberships from '#storage/memberships.ts';
import { adoptionOf, told } from '#test/harness/adoption.ts';
import { roomOf } from '#test/harness/room-builder.ts';
import { openRooms, receiveFrom, sendState, sendText, verified } from '#test/harness/rooms.ts';

const alice = '@alice:here.test';
const bob = '@bob:here.test';
const carol = '@carol:here.test';
const eve = '@eve:elsewhere.test';
const mallory = '@mallory:evil.test';

for (const version of ['1', '3', '11']) {
  test(`v${version}: of several create events that are told only the one counts that the join cites`, async () => {
    await using server = await openRooms();
    const { ctx } = server;
    const built = roomOf(eve, { version, join_rule: 'public' });
    const content = { room_version: version, creator: eve, second: true };
    const second = await verified(
      ctx,
      built.draft(eve, { type: 'm.room.create', state_key: '', content, prev_events: [], auth_events: [] }),
    );
    const state = await Promise.all([...built.stateMap.values()].map((event) => verified(ctx, event)));
    const join = await verified(ctx, built.join(alice));
    const adoption = await told(join, [second, ...state], [second]);
    assert.equal((await adoptRoom(ctx, adoption)).kind, 'joined');
    const room = await getRoom(ctx, built.roomId);
    assert.ok(room);
    const creates = (await currentState(ctx, room.roomNid)).filter(
      ({ event }) => event.type === 'm.room.create',
    );
    assert.deepEqual(
      creates.map(({ event }) => event.eventId),
      [built.create.eventId],
    );
    assert.equal(await loadEvent(ctx, second.eventId), undefined);
  });
}

for (const version of SUPPORTED_VERSIONS) {
  test(`v${version}: a room is adopted whole: state, memberships, both rims, and our user can speak`, async () => {
    await using server = await openRooms();
    const { ctx } = server;
    const built = roomOf(eve, { version, members: [mallory], join_rule: 'public' });
    built.state(eve, 'm.room.name', '', { name: 'far away' });
    built.message(eve, 'before us');
    const [last] = built.heads;
    const adoption = await adoptionOf(ctx, built, alice);
    const adopted = await adoptRoom(ctx, adoption);
    assert.equal(adopted.kind, 'joined');
    const room = await getRoom(ctx, built.roomId);
    assert.ok(room && last);
    const ids = (await currentState(ctx, room.roomNid)).map(({ event }) => event.eventId).sort();
    assert.deepEqual(ids, [...built.stateMap.values()].map(({ eventId }) => eventId).sort());
    assert.deepEqual(await memberships.joinedServers(ctx.db, room.roomNid), [
      'elsewhere.test',
      'evil.test',
      'here.test',
    ]);
    assert.deepEqual(await eventEdges.backwardExtremities(ctx.db, room.roomNid, { limit: 100 }), [
      last.eventId,
    ]);
    const { forwardExtremities } = await headOf(ctx, room.roomNid);
    assert.deepEqual(
      forwardExtremities.map(({ eventId }) => eventId),
      [adoption.join.eventId],
    );
    const stored = await loadEvent(ctx, adoption.join.eventId);
    assert.equal(adopted.kind === 'joined' && adopted.position, stored?.position);
    assert.equal(ctx.streams.lastPositionOf(`user:${alice}`) !== undefined, true);
    await sendText(ctx, room, alice, 'hello from here');
    const next = built.message(eve, 'welcome');
    assert.equal((await receiveFrom(ctx, room, next)).kind, 'accepted');
    await server.restart();
    const again = (await currentState(server.ctx, room.roomNid)).map(({ event }) => event.eventId).sort();
    assert.deepEqual(again, ids);
  });
}

test('one bad event among the state is left out, and the join succeeds with the others', async () => {
  await using server = await openRooms();
  const { ctx } = server;
  const built = roomOf(eve, { members: [mallory], join_rule: 'public' });
  const bad = [
    built.draft(mallory, { type: 'm.room.topic', state_key: '', content: { topic: 'not allowed' } }),
    built.draft(mallory, { type: 'm.room.member', state_key: mallory, content: { membership: 5 } }),
    built.draft(eve, { type: 'org.example', state_key: '', auth_events: ['$unknown'] }),
    roomOf(mallory, { members: [eve] }).draft(eve, { type: 'm.room.avatar', state_key: '' }),
  ];
  const state = built.stateMap.size;
  const adopted = await adoptRoom(ctx, await adoptionOf(ctx, built, alice, { others: bad }));
  assert.equal(adopted.kind, 'joined');
  const room = await getRoom(ctx, built.roomId);
  assert.ok(room);
  const current = await currentState(ctx, room.roomNid);
  assert.equal(current.length, state + 1);
  for (const event of bad) {
    assert.equal(
      current.some((stored) => stored.event.eventId === event.eventId),
      false,
    );
  }
});

test('a join that the state does not allow is refused, and nothing of the room is to be seen', async () => {
  await using server = await openRooms();
  const { ctx } = server;
  const built = roomOf(eve, { join_rule: 'invite' });
  const adopted = await adoptRoom(ctx, await adoptionOf(ctx, built, alice));
  assert.equal(adopted.kind, 'refused');
  assert.equal(await getRoom(ctx, built.roomId), undefined);
  assert.deepEqual(await memberships.ofUser(ctx.db, alice), []);
});

test('a state without its create event, or with that of another room, is refused', async () => {
  await using server = await openRooms();
  const { ctx } = server;
  const built = roomOf(eve, { version: '11', join_rule: 'public' });
  const isTold = (event: Event) => event.type !== 'm.room.create';
  const without = await adoptionOf(ctx, built, alice, { isTold });
  assert.equal((await adoptRoom(ctx, without)).kind, 'refused');
});

test('back in a room that we had left: the state is the new one, and the old line leads no further', async () => {
  await using server = await openRooms();
  const { ctx } = server;
  const built = roomOf(eve, { join_rule: 'public' });
  await adoptRoom(ctx, await adoptionOf(ctx, built, alice));
  const room = await getRoom(ctx, built.roomId);
  assert.ok(room);
  const left = built.leave(alice);
  assert.equal((await receiveFrom(ctx, room, left)).kind, 'accepted');
  assert.equal(await isInRoom(ctx, room), false);
  built.state(eve, 'm.room.name', '', { name: 'while we were away' });
  built.join(mallory);
  const adoption = await adoptionOf(ctx, built, alice);
  assert.equal((await adoptRoom(ctx, adoption)).kind, 'joined');
  assert.equal(await isInRoom(ctx, room), true);
  assert.deepEqual(
    (await headOf(ctx, room.roomNid)).forwardExtremities.map(({ eventId }) => eventId),
    [adoption.join.eventId],
  );
  const ids = (await currentState(ctx, room.roomNid)).map(({ event }) => event.eventId).sort();
  assert.deepEqual(ids, [...built.stateMap.values()].map(({ eventId }) => eventId).sort());
  assert.equal((await memberships.of(ctx.db, room.roomNid, mallory))?.membership, 'join');
});

for (const [where, isBehindGap] of [
  ['upon what we know', false],
  ['across a gap', true],
] as const) {
  test(`back in a room ${where}, by a server that has not heard who of our users left: they stay out, and who declined meanwhile is what the room says`, async () => {
    await using server = await openRooms();
    const { ctx } = server;
    const built = roomOf(eve, { join_rule: 'public' });
    await adoptRoom(ctx, await adoptionOf(ctx, built, alice));
    const room = await getRoom(ctx, built.roomId);
    assert.ok(room);
    const membershipOf = async (userId: UserId) =>
      (await memberships.of(ctx.db, room.roomNid, userId))?.membership;
    const joined = built.join(bob);
    const invite = built.invite(eve, carol);
    for (const event of [joined, invite]) {
      assert.equal((await receiveFrom(ctx, room, event)).kind, 'accepted');
    }
    const behind = built.fork();
    for (const userId of [bob, alice] as const) {
      assert.equal((await receiveFrom(ctx, room, built.leave(userId))).kind, 'accepted');
    }
    assert.equal(await isInRoom(ctx, room), false);
    const declined = built.fork().leave(carol);
    const leave = { rules: built.rules, leave: await verified(ctx, declined), ended: invite.eventId };
    assert.equal((await recordOutOfBandLeave(ctx, leave)).kind, 'recorded');
    assert.equal(await membershipOf(carol), 'leave');
    if (isBehindGap) behind.message(eve, 'while we were away');
    // A later one than the leaves.
    assert.equal((await adoptRoom(ctx, await adoptionOf(ctx, behind, alice))).kind, 'joined');
    assert.deepEqual(await Promise.all(([alice, bob, carol] as const).map(membershipOf)), [
      'join',
      'leave',
      'invite',
    ]);
    assert.equal((await headOf(ctx, room.roomNid)).forwardExtremities.length, 2);
    assert.deepEqual(await Array.fromAsync(checkRooms(ctx)), []);
  });
}

test('back in a room: what we had rejected and the state now holds is part of it, and authorises other events', async () => {
  await using server = await openRooms();
  const { ctx } = server;
  const built = roomOf(eve, { members: [mallory], join_rule: 'public' });
  await adoptRoom(ctx, await adoptionOf(ctx, built, alice));
  const room = await getRoom(ctx, built.roomId);
  assert.ok(room);
  const raised = built.state(eve, 'm.room.power_levels', '', { users: { [mallory]: 50 } });
  await receiveFrom(ctx, room, raised);
  const lowered = built.state(eve, 'm.room.power_levels', '', { users: {} });
  await receiveFrom(ctx, room, lowered);
  const joined = built.get('m.room.member', mallory);
  const topic = built.send(mallory, {
    type: 'm.room.topic',
    state_key: '',
    content: { topic: 'late' },
    auth_events: [raised.eventId, joined?.eventId ?? '$'],
  });
  assert.equal((await receiveFrom(ctx, room, topic)).kind, 'rejected');
  const next = built.message(eve, 'next');
  await receiveFrom(ctx, room, next);
  assert.equal((await receiveFrom(ctx, room, built.leave(alice))).kind, 'accepted');
  built.message(eve, 'while we were away');
  assert.equal((await adoptRoom(ctx, await adoptionOf(ctx, built, alice))).kind, 'joined');
  assert.equal((await loadEvent(ctx, topic.eventId))?.status, 'soft_failed');
  assert.deepEqual(await Array.fromAsync(checkRooms(ctx)), []);
});

test('two of our users joining by two servers at once are both in the room', async () => {
  await using server = await openRooms();
  const { ctx } = server;
  const built = roomOf(eve, { join_rule: 'public' });
  const [line, other] = [built.fork(), built.fork()];
  const [first, second] = [await adoptionOf(ctx, line, alice), await adoptionOf(ctx, other, bob)];
  const adopted = await Promise.all([adoptRoom(ctx, first), adoptRoom(ctx, second)]);
  assert.deepEqual(
    adopted.map(({ kind }) => kind),
    ['joined', 'joined'],
  );
  const room = await getRoom(ctx, built.roomId);
  assert.ok(room);
  assert.deepEqual(await memberships.joinedLocalUsers(ctx.db, room.roomNid, 'here.test'), [alice, bob]);
  assert.equal((await headOf(ctx, room.roomNid)).forwardExtremities.length, 2);
});

test('the state before the join is the one that was told', async () => {
  await using server = await openRooms();
  const { ctx } = server;
  const built = roomOf(eve, { join_rule: 'public' });
  const told = [...built.stateMap.values()].map(({ eventId }) => eventId).sort();
  const adoption = await adoptionOf(ctx, built, alice);
  await adoptRoom(ctx, adoption);
  const join = await loadEvent(ctx, adoption.join.eventId);
  assert.ok(join);
  const before = (await stateAt(ctx, join, 'before')).map(({ event }) => event.eventId).sort();
  assert.deepEqual(before, told);
});

test('a room of 2,000 members is adopted, and its servers are counted', async () => {
  await using server = await openRooms();
  const { ctx } = server;
  const built = roomOf(eve, { join_rule: 'public' });
  for (let n = 0; n < 2_000; n++) built.join(`@user${n}:server${n % 7}.test`);
  const { kind } = await adoptRoom(ctx, await adoptionOf(ctx, built, alice));
  assert.equal(kind, 'joined');
  const room = await getRoom(ctx, built.roomId);
  assert.ok(room);
  assert.deepEqual(await memberships.countsIn(ctx.db, room.roomNid), { joined: 2_002, invited: 0 });
  assert.equal((await memberships.joinedServers(ctx.db, room.roomNid)).length, 9);
});

test('an invitation from outside makes a room with a membership and stripped state, and no current state', async () => {
  await using server = await openRooms();
  const { ctx } = server;
  const built = roomOf(eve);
  const invite = await verified(ctx, built.invite(eve, alice));
  const stripped = { type: 'm.room.name', state_key: '', sender: eve, content: { name: 'far away' } };
  const recorded = await adoptInvite(ctx, { rules: built.rules, invite, strippedState: [stripped] });
  assert.ok(recorded.kind === 'recorded');
  const room = await getRoom(ctx, built.roomId);
  assert.ok(room);
  const row = await memberships.of(ctx.db, room.roomNid, alice);
  assert.equal(row?.membership, 'invite');
  assert.equal(row?.position, recorded.position);
  const events = (await invites.shownTo(ctx.db, room.roomNid, alice))?.state;
  assert.deepEqual(events?.[0], stripped);
  assert.deepEqual(events?.[1]?.content, { membership: 'invite' });
  assert.deepEqual(await currentState(ctx, room.roomNid), []);
  assert.equal(ctx.streams.lastPositionOf(`user:${alice}`), recorded.position);
  assert.equal(await isInRoom(ctx, room), false);
  await assert.rejects(sendText(ctx, room, alice, 'too early'), /unknown_room/);
});

test('an invitation that is declined, or withdrawn, leaves a membership of leave and no stripped state', async () => {
  await using server = await openRooms();
  const { ctx } = server;
  const built = roomOf(eve);
  const invite = await verified(ctx, built.invite(eve, alice));
  const leave = await verified(ctx, built.leave(alice));
  const early = await recordOutOfBandLeave(ctx, { rules: built.rules, leave, ended: invite.eventId });
  assert.equal(early.kind, 'refused');
  await adoptInvite(ctx, { rules: built.rules, invite, strippedState: [] });
  assert.equal(
    (await recordOutOfBandLeave(ctx, { rules: built.rules, leave, ended: invite.eventId })).kind,
    'recorded',
  );
  const room = await getRoom(ctx, built.roomId);
  assert.ok(room);
  assert.equal((await memberships.of(ctx.db, room.roomNid, alice))?.membership, 'leave');
  assert.equal(await invites.shownTo(ctx.db, room.roomNid, alice), undefined);
});

test('an invited user joins: the room is filled in, and the stripped state is gone', async () => {
  await using server = await openRooms();
  const { ctx } = server;
  const built = roomOf(eve);
  const invite = await verified(ctx, built.invite(eve, alice));
  await adoptInvite(ctx, { rules: built.rules, invite, strippedState: [] });
  assert.equal((await adoptRoom(ctx, await adoptionOf(ctx, built, alice))).kind, 'joined');
  const room = await getRoom(ctx, built.roomId);
  assert.ok(room);
  assert.equal((await memberships.of(ctx.db, room.roomNid, alice))?.membership, 'join');
  assert.equal(await invites.shownTo(ctx.db, room.roomNid, alice), undefined);
  await sendText(ctx, room, alice, 'here I am');
  assert.equal((await adoptInvite(ctx, { rules: built.rules, invite, strippedState: [] })).kind, 'in_room');
  await sendState(ctx, room, alice, {
    type: 'm.room.member',
    stateKey: alice,
    content: { membership: 'leave' },
  });
  assert.equal(await isInRoom(ctx, room), false);
});

test('of what a join has left that ended with the process nothing stays, but our own users know of it', async () => {
  await using server = await openRooms();
  const { ctx } = server;
  const built = roomOf(eve);
  const invite = await verified(ctx, built.invite(eve, alice));
  await adoptInvite(ctx, { rules: built.rules, invite, strippedState: [] });
  const room = await getRoom(ctx, built.roomId);
  assert.ok(room);
  const { roomNid } = room;
  const member = { roomNid, userId: eve, membership: 'join', eventNid: 1, position: 1 } as const;
  await ctx.db.write('test.unfinished', async (tx) => {
    await currentStateTable.set(tx, roomNid, { type: 'm.room.member', stateKey: eve }, 1);
    await memberships.set(tx, {
      ...member,
      serverName: 'elsewhere.test',
      displayName: null,
      avatarUrl: null,
    });
  });
  await forgetUnfinishedJoins(ctx);
  assert.deepEqual(await currentState(ctx, roomNid), []);
  const left = (await memberships.inRoom(ctx.db, roomNid)).map(({ userId }) => userId);
  assert.deepEqual(left, [alice]);
});

test('another of our users whom the state holds as invited is told so with the room', async () => {
  await using server = await openRooms();
  const { ctx } = server;
  const built = roomOf(eve, { join_rule: 'public' });
  built.invite(eve, bob);
  assert.equal((await adoptRoom(ctx, await adoptionOf(ctx, built, alice))).kind, 'joined');
  const room = await getRoom(ctx, built.roomId);
  assert.ok(room);
  const row = await memberships.of(ctx.db, room.roomNid, bob);
  assert.equal(row?.membership, 'invite');
  assert.equal(row?.position, ctx.streams.lastPositionOf(`user:${bob}`));
  assert.deepEqual(await Array.fromAsync(checkRooms(ctx)), []);
});

test('a state that holds the join already makes the same room', async () => {
  await using server = await openRooms();
  const { ctx } = server;
  const built = roomOf(eve, { join_rule: 'public' });
  const adoption = await adoptionOf(ctx, built, alice);
  adoption.told.add('state', [adoption.join]);
  assert.equal((await adoptRoom(ctx, adoption)).kind, 'joined');
  assert.deepEqual(await Array.fromAsync(checkRooms(ctx)), []);
});

test('an event that was told twice, once without what its hash does not cover, is kept whole', async () => {
  await using server = await openRooms();
  const { ctx } = server;
  const built = roomOf(eve, { join_rule: 'public' });
  const name = built.state(eve, 'm.room.name', '', { name: 'whole' });
  const broken = { ...name.pdu, content: { name: 'other' } };
  const redacted = await verified(ctx, { ...name, json: JSON.stringify(broken) });
  const { rules } = built;
  for (const copies of [
    [redacted, await verified(ctx, name)],
    [await verified(ctx, name), redacted],
  ]) {
    using told = new ToldState(rules);
    told.add('state', copies);
    const [kept] = told.read([...told.told]);
    assert.deepEqual(kept?.content, { name: 'whole' });
    assert.equal(told.told.length, 1);
  }
});

test('an invitation of a user of another server is not ours to record', async () => {
  await using server = await openRooms();
  const built = roomOf(eve);
  const invite = await verified(server.ctx, built.invite(eve, mallory));
  const recorded = await adoptInvite(server.ctx, { rules: built.rules, invite, strippedState: [] });
  assert.equal(recorded.kind, 'refused');
});

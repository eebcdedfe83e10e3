import assert from 'node:assert/strict';
import { test } from 'node:test';
import type { EventId, UserId } from '#keys/ids.ts';
import type { RoomsContext } from '#rooms/context.ts';
import type { Event } from '#rooms/event.ts';
import { loadEvent } from '#rooms/load.ts';
import type { Room } from '#rooms/room.ts';
import { type Sent, sendEvent } from '#rooms/send.ts';
import { currentStateEvent } from '#rooms/state.ts';
import { SUPPORTED_VERSIONS } from '#rooms/versions.ts';
import * as events from '#storage/events.ts';
import * as memberships from '#storage/memberships.ts';
import { roomOf, type TestRoom } from '#test/harness/room-builder.ts';
import {
  importRoom,
  openRooms,
  receiveFrom,
  sendState,
  sendText,
  sentOrThrow,
  startedRoom,
} from '#test/harness/rooms.ts';

const alice = '@alice:here.test';
const bob = '@bob:here.test';
const eve = '@eve:elsewhere.test';
const mallory = '@mallory:evil.test';

function redactBy(ctx: RoomsContext, room: Room, sender: UserId, redacts: EventId): Promise<Sent> {
  return sendEvent(ctx, { roomId: room.roomId, sender, type: 'm.room.redaction', content: {}, redacts });
}

/** A redaction as the room version has it, that the line goes on with. */
function redaction(line: TestRoom, sender: UserId, redacts: EventId): Event {
  return line.send(sender, {
    type: 'm.room.redaction',
    content: line.rules.redactsInContent ? { redacts } : {},
    ...(!line.rules.redactsInContent && { pdu: { redacts } }),
  });
}

async function contentOf(ctx: RoomsContext, eventId: EventId) {
  return (await loadEvent(ctx, eventId))?.event.content;
}

for (const version of SUPPORTED_VERSIONS) {
  test(`v${version}: a redacted event keeps its id and loses its content, in memory and on disk`, async () => {
    await using server = await openRooms();
    const room = await startedRoom(server.ctx, alice, { version });
    const { eventId } = await sendText(server.ctx, room, alice, 'a secret');
    const { eventId: by } = sentOrThrow(await redactBy(server.ctx, room, alice, eventId));
    const redacted = await loadEvent(server.ctx, eventId);
    assert.deepEqual(redacted?.event.content, {});
    assert.equal(redacted?.redactedBy, by);
    assert.equal((await loadEvent(server.ctx, by))?.event.redacts, eventId);
    await server.restart();
    assert.deepEqual(await loadEvent(server.ctx, eventId), redacted);
    assert.equal((await events.byId(server.ctx.db, eventId))?.json.includes('a secret'), false);
  });

  test(`v${version}: a redaction that arrives before its target is applied when that arrives`, async () => {
    await using server = await openRooms();
    const { ctx } = server;
    const built = roomOf(eve, { version, members: [mallory] });
    const room = await importRoom(ctx, built);
    const target = built.fork().message(mallory, 'spam');
    const by = redaction(built, eve, target.eventId);
    assert.equal((await receiveFrom(ctx, room, by)).kind, 'accepted');
    assert.equal((await receiveFrom(ctx, room, target)).kind, 'accepted');
    const stored = await loadEvent(ctx, target.eventId);
    assert.deepEqual(stored?.event.content, {});
    assert.equal(stored?.redactedBy, by.eventId);
    await server.restart();
    assert.deepEqual(await contentOf(server.ctx, target.eventId), {});
  });
}

test('v3: a redaction without the power is accepted, and not applied; neither before its target nor after it', async () => {
  await using server = await openRooms();
  const { ctx } = server;
  const built = roomOf(eve, { members: [mallory] });
  const room = await importRoom(ctx, built);
  const target = built.message(eve, 'stays');
  await receiveFrom(ctx, room, target);
  const by = redaction(built, mallory, target.eventId);
  assert.equal((await receiveFrom(ctx, room, by)).kind, 'accepted');
  const late = built.fork().message(eve, 'stays too');
  const early = redaction(built, mallory, late.eventId);
  await receiveFrom(ctx, room, early);
  await receiveFrom(ctx, room, late);
  assert.deepEqual(await contentOf(ctx, target.eventId), { msgtype: 'm.text', body: 'stays' });
  assert.deepEqual(await contentOf(ctx, late.eventId), { msgtype: 'm.text', body: 'stays too' });
});

test('v3: the server of the sender of an event may redact it', async () => {
  await using server = await openRooms();
  const { ctx } = server;
  const other = '@other:evil.test';
  const built = roomOf(eve, { members: [mallory, other] });
  const room = await importRoom(ctx, built);
  const target = built.message(mallory, 'withdrawn');
  await receiveFrom(ctx, room, target);
  await receiveFrom(ctx, room, redaction(built, other, target.eventId));
  assert.deepEqual(await contentOf(ctx, target.eventId), {});
});

test('a redaction counts for its own room only', async () => {
  await using server = await openRooms();
  const { ctx } = server;
  const built = roomOf(eve);
  const other = roomOf(mallory);
  const room = await importRoom(ctx, built);
  const otherRoom = await importRoom(ctx, other);
  const target = built.message(eve, 'stays');
  await receiveFrom(ctx, room, target);
  await receiveFrom(ctx, otherRoom, redaction(other, mallory, target.eventId));
  assert.deepEqual(await contentOf(ctx, target.eventId), { msgtype: 'm.text', body: 'stays' });
});

test('a soft-failed redaction is not applied', async () => {
  await using server = await openRooms();
  const { ctx } = server;
  const built = roomOf(eve, { members: [mallory], power_levels: { redact: 0 } });
  const target = built.message(eve, 'stays');
  const room = await importRoom(ctx, built);
  const old = built.fork();
  await receiveFrom(ctx, room, built.ban(eve, mallory));
  const received = await receiveFrom(ctx, room, redaction(old, mallory, target.eventId));
  assert.equal(received.kind, 'soft_failed');
  assert.deepEqual(await contentOf(ctx, target.eventId), { msgtype: 'm.text', body: 'stays' });
});

test('redactions that redact each other are both applied, and nothing goes round', async () => {
  await using server = await openRooms();
  const { ctx } = server;
  const room = await startedRoom(ctx, alice);
  const first = sentOrThrow(await redactBy(ctx, room, alice, '$unknown'));
  const second = sentOrThrow(await redactBy(ctx, room, alice, first.eventId));
  sentOrThrow(await redactBy(ctx, room, alice, second.eventId));
  assert.equal((await loadEvent(ctx, first.eventId))?.redactedBy, second.eventId);
});

test('our users redact their own events, and those of others only with the power to', async () => {
  await using server = await openRooms();
  const { ctx } = server;
  const room = await startedRoom(ctx, alice, { version: '11', members: [bob] });
  const other = await startedRoom(ctx, bob, { version: '11' });
  const ofAlice = await sendText(ctx, room, alice, 'of alice');
  const ofBob = await sendText(ctx, room, bob, 'of bob');
  const elsewhere = await sendText(ctx, other, bob, 'in another room');
  const create = await currentStateEvent(ctx, room.roomNid, 'm.room.create', '');
  assert.ok(create);
  const kinds = [
    await redactBy(ctx, room, bob, ofAlice.eventId),
    await redactBy(ctx, room, bob, elsewhere.eventId),
    await redactBy(ctx, room, alice, create.event.eventId),
    await redactBy(ctx, room, bob, ofBob.eventId),
    await redactBy(ctx, room, alice, ofBob.eventId),
  ].map(({ kind }) => kind);
  assert.deepEqual(kinds, ['forbidden', 'forbidden', 'forbidden', 'sent', 'sent']);
  assert.deepEqual(await contentOf(ctx, ofAlice.eventId), { msgtype: 'm.text', body: 'of alice' });
  assert.deepEqual(await contentOf(ctx, elsewhere.eventId), { msgtype: 'm.text', body: 'in another room' });
});

test('a redacted member event still counts, without its names', async () => {
  await using server = await openRooms();
  const { ctx } = server;
  const room = await startedRoom(ctx, alice, { members: [bob] });
  const profile = { membership: 'join', displayname: 'Rude', avatar_url: 'mxc://here.test/rude' };
  const joined = await sendState(ctx, room, bob, { type: 'm.room.member', stateKey: bob, content: profile });
  sentOrThrow(await redactBy(ctx, room, alice, joined.eventId));
  const row = await memberships.of(ctx.db, room.roomNid, bob);
  assert.equal(row?.membership, 'join');
  assert.equal(row?.displayName, null);
  assert.equal(row?.avatarUrl, null);
  const current = await currentStateEvent(ctx, room.roomNid, 'm.room.member', bob);
  assert.deepEqual(current?.event.content, { membership: 'join' });
  await sendText(ctx, room, bob, 'still here');
});

test('our users do not redact access control lists, which would then allow no server', async () => {
  await using server = await openRooms();
  const { ctx } = server;
  const room = await startedRoom(ctx, alice, { version: '12' });
  const acl = await sendState(ctx, room, alice, { type: 'm.room.server_acl', content: { allow: ['*'] } });
  const refused = await redactBy(ctx, room, alice, acl.eventId);
  assert.equal(refused.kind, 'forbidden');
  assert.deepEqual(await contentOf(ctx, acl.eventId), { allow: ['*'] });
});

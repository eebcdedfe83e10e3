/**
 * What only rooms of older versions have: chosen event ids, references with hashes, ids in standard base64, numbers
 * that canonical JSON does not know, and depths beyond 2^53.
 */
import assert from 'node:assert/strict';
import { readFileSync } from 'node:fs';
import { test } from 'node:test';
import { decodeBase64 } from '#keys/base64.ts';
import { encodeCanonical, parseStrict } from '#keys/canonical-json.ts';
import { keyPairFromSeed } from '#keys/ed25519.ts';
import { type EventId, serverNameOf } from '#keys/ids.ts';
import { isObject, type JsonObject } from '#keys/json.ts';
import { checkRooms } from '#rooms/db-check.ts';
import { MAX_EVENT_DEPTH } from '#rooms/depth.ts';
import { type Event, eventFrom } from '#rooms/event.ts';
import { eventIdOf, hasContentHash, referenceHash } from '#rooms/hashes.ts';
import { checkIngress } from '#rooms/ingress.ts';
import { loadEvent } from '#rooms/load.ts';
import { adoptInvite } from '#rooms/out-of-band.ts';
import { powerOf } from '#rooms/power.ts';
import { beginPurge, runPurge } from '#rooms/purge/purge.ts';
import { ID_TAKEN } from '#rooms/receive.ts';
import { isRedactedBy, redactedEvent } from '#rooms/redaction.ts';
import { getRoom } from '#rooms/room.ts';
import { signEvent } from '#rooms/sign-event.ts';
import { currentStateEvent } from '#rooms/state.ts';
import { adoptRoom } from '#rooms/told/adopt.ts';
import { type RoomVersionRules, rulesOf } from '#rooms/versions.ts';
import { told } from '#test/harness/adoption.ts';
import { keyPairOf, roomOf, type TestRoom } from '#test/harness/room-builder.ts';
import { importRoom, openRooms, receiveFrom, sendText, startedRoom, verified } from '#test/harness/rooms.ts';

const alice = '@alice:here.test';
const eve = '@eve:elsewhere.test';
const mallory = '@mallory:evil.test';

interface OddNumbers {
  readonly seed: string;
  readonly odd_numbers: {
    readonly text: string;
    readonly versions: readonly {
      readonly version: string;
      readonly content_hash: string;
      readonly event_id: string;
      readonly signature: string;
    }[];
  };
}

const vectors: OddNumbers = JSON.parse(
  readFileSync(new URL('fixtures/event-vectors.json', import.meta.url), 'utf8'),
);

function rules(version: string): RoomVersionRules {
  const found = rulesOf(version);
  assert.ok(found);
  return found;
}

/** An object with numbers kept as events of versions 1 to 5 keep them. */
function read(text: string): JsonObject {
  const parsed = parseStrict(text, { anyNumbers: true });
  assert.ok(parsed.kind === 'ok' && isObject(parsed.value), text);
  return parsed.value;
}

for (const { version, ...expected } of vectors.odd_numbers.versions) {
  test(`v${version}: an event with numbers of every form has the hash, id and signature that Python gives it`, () => {
    const keyPair = keyPairFromSeed('1', decodeBase64(vectors.seed) ?? new Uint8Array());
    const signed = signEvent(read(vectors.odd_numbers.text), rules(version), 'domain', keyPair);
    assert.deepEqual(signed.hashes, { sha256: expected.content_hash });
    assert.deepEqual(signed.signatures, { domain: { 'ed25519:1': expected.signature } });
    assert.equal(eventIdOf(signed, rules(version)), expected.event_id);
    const event = eventFrom(signed, rules(version));
    assert.equal(event.depth, MAX_EVENT_DEPTH);
    const power = powerOf(undefined, event);
    assert.deepEqual(
      [power.of('@u:domain'), power.of('@v:domain'), power.ban, power.invite],
      [100, 50, 0, 1e22],
    );
  });
}

/** A message whose content and depth are written as given. */
function odd(room: TestRoom, parts: { content?: string; depth?: string }): Event {
  const {
    hashes: _h,
    signatures: _s,
    event_id: _e,
    ...pdu
  } = room.draft(eve, { type: 'm.room.message' }).pdu;
  const content = parts.content === undefined ? {} : read(parts.content);
  const depth = parts.depth === undefined ? {} : read(`{"depth":${parts.depth}}`);
  const changed = {
    ...pdu,
    content,
    ...depth,
    ...(room.rules.eventIds === 'chosen' && { event_id: `$odd${room.events.size}:elsewhere.test` }),
  };
  return eventFrom(signEvent(changed, room.rules, 'elsewhere.test', keyPairOf('elsewhere.test')), room.rules);
}

for (const version of ['1', '3', '5']) {
  test(`v${version}: numbers stay as they were through receipt, a restart and a redaction`, async () => {
    await using server = await openRooms();
    const built = roomOf(eve, { version });
    const room = await importRoom(server.ctx, built);
    const content = '{"body":"x","numbers":[1.0,1e3,-0.0,1.5e-7,9007199254740993,{"a":2.50}]}';
    const event = odd(built, { content });
    built.add(event);
    // What a server sends that does not write numbers as they are hashed.
    const text = event.json.replace('1000.0', '1e3').replace('1.5e-07', '1.5e-7');
    assert.notEqual(text, event.json);
    const verdict = await checkIngress(server.ctx, built.rules, text);
    assert.ok(verdict.kind === 'verified' && !verdict.redacted, JSON.stringify(verdict));
    assert.equal((await receiveFrom(server.ctx, room, verdict.event)).kind, 'accepted');
    await server.restart();
    const stored = await loadEvent(server.ctx, event.eventId);
    assert.ok(stored);
    assert.equal(stored.event.json, event.json);
    assert.equal(encodeCanonical(stored.event.pdu), event.json);
    assert.equal(hasContentHash(stored.event.pdu), true);
    assert.equal(
      JSON.stringify(stored.event.content),
      '{"body":"x","numbers":[1.0,1000.0,-0.0,1.5e-07,9007199254740993,{"a":2.5}]}',
    );
    assert.equal(eventIdOf(redactedEvent(stored.event).pdu, built.rules), event.eventId);
  });

  test(`v${version}: a depth of up to 2^63 - 1 is taken, and events of ours after it have the greatest that all take`, async () => {
    await using server = await openRooms();
    const built = roomOf(eve, { version, members: [alice], join_rule: 'public' });
    const room = await importRoom(server.ctx, built);
    const deep = odd(built, { depth: '9223372036854775807' });
    assert.equal(deep.depth, MAX_EVENT_DEPTH);
    assert.equal((await receiveFrom(server.ctx, room, await verified(server.ctx, deep))).kind, 'accepted');
    const { eventId } = await sendText(server.ctx, room, alice, 'after it');
    const stored = await loadEvent(server.ctx, eventId);
    assert.equal(stored?.event.pdu.depth, MAX_EVENT_DEPTH);
    assert.deepEqual(stored?.event.prevEvents, [deep.eventId]);
    for (const depth of ['9223372036854775808', '-1', '1.0', '1e3']) {
      const verdict = await checkIngress(
        server.ctx,
        built.rules,
        deep.json.replace('9223372036854775807', depth),
      );
      assert.equal(verdict.kind, 'dropped', depth);
    }
  });

  test(`v${version}: numbers and depths stay as they were in what a joined room's server tells, and do not keep it from being joined`, async () => {
    await using server = await openRooms();
    const { ctx } = server;
    const built = roomOf(eve, { version, join_rule: 'public' });
    const state = await Promise.all([...built.stateMap.values()].map((event) => verified(ctx, event)));
    const deep = odd(built, { depth: '9223372036854775807' });
    const join = await verified(ctx, built.join(alice));
    const strange = [deep, odd(built, { content: '{"numbers":[1.0,1e3,9007199254740993]}' })];
    const beside = await Promise.all(strange.map((event) => verified(ctx, event)));
    assert.equal((await adoptRoom(ctx, await told(join, state, beside))).kind, 'joined');
    for (const event of strange) assert.equal((await loadEvent(ctx, event.eventId))?.event.json, event.json);
  });

  test(`v${version}: events with such numbers and depths are purged like any other`, async () => {
    await using server = await openRooms();
    const { ctx } = server;
    const built = roomOf(eve, { version, members: [alice], join_rule: 'public' });
    const room = await importRoom(ctx, built);
    const deep = odd(built, { depth: '9223372036854775807' });
    assert.equal((await receiveFrom(ctx, room, await verified(ctx, deep))).kind, 'accepted');
    const { eventId } = await sendText(ctx, room, alice, 'after it');
    assert.ok(await beginPurge(ctx, room, { eventId }));
    assert.equal((await runPurge(ctx, room.roomNid, new AbortController().signal))?.kind, 'done');
    assert.equal(await loadEvent(ctx, deep.eventId), undefined);
  });
}

test('v6: numbers that are no canonical JSON, and depths beyond 2^53, make an event invalid', async () => {
  await using server = await openRooms();
  const built = roomOf(eve, { version: '6' });
  await importRoom(server.ctx, built);
  for (const number of ['1.0', '1e3', '-0', '9007199254740993', '0.5']) {
    const verdict = await checkIngress(
      server.ctx,
      built.rules,
      odd(built, { content: `{"n":${number}}` }).json,
    );
    assert.equal(verdict.kind, number === '-0' ? 'verified' : 'dropped', number);
    const written = odd(built, {}).json.replace('"content":{}', `"content":{"n":${number}}`);
    assert.equal((await checkIngress(server.ctx, built.rules, written)).kind, 'dropped', number);
  }
  const deep = odd(built, {}).json.replace(/"depth":\d+/, '"depth":9007199254740992');
  assert.equal((await checkIngress(server.ctx, built.rules, deep)).kind, 'dropped');
});

for (const version of ['1', '2']) {
  test(`v${version}: events of ours have an id of this server, and cite others with their reference hashes`, async () => {
    await using server = await openRooms();
    const { ctx } = server;
    const room = await startedRoom(ctx, alice, { version });
    const sent = [await sendText(ctx, room, alice, 'one'), await sendText(ctx, room, alice, 'two')];
    const events = await Promise.all(sent.map(({ eventId }) => loadEvent(ctx, eventId)));
    assert.equal(new Set(sent.map(({ eventId }) => eventId)).size, 2);
    for (const stored of events) {
      assert.ok(stored);
      const { event } = stored;
      assert.equal(event.pdu.event_id, event.eventId);
      assert.equal(serverNameOf(event.eventId), ctx.serverName);
      assert.match(event.eventId, /^\$[A-Za-z]{18}:/);
      for (const list of [event.pdu.prev_events, event.pdu.auth_events] as [EventId, JsonObject][][]) {
        assert.ok(list.length > 0);
        for (const [eventId, hashes] of list) {
          const cited = await loadEvent(ctx, eventId);
          assert.ok(cited);
          const sha256 = referenceHash(cited.event.pdu, cited.event.rules)
            .toString('base64')
            .replace(/=+$/, '');
          assert.deepEqual(hashes, { sha256 });
        }
      }
    }
  });

  test(`v${version}: an event id without a server, or signed for by another than its server, makes it invalid`, async () => {
    await using server = await openRooms();
    const { ctx } = server;
    const built = roomOf(eve, { version });
    await importRoom(ctx, built);
    await importRoom(ctx, roomOf(mallory, { version }));
    const withId = (event_id: string) => built.draft(eve, { type: 'm.room.message', pdu: { event_id } });
    assert.equal((await checkIngress(ctx, built.rules, withId('$own:elsewhere.test').json)).kind, 'verified');
    const hash = eventIdOf(built.last.pdu, rules('4'));
    for (const id of [hash, '$x', '$x:', '$x:not a server', '$taken:evil.test']) {
      assert.equal((await checkIngress(ctx, built.rules, withId(id).json)).kind, 'dropped', id);
    }
    // "also require that a signature is present from the domain in the event_id, if it differs".
    const foreign = withId('$given:evil.test');
    const both = signEvent(foreign.pdu, built.rules, 'evil.test', keyPairOf('evil.test'));
    assert.equal((await checkIngress(ctx, built.rules, encodeCanonical(both))).kind, 'verified');
  });
}

test('v1: a room and an event are not harmed by an event of another room with the same id', async () => {
  await using server = await openRooms();
  const { ctx } = server;
  const creator = '@mallory:second.test';
  const first = roomOf(mallory, { version: '1' });
  const firstRoom = await importRoom(ctx, first);
  const other = roomOf(creator, { version: '1' });
  const otherRoom = await importRoom(ctx, other);
  const event = first.message(mallory, 'in the first room');
  assert.equal((await receiveFrom(ctx, firstRoom, event)).kind, 'accepted');

  const taken = other.draft(creator, {
    type: 'm.room.name',
    state_key: '',
    pdu: { event_id: event.eventId },
  });
  for (const as of ['live', 'outlier'] as const) {
    const received = await receiveFrom(ctx, otherRoom, await bothSigned(ctx, taken), { as });
    assert.deepEqual(received, { kind: 'rejected', reason: ID_TAKEN });
  }
  assert.equal((await loadEvent(ctx, event.eventId))?.event.json, event.json);
  assert.equal(await currentStateEvent(ctx, otherRoom.roomNid, 'm.room.name', ''), undefined);
  const next = other.message(creator, 'goes on');
  assert.equal((await receiveFrom(ctx, otherRoom, next)).kind, 'accepted');
});

/** The event with the signature of the server that its id names, verified. */
async function bothSigned(ctx: Parameters<typeof verified>[0], event: Event) {
  const server = serverNameOf(event.eventId) ?? '';
  const pdu = signEvent(event.pdu, event.rules, server, keyPairOf(server));
  return verified(ctx, eventFrom(pdu, event.rules));
}

test('v1: of two events of one room with the same id the first counts', async () => {
  await using server = await openRooms();
  const { ctx } = server;
  const built = roomOf(mallory, { version: '1' });
  const room = await importRoom(ctx, built);
  const event = built.state(mallory, 'm.room.topic', '', { topic: 'first' });
  assert.equal((await receiveFrom(ctx, room, event)).kind, 'accepted');
  const other = built.draft(mallory, {
    type: 'm.room.topic',
    state_key: '',
    content: { topic: 'second' },
    pdu: { event_id: event.eventId },
  });
  assert.equal((await receiveFrom(ctx, room, other)).kind, 'known');
  const topic = await currentStateEvent(ctx, room.roomNid, 'm.room.topic', '');
  assert.deepEqual(topic?.event.content, { topic: 'first' });
});

test('v1: a joined room is taken over without an event that has the id of one of another room', async () => {
  await using server = await openRooms();
  const { ctx } = server;
  const first = roomOf(mallory, { version: '1' });
  const firstRoom = await importRoom(ctx, first);
  const event = first.state(mallory, 'm.room.topic', '', { topic: 'of the first room' });
  assert.equal((await receiveFrom(ctx, firstRoom, event)).kind, 'accepted');

  const creator = '@mallory:second.test';
  const other = roomOf(creator, { version: '1', join_rule: 'public' });
  const taken = await bothSigned(
    ctx,
    other.draft(creator, { type: 'm.room.topic', state_key: '', pdu: { event_id: event.eventId } }),
  );
  const state = [...other.stateMap.values()];
  const join = await verified(ctx, other.join(alice));
  const all = await Promise.all(state.map((each) => verified(ctx, each)));
  const adopted = await adoptRoom(ctx, await told(join, [...all, taken], []));
  assert.equal(adopted.kind, 'joined', JSON.stringify(adopted));
  const room = await getRoom(ctx, other.roomId);
  assert.ok(room);
  assert.equal(await currentStateEvent(ctx, room.roomNid, 'm.room.topic', ''), undefined);
  assert.equal((await currentStateEvent(ctx, room.roomNid, 'm.room.member', alice))?.status, 'accepted');
  assert.equal((await loadEvent(ctx, event.eventId))?.event.json, event.json);
  assert.deepEqual(await Array.fromAsync(checkRooms(ctx)), []);
});

test('v1: a room is taken over again with the event that was here first, where another is told under its id', async () => {
  await using server = await openRooms();
  const { ctx } = server;
  const built = roomOf(mallory, { version: '1', join_rule: 'public' });
  const room = await importRoom(ctx, built);
  const event = built.state(mallory, 'm.room.topic', '', { topic: 'first' });
  assert.equal((await receiveFrom(ctx, room, event)).kind, 'accepted');
  const again = built.fork();
  const other = again.draft(mallory, {
    type: 'm.room.topic',
    state_key: '',
    content: { topic: 'second' },
    pdu: { event_id: event.eventId },
  });
  const state = [...again.stateMap.values()].filter(({ eventId }) => eventId !== event.eventId);
  const join = await verified(ctx, again.join(alice));
  const all = await Promise.all([...state, other].map((each) => verified(ctx, each)));
  const adopted = await adoptRoom(ctx, await told(join, all, []));
  assert.equal(adopted.kind, 'joined', JSON.stringify(adopted));
  const topic = await currentStateEvent(ctx, room.roomNid, 'm.room.topic', '');
  assert.deepEqual(topic?.event.content, { topic: 'first' });
});

test('v1: an invitation whose event has the id of one of another room is refused', async () => {
  await using server = await openRooms();
  const { ctx } = server;
  const first = roomOf(mallory, { version: '1' });
  await importRoom(ctx, first);
  const other = roomOf('@mallory:second.test', { version: '1' });
  const invite = other.draft('@mallory:second.test', {
    type: 'm.room.member',
    state_key: alice,
    content: { membership: 'invite' },
    pdu: { event_id: first.last.eventId },
  });
  const adopted = await adoptInvite(ctx, {
    rules: other.rules,
    invite: await bothSigned(ctx, invite),
    strippedState: [],
  });
  assert.deepEqual(adopted, { kind: 'refused', reason: ID_TAKEN });
});

test('v2: an accepted redaction applies, whoever sent the event that it redacts', () => {
  const redaction = roomOf(mallory, { version: '2' }).draft(mallory, {
    type: 'm.room.redaction',
    pdu: { redacts: '$target:evil.test' },
  });
  const target = roomOf(mallory, { version: '2', members: [eve] }).draft(eve, { type: 'm.room.message' });
  const redacter = { event: redaction, create: undefined, powerLevels: undefined };
  // Rule 11 has let it in by the domains of the two event ids.
  assert.equal(isRedactedBy(target, redacter), true);
  const v3 = roomOf(mallory, { version: '3' }).draft(mallory, {
    type: 'm.room.redaction',
    pdu: { redacts: '$x' },
  });
  assert.equal(isRedactedBy(target, { ...redacter, event: v3 }), false);
});

test('v3: the ids of events are standard base64, and may hold slashes; v4: they are safe in a URL', () => {
  const ids = (version: string) =>
    Array.from(
      { length: 40 },
      (_, depth) => roomOf(eve, { version }).draft(eve, { type: 'm.x', depth }).eventId,
    );
  for (const id of ids('3')) assert.match(id, /^\$[A-Za-z0-9+/]{43}$/);
  assert.ok(ids('3').some((id) => id.includes('/')));
  for (const id of ids('4')) assert.match(id, /^\$[A-Za-z0-9_-]{43}$/);
});

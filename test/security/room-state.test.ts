/**
 * Published attacks on rooms, at the events themselves: who takes over, resets or splits a room by what they cite,
 * redact, forge or hold back. Each test is named by its row in `rows.tsv`.
 */

import assert from 'node:assert/strict';
import { readFileSync } from 'node:fs';
import { test } from 'node:test';
import { encodeCanonical } from '#keys/canonical-json.ts';
import type { EventId, UserId } from '#keys/ids.ts';
import type { JsonObject } from '#keys/json.ts';
import { signJson } from '#keys/sign-json.ts';
import type { RoomsContext } from '#rooms/context.ts';
import { type Event, eventFrom } from '#rooms/event.ts';
import { checkIngress } from '#rooms/ingress.ts';
import { loadEvent } from '#rooms/load.ts';
import { receive } from '#rooms/receive.ts';
import { getRoom, type Room } from '#rooms/room.ts';
import { headOf } from '#rooms/room-head.ts';
import { countersign, signEvent } from '#rooms/sign-event.ts';
import { currentState, currentStateEvent } from '#rooms/state.ts';
import { isPlaced } from '#rooms/stored-event.ts';
import { SUPPORTED_VERSIONS } from '#rooms/versions.ts';
import { keyPairOf, type RoomOptions, roomOf, type TestRoom } from '#test/harness/room-builder.ts';
import {
  importRoom,
  openRooms,
  receiveFrom,
  sendState,
  sendText,
  type TestRooms,
} from '#test/harness/rooms.ts';

const eve = '@eve:elsewhere.test';
const mallory = '@mallory:evil.test';
const alice = '@alice:here.test';

import { EventGraph, type GraphEvent } from '#test/rooms/state-res/event-graph.ts';

interface Attacked extends AsyncDisposable {
  readonly server: TestRooms;
  readonly ctx: RoomsContext;
  readonly built: TestRoom;
  readonly room: Room;
}

/** A room of eve's, with mallory and our user as members. */
async function attacked(
  options: RoomOptions = {},
  more: (built: TestRoom) => void = () => {},
): Promise<Attacked> {
  const server = await openRooms();
  const built = roomOf(eve, { members: [alice, mallory], ...options });
  more(built);
  const room = await importRoom(server.ctx, built);
  return { server, ctx: server.ctx, built, room, [Symbol.asyncDispose]: () => server[Symbol.asyncDispose]() };
}

async function stateIds({ ctx, room }: Attacked): Promise<string[]> {
  return (await currentState(ctx, room.roomNid)).map(({ event }) => event.eventId).sort();
}

async function contentOf(
  { ctx, room }: Attacked,
  type: string,
  stateKey = '',
): Promise<JsonObject | undefined> {
  return (await currentStateEvent(ctx, room.roomNid, type, stateKey))?.event.content;
}

async function membership(attacked: Attacked, userId: UserId): Promise<unknown> {
  return (await contentOf(attacked, 'm.room.member', userId))?.membership;
}

async function kindOf({ ctx, room }: Attacked, event: Event): Promise<string> {
  return (await receiveFrom(ctx, room, event)).kind;
}

/** An event of mallory's server, signed, whatever it says. */
function forged({ rules }: TestRoom, base: Event, parts: JsonObject): Event {
  const { hashes: _, signatures: __, ...bare } = base.pdu;
  return eventFrom(signEvent({ ...bare, ...parts }, rules, 'evil.test', keyPairOf('evil.test')), rules);
}

/** What the ingress check says of the text of a PDU. */
async function ingressOf({ ctx, built }: Attacked, pdu: JsonObject): Promise<string> {
  const check = () => checkIngress(ctx, built.rules, encodeCanonical(pdu));
  const first = await check();
  if (first.kind === 'missing_keys') await ctx.keyRing.ensure(first.keys);
  const ingress = first.kind === 'missing_keys' ? await check() : first;
  return ingress.kind === 'verified' && ingress.redacted ? 'redacted' : ingress.kind;
}

for (const version of ['1', '6', '11', '12']) {
  test(`row 5: v${version}: without power levels nobody but the creator sets state`, async () => {
    await using at = await attacked({ version, power_levels: null });
    const name = at.built.fork().state(mallory, 'm.room.name', '', { name: 'taken' });
    assert.equal(await kindOf(at, name), 'rejected');
    await assert.rejects(
      sendState(at.ctx, at.room, alice, { type: 'm.room.name', content: { name: 'mine' } }),
      /forbidden/,
    );
    assert.equal(await contentOf(at, 'm.room.name'), undefined);
    assert.equal(await kindOf(at, at.built.state(eve, 'm.room.name', '', { name: 'ours' })), 'accepted');
  });

  test(`row 5: v${version}: who leaves the power levels out of the auth events gets no power by it`, async () => {
    await using at = await attacked({ version });
    const without = ['m.room.create', 'm.room.member'].filter(
      (type) => type !== 'm.room.create' || at.built.rules.createInAuthEvents,
    );
    const auth_events = without.map(
      (type) => at.built.get(type, type === 'm.room.member' ? mallory : '')?.eventId ?? '$',
    );
    const content = { users: { [mallory]: 100 } };
    const power = at.built.fork().send(mallory, {
      type: 'm.room.power_levels',
      state_key: '',
      content,
      auth_events: auth_events as EventId[],
    });
    const before = await stateIds(at);
    assert.equal(await kindOf(at, power), 'rejected');
    assert.deepEqual(await stateIds(at), before);
  });
}

for (const version of SUPPORTED_VERSIONS) {
  test(`row 13: v${version}: a redaction of m.room.create takes nothing of it, also after a restart`, async () => {
    const users: JsonObject = version === '12' ? { [mallory]: 100 } : { [eve]: 100, [mallory]: 100 };
    await using at = await attacked({ version, power_levels: { users } });
    const { built, ctx } = at;
    const redacts = built.create.eventId;
    const inContent = built.rules.redactsInContent;
    const redaction = built.send(mallory, {
      type: 'm.room.redaction',
      content: inContent ? { redacts } : {},
      ...(!inContent && { pdu: { redacts } }),
    });
    assert.equal(await kindOf(at, redaction), 'accepted');
    await at.server.restart();
    const now = { ...at, ctx: at.server.ctx };
    const content = await contentOf(now, 'm.room.create');
    // Version 1 is what a room without a version is, so that a room of a later one would turn into it.
    assert.equal(content?.room_version, version);
    assert.equal((await getRoom(now.ctx, built.roomId))?.rules.version, version);
    assert.equal(await kindOf(now, built.message(eve, 'the room goes on')), 'accepted');
    assert.notEqual(ctx, now.ctx);
  });

  test(`row 21: v${version}: an event that events of another room authorise is rejected, on whatever way it comes`, async () => {
    await using at = await attacked({ version });
    const { ctx, room, built } = at;
    // Somebody who is not in the room, and stands above all in another one.
    const stranger = '@stranger:evil.test';
    const foreign = roomOf(stranger, { version });
    await importRoom(ctx, foreign);
    const keys: [string, string][] = [
      ['m.room.power_levels', ''],
      ['m.room.member', stranger],
    ];
    if (built.rules.createInAuthEvents) keys.push(['m.room.create', '']);
    const auth_events = keys.flatMap(([type, stateKey]) => foreign.get(type, stateKey)?.eventId ?? []);
    assert.equal(auth_events.length, keys.length);
    const before = await stateIds(at);
    for (const as of ['live', 'outlier', 'history'] as const) {
      const options = { type: 'm.room.name', state_key: '', content: { name: as }, auth_events };
      const event = built.fork().send(stranger, options);
      assert.equal((await receiveFrom(ctx, room, event, { as })).kind, 'rejected', as);
    }
    assert.deepEqual(await stateIds(at), before);
  });
}

test('row 14: a redaction by who has no right to it is kept and has no effect', async () => {
  for (const version of ['1', '3', '10', '11', '12']) {
    await using at = await attacked({ version });
    const { built, ctx, room } = at;
    const said = built.message(eve, 'said');
    assert.equal(await kindOf(at, said), 'accepted');
    const redactionOf = (sender: UserId, redacts: EventId) =>
      built.fork().send(sender, {
        type: 'm.room.redaction',
        content: built.rules.redactsInContent ? { redacts } : {},
        ...(!built.rules.redactsInContent && { pdu: { redacts } }),
      });
    await receiveFrom(ctx, room, redactionOf(mallory, said.eventId));
    assert.equal((await loadEvent(ctx, said.eventId))?.event.content.body, 'said', version);
    // In another room mallory may redact all.
    const foreign = roomOf(mallory, { version, members: [alice] });
    const otherRoom = await importRoom(ctx, foreign);
    const across = foreign.send(mallory, {
      type: 'm.room.redaction',
      content: foreign.rules.redactsInContent ? { redacts: said.eventId } : {},
      ...(!foreign.rules.redactsInContent && { pdu: { redacts: said.eventId } }),
    });
    await receiveFrom(ctx, otherRoom, across);
    assert.equal((await loadEvent(ctx, said.eventId))?.event.content.body, 'said', version);
  }
});

test('row 15: redactions of one another, and of themselves, end', async () => {
  for (const version of ['1', '2']) {
    await using at = await attacked({ version });
    const { built } = at;
    const ids = ['$one:evil.test', '$two:evil.test', '$three:evil.test'] as const;
    const redacting = (event_id: EventId, redacts: EventId) =>
      built.send(mallory, { type: 'm.room.redaction', pdu: { event_id, redacts } });
    for (const [event_id, redacts] of [
      [ids[0], ids[1]],
      [ids[1], ids[0]],
      [ids[2], ids[2]],
    ] as const) {
      assert.equal(await kindOf(at, redacting(event_id, redacts)), 'accepted');
    }
    for (const eventId of ids) assert.ok(isPlaced(await loadEvent(at.ctx, eventId)));
    await sendText(at.ctx, at.room, alice, 'the room goes on');
  }
  // From version 3 an id is a hash: only what is there can be redacted, and the redaction of that.
  await using at = await attacked();
  const said = at.built.message(mallory, 'said');
  await kindOf(at, said);
  let redacts = said.eventId;
  for (let count = 0; count < 20; count++) {
    const redaction = at.built.send(mallory, { type: 'm.room.redaction', content: { redacts } });
    assert.equal(await kindOf(at, redaction), 'accepted');
    redacts = redaction.eventId;
  }
  assert.deepEqual((await loadEvent(at.ctx, said.eventId))?.event.content, {});
});

test('row 23: an event upon one that is only part of some state leaves the state as it is', async () => {
  for (const version of ['2', '11', '12']) {
    await using at = await attacked({ version });
    const { ctx, room, built } = at;
    const line = built.fork();
    const outlier = line.state(eve, 'm.room.name', '', { name: 'nobody has placed it' });
    assert.equal((await receiveFrom(ctx, room, outlier, { as: 'outlier' })).kind, 'accepted');
    const before = await stateIds(at);
    const upon = line.message(mallory, 'upon it');
    assert.equal(await kindOf(at, upon), 'missing');
    const told = [...built.stateMap.values()].map(({ eventId }) => eventId);
    await receiveFrom(ctx, room, upon, { as: 'live', stateBefore: told });
    assert.deepEqual(await stateIds(at), before);
  }
});

test('row 24: forks with malformed power levels, memberships and join rules are resolved, and the room goes on', async () => {
  const odd: JsonObject[] = [
    { users: { [eve]: '100' }, ban: null, events: { a: '7' } },
    { users: { [eve]: 100 }, kick: [], notifications: 7, users_default: {} },
    { users: { [eve]: 100.5 }, invite: '-5 ', state_default: '50.5' },
  ];
  for (const version of SUPPORTED_VERSIONS) {
    await using at = await attacked({ version });
    const { built } = at;
    const users = (content: JsonObject): JsonObject =>
      version === '12' ? { ...content, users: {} } : content;
    for (const content of odd) await kindOf(at, fractionless(built, users(content)));
    await kindOf(at, built.fork().state(eve, 'm.room.join_rules', '', { join_rule: 7, allow: 'x' }));
    await kindOf(at, built.fork().state(eve, 'm.room.history_visibility', '', { history_visibility: [] }));
    await kindOf(at, built.fork().member(eve, '@new:evil.test', 'invite', { displayname: [] }));
    assert.equal(
      await kindOf(at, built.fork().state(eve, 'm.room.member', mallory, { membership: 5 })),
      'rejected',
    );
    const sent = await sendText(at.ctx, at.room, alice, 'the room goes on');
    assert.ok(isPlaced(await loadEvent(at.ctx, sent.eventId)));
    assert.equal(await membership(at, eve), 'join');
  }
});

/** From version 6 there are no fractions in an event at all. */
function fractionless(built: TestRoom, content: JsonObject): Event {
  const { users } = content;
  const whole =
    built.rules.strictJson && JSON.stringify(users).includes('.5')
      ? { ...content, users: { [eve]: 101 } }
      : content;
  return built.fork().state(eve, 'm.room.power_levels', '', whole);
}

test('row 49: a rejected state event does not come back by the state that a server tells', async () => {
  for (const version of ['2', '11', '12']) {
    await using at = await attacked({ version });
    const { ctx, room, built } = at;
    const line = built.fork();
    const taken = line.state(mallory, 'm.room.power_levels', '', { users: { [mallory]: 100 } });
    assert.equal(await kindOf(at, taken), 'rejected');
    line.message(mallory, 'missing');
    const upon = line.message(mallory, 'upon it');
    const told = [...built.fork().stateMap.values(), taken].map(({ eventId }) => eventId);
    await receiveFrom(ctx, room, upon, { as: 'live', stateBefore: told });
    const state = await stateIds(at);
    assert.ok(!state.includes(taken.eventId));
    assert.equal(await kindOf(at, built.message(eve, 'the room goes on')), 'accepted');
  }
});

test('row 81: the level for messages counts, however the levels are given', async () => {
  const levels: readonly (readonly [JsonObject, boolean])[] = [
    [{ events_default: 50 }, false],
    [{ events_default: 0 }, true],
    [{ events_default: -1 }, true],
    [{}, true],
    [{ events: { 'm.room.message': 1 } }, false],
    [{ events: { 'm.room.message': 0 }, events_default: 50 }, true],
    [{ users_default: 50, events_default: 50 }, true],
    [{ users_default: -1 }, false],
    [{ events_default: Number.MAX_SAFE_INTEGER }, false],
  ];
  for (const version of ['1', '10', '12']) {
    for (const [content, isAllowed] of levels) {
      const built = roomOf(eve, { version, members: [mallory] });
      built.state(eve, 'm.room.power_levels', '', {
        users: version === '12' ? {} : { [eve]: 100 },
        ...content,
      });
      const verdict = built.verdict(mallory, { type: 'm.room.message', content: {} });
      assert.equal(verdict === undefined, isAllowed, `v${version} ${JSON.stringify(content)}: ${verdict}`);
    }
  }
});

test('row 88: limits are counted in bytes, and what canonical JSON has not is refused', async () => {
  await using at = await attacked();
  const base = at.built.draft(mallory, { type: 'm.room.message', content: {} });
  const smile = '\u{1f600}';
  assert.equal(await ingressOf(at, forged(at.built, base, { type: smile.repeat(63) }).pdu), 'verified');
  assert.equal(await ingressOf(at, forged(at.built, base, { type: smile.repeat(64) }).pdu), 'dropped');
  for (const number of ['1.5', '-0', '1e2', '9007199254740992']) {
    const text = forged(at.built, base, { content: { n: 1 } }).json.replace('"n":1', `"n":${number}`);
    assert.equal((await checkIngress(at.ctx, at.built.rules, text)).kind, 'dropped', number);
  }
});

test('row 69: integers beyond 2^53 anywhere in an event drop that event', async () => {
  await using at = await attacked();
  const base = at.built.draft(mallory, { type: 'm.room.message', content: { n: 4242 } }).pdu;
  const places: JsonObject[] = [
    { depth: 4242 },
    { origin_server_ts: 4242 },
    { unsigned: { age: 4242 } },
    { content: { a: [{ b: 4242 }] } },
    { hashes: { ...(base.hashes as JsonObject), n: 4242 } },
    { 'org.example': 4242 },
  ];
  for (const parts of places) {
    const event = forged(at.built, eventFrom(base, at.built.rules), parts);
    const text = encodeCanonical({ ...event.pdu, ...parts }).replaceAll('4242', '9007199254740993');
    assert.equal((await checkIngress(at.ctx, at.built.rules, text)).kind, 'dropped', JSON.stringify(parts));
  }
});

test('row 108: an auth event that is no state event, or is named twice, has the event rejected', async () => {
  for (const version of ['1', '11', '12']) {
    await using at = await attacked({ version });
    const message = at.built.message(mallory, 'no state');
    await kindOf(at, message);
    const usual = at.built.draft(mallory, { type: 'm.room.message' }).authEvents;
    for (const auth_events of [
      [...usual, message.eventId],
      [message.eventId],
      [...usual, ...usual.slice(-1)],
      [],
    ]) {
      const event = at.built.fork().send(mallory, { type: 'm.room.message', auth_events });
      assert.equal(await kindOf(at, event), 'rejected', `v${version}`);
    }
  }
});

test('row 61: branching auth chains are walked once, however many ways lead through them', async () => {
  await using at = await attacked({ version: '11' });
  const { built } = at;
  // Each cites the one before and its twin: by ways there would be 2^60.
  for (let count = 0; count < 60; count++) {
    const content = { users: { [eve]: 100 }, count };
    const twin = built.fork().state(eve, 'm.room.power_levels', '', { ...content, twin: true });
    const power = built.state(eve, 'm.room.power_levels', '', content);
    assert.equal(await kindOf(at, twin), 'accepted');
    assert.equal(await kindOf(at, power), 'accepted');
  }
  await sendText(at.ctx, at.room, alice, 'the room goes on');
});

test('row 71: there is one create event, and another one changes nothing', async () => {
  for (const version of ['1', '11']) {
    await using at = await attacked({ version });
    const content = { room_version: version, creator: eve, other: true };
    const before = await stateIds(at);
    const options = { type: 'm.room.create', state_key: '', content, auth_events: [] };
    const second = at.built.fork().send(eve, { ...options, prev_events: [] });
    assert.equal(await kindOf(at, second), 'rejected');
    assert.equal(await kindOf(at, at.built.fork().send(eve, options)), 'rejected');
    assert.deepEqual(await stateIds(at), before);
  }
});

test('row 134: who tells an old state as the one before an event gets nothing back that was taken since', async () => {
  await using at = await attacked({ version: '12' }, (built) => {
    built.state(eve, 'm.room.power_levels', '', { users: { [mallory]: 50 } });
  });
  const { built, ctx, room } = at;
  const old = [...built.stateMap.values()].map(({ eventId }) => eventId);
  const demoted = built.state(eve, 'm.room.power_levels', '', { users: { [mallory]: 0 } });
  assert.equal(await kindOf(at, demoted), 'accepted');
  const ban = built.ban(eve, mallory);
  assert.equal(await kindOf(at, ban), 'accepted');
  const line = built.fork();
  line.message(eve, 'nobody has it');
  const name = line.send(mallory, {
    ...{ type: 'm.room.name', state_key: '', content: { name: 'by old power' } },
    auth_events: [built.get('m.room.power_levels'), built.get('m.room.member', mallory)].flatMap((event) =>
      event === undefined ? [] : [event.eventId],
    ),
  });
  const verdict = await receiveFrom(ctx, room, name, { as: 'live', stateBefore: old });
  assert.notEqual(verdict.kind, 'accepted');
  assert.equal(await membership(at, mallory), 'ban');
  assert.equal(await contentOf(at, 'm.room.name'), undefined);
});

test('row 135: v12: the room is its create event: no room_id in it, none among the auth events, no other room', async () => {
  await using at = await attacked({ version: '12' });
  const { built } = at;
  const create = built.create.pdu;
  const named = eventFrom(
    signEvent(
      { ...withoutSeal(create), room_id: built.roomId },
      built.rules,
      'elsewhere.test',
      keyPairOf('elsewhere.test'),
    ),
    built.rules,
  );
  assert.equal(await kindOf(at, named), 'rejected');
  const usual = built.draft(mallory, { type: 'm.room.message' }).authEvents;
  const cites = built
    .fork()
    .send(mallory, { type: 'm.room.message', auth_events: [...usual, built.create.eventId] });
  assert.equal(await kindOf(at, cites), 'rejected');
  const elsewhere = forged(built, built.draft(mallory, { type: 'm.room.message' }), {
    room_id: `!${built.last.eventId.slice(1)}`,
  });
  assert.equal(await kindOf(at, elsewhere), 'rejected');
});

function withoutSeal({ hashes: _, signatures: __, ...pdu }: JsonObject): JsonObject {
  return pdu;
}

test('row 136: v12: creators are above all levels, and nobody makes or unmakes them', async () => {
  await using at = await attacked({
    version: '12',
    create: { additional_creators: ['@second:elsewhere.test'] },
  });
  const { built } = at;
  for (const creator of [eve, '@second:elsewhere.test']) {
    const users = { [creator]: 100 };
    assert.equal(await kindOf(at, built.fork().state(eve, 'm.room.power_levels', '', { users })), 'rejected');
  }
  const greatest = { users: { [mallory]: Number.MAX_SAFE_INTEGER } };
  assert.equal(await kindOf(at, built.state(eve, 'm.room.power_levels', '', greatest)), 'accepted');
  assert.equal(await kindOf(at, built.fork().kick(mallory, eve)), 'rejected');
  assert.equal(await kindOf(at, built.fork().ban(mallory, eve)), 'rejected');
  for (const additional_creators of ['@a:b.test', [7], ['x'], { a: 1 }]) {
    const create = roomOf(eve, { version: '12', create: { additional_creators } as JsonObject }).create;
    assert.match(built.refusal(create)?.reason ?? '', /additional_creators/);
  }
});

test('row 140: the id of an event is its hash: a claimed one is not looked at, and copies are one event', async () => {
  for (const version of ['3', '4', '12']) {
    await using at = await attacked({ version });
    const { built } = at;
    const victim = built.message(eve, 'the first');
    await kindOf(at, victim);
    const claims = forged(
      built,
      built.draft(mallory, { type: 'm.room.message', content: { body: 'second' } }),
      {
        event_id: victim.eventId,
      },
    );
    assert.notEqual(claims.eventId, victim.eventId);
    assert.equal(await kindOf(at, claims), 'accepted');
    assert.equal((await loadEvent(at.ctx, victim.eventId))?.event.content.body, 'the first');
    const copy = {
      ...victim.pdu,
      unsigned: { age: 5 },
      signatures: { ...(victim.pdu.signatures as JsonObject), 'evil.test': { 'ed25519:x': 'AAAA' } },
    };
    assert.equal(eventFrom(copy, built.rules).eventId, victim.eventId);
    assert.equal(await kindOf(at, eventFrom(copy, built.rules)), 'known');
  }
});

test('row 141: each version reads an event by its own rules', async () => {
  const floats = { users: { [eve]: 100 }, ban: 50.5 };
  const texts = { users: { [eve]: '100' } };
  const verdicts = async (version: string) => {
    await using at = await attacked({ version });
    const redacted = (content: JsonObject) =>
      at.built.fork().send(eve, { type: 'm.room.power_levels', state_key: '', content });
    const seen: string[] = [];
    for (const content of [floats, texts]) {
      const event = redacted(content);
      const ingress = await ingressOf(at, event.pdu);
      seen.push(ingress === 'verified' ? await kindOf(at, event) : ingress);
    }
    return seen;
  };
  assert.deepEqual(await verdicts('5'), ['accepted', 'accepted']);
  assert.deepEqual(await verdicts('6'), ['dropped', 'accepted']);
  assert.deepEqual(await verdicts('9'), ['dropped', 'accepted']);
  assert.deepEqual(await verdicts('10'), ['dropped', 'rejected']);
});

test('row 142: from version 5 a key signs only what was sent while it was valid', async () => {
  for (const version of SUPPORTED_VERSIONS) {
    await using at = await attacked({ version });
    const late = at.ctx.clock.now() + 30 * 24 * 60 * 60_000;
    const event = at.built.draft(mallory, { type: 'm.room.message', origin_server_ts: late });
    assert.notEqual(
      (await ingressOf(at, event.pdu)) === 'verified',
      at.built.rules.strictKeyValidity,
      version,
    );
  }
});

test('row 144: a restricted room is entered with the word of a member who may invite, signed by their server', async () => {
  for (const version of ['8', '9', '10', '11', '12']) {
    await using at = await attacked({
      ...{ version, join_rule: 'restricted', power_levels: { invite: 50 } },
      allow: [{ type: 'm.room_membership', room_id: '!other:elsewhere.test' }],
    });
    const { built } = at;
    const joiner = '@joiner:evil.test';
    const joining = (authoriser: string | undefined, userId: UserId = joiner) =>
      built.fork().member(userId, userId, 'join', {
        ...(authoriser !== undefined && { join_authorised_via_users_server: authoriser }),
      });
    const signedToo = (event: Event, server: string) =>
      eventFrom(countersign(event.pdu, built.rules, server, keyPairOf(server)), built.rules);
    // Nobody's word; a word without a signature; of who is not in the room; of who may not invite.
    assert.equal(await kindOf(at, joining(undefined)), 'rejected');
    assert.equal(await ingressOf(at, joining(eve).pdu), 'dropped');
    assert.equal(
      await kindOf(at, signedToo(joining('@nobody:elsewhere.test'), 'elsewhere.test')),
      'rejected',
    );
    assert.equal(await kindOf(at, joining(mallory)), 'rejected');
    // Who is in the room already needs nobody's word, and a lie about it has to be signed all the same.
    assert.equal(await ingressOf(at, joining(eve, mallory).pdu), 'dropped');
    assert.equal(await kindOf(at, joining(undefined, mallory)), 'accepted');
    assert.equal(await kindOf(at, signedToo(joining(eve), 'elsewhere.test')), 'accepted');
    assert.equal(await membership(at, joiner), 'join');
  }
});

test('row 145: a third-party invite needs a token of the room, signed for this user by a key that the room names', async () => {
  const identity = keyPairOf('id.test');
  const invited = '@invited:evil.test';
  const signed = (mxid: string, token: string, keyPair = identity) =>
    signJson({ mxid, token, sender: eve }, 'id.test', keyPair);
  for (const version of SUPPORTED_VERSIONS) {
    await using at = await attacked({ version }, (built) => {
      built.state(eve, 'm.room.third_party_invite', 'token', {
        display_name: 'i',
        public_key: identity.publicKey,
      });
      built.state(eve, 'm.room.third_party_invite', 'revoked', {});
    });
    const { built } = at;
    const inviting = (sender: UserId, signed: JsonObject) =>
      built.fork().send(sender, {
        ...{ type: 'm.room.member', state_key: invited },
        content: { membership: 'invite', third_party_invite: { display_name: 'i', signed } },
      });
    const wrong = {
      'another token': inviting(eve, signed(invited, 'other')),
      'a revoked token': inviting(eve, signed(invited, 'revoked')),
      'another user': inviting(eve, signed('@other:evil.test', 'token')),
      'another sender': inviting(mallory, signed(invited, 'token')),
      'another key': inviting(eve, signed(invited, 'token', keyPairOf('evil.test'))),
      'no signature': inviting(eve, { mxid: invited, token: 'token', signatures: {} }),
    };
    for (const [what, event] of Object.entries(wrong))
      assert.equal(await kindOf(at, event), 'rejected', what);
    assert.equal(await kindOf(at, inviting(eve, signed(invited, 'token'))), 'accepted', version);
    assert.equal(await membership(at, invited), 'invite');
  }
});

test('row 146: a knock is taken where the version and the join rule have it, and nowhere else', () => {
  for (const version of SUPPORTED_VERSIONS) {
    for (const join_rule of ['public', 'invite', 'knock', 'restricted', 'knock_restricted', 'private', 'x']) {
      const built = roomOf(eve, { version, join_rule });
      const verdict = built.verdict(mallory, {
        ...{ type: 'm.room.member', state_key: mallory, content: { membership: 'knock' } },
      });
      const { knocking, knockRestrictedJoins } = built.rules;
      const isTaken =
        join_rule === 'knock' ? knocking : join_rule === 'knock_restricted' && knockRestrictedJoins;
      assert.equal(verdict === undefined, isTaken, `v${version} ${join_rule}: ${verdict}`);
    }
  }
});

test('row 147: who was banned does not come back, or speak, by a fork from before the ban', async () => {
  for (const version of SUPPORTED_VERSIONS) {
    await using at = await attacked({ version, join_rule: 'public' });
    const { built, ctx, room } = at;
    const line = built.fork();
    assert.equal(await kindOf(at, built.ban(eve, mallory)), 'accepted');
    const head = (await headOf(ctx, room.roomNid)).forwardExtremities.map(({ eventId }) => eventId);
    const said = line.message(mallory, 'from before the ban');
    assert.equal(await kindOf(at, said), 'soft_failed', version);
    const back = line.join(mallory, { displayname: 'back' });
    assert.equal(await kindOf(at, back), 'soft_failed', version);
    const after = (await headOf(ctx, room.roomNid)).forwardExtremities.map(({ eventId }) => eventId);
    assert.deepEqual(after, head);
    assert.equal(await membership(at, mallory), 'ban');
    assert.equal((await loadEvent(ctx, said.eventId))?.position, undefined);
    await sendText(ctx, room, alice, 'the room goes on');
    assert.equal(await membership(at, mallory), 'ban');
  }
});

test('row 152: an event whose content was altered is kept in its redacted form, and the whole one replaces nothing', async () => {
  for (const version of ['1', '6', '12']) {
    await using at = await attacked({ version });
    const { built, ctx, room } = at;
    const said = built.message(eve, 'said');
    const altered = { ...said.pdu, content: { msgtype: 'm.text', body: 'never said' } };
    const ingress = await checkIngress(ctx, built.rules, encodeCanonical(altered));
    assert.ok(ingress.kind === 'verified' && ingress.redacted);
    assert.equal((await receive(ctx, room, ingress.event, { as: 'live' })).kind, 'accepted');
    assert.deepEqual((await loadEvent(ctx, said.eventId))?.event.content, {});
  }
});

test('row 176: hundreds of forks leave few forward extremities', async () => {
  await using at = await attacked();
  const { built, ctx, room } = at;
  for (let count = 0; count < 200; count++) {
    await kindOf(at, built.fork().message(mallory, `head ${count}`));
    const { forwardExtremities } = await headOf(ctx, room.roomNid);
    assert.ok(forwardExtremities.length <= 40, `${forwardExtremities.length}`);
  }
  const sent = await sendText(ctx, room, alice, 'the room goes on');
  assert.ok(isPlaced(await loadEvent(ctx, sent.eventId)));
});

for (const [problem, name] of [
  ['A', 'sender-left'],
  ['B', 'between-conflicted'],
]) {
  test(`row 70: problem ${problem} of MSC4297: what version 11 resets to an older state stays in version 12`, () => {
    const resolved = ['v2', 'v2.1'].map((algorithm) => {
      const fixture = readFixture(`${name}-${algorithm}.json`);
      const graph = new EventGraph(algorithm === 'v2' ? '11' : '12');
      for (const event of fixture.events) graph.add(event);
      const states = fixture.states.map((names) => graph.stateOf(names));
      const ids = [...graph.resolve(states).values()].map((eventId) => eventId.slice(1)).sort();
      assert.deepEqual(ids, [...fixture.resolved].sort());
      return { events: fixture.events, states: fixture.states, ids };
    });
    const [old, now] = resolved;
    assert.deepEqual([old?.events, old?.states], [now?.events, now?.states]);
    assert.ok(now?.ids.includes('power-2'));
    assert.ok(old?.ids.includes('power-2') === false);
  });
}

interface Fixture {
  readonly events: readonly GraphEvent[];
  readonly states: readonly (readonly string[])[];
  readonly resolved: readonly string[];
}

function readFixture(name: string): Fixture {
  const path = new URL(`../rooms/state-res/fixtures/${name}`, import.meta.url);
  return JSON.parse(readFileSync(path, 'utf8')) as Fixture;
}

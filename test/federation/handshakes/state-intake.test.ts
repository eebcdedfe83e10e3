import assert from 'node:assert/strict';
import { test } from 'node:test';
import { StateIntake } from '#federation/handshakes/state-intake.ts';
import { KeyRing } from '#keys/key-ring.ts';
import type { ServerKeys } from '#keys/server-key-document.ts';
import type { RoomsContext } from '#rooms/context.ts';
import { keyPairOf, roomOf } from '#test/harness/room-builder.ts';
import { openRooms } from '#test/harness/rooms.ts';

const eve = '@eve:elsewhere.test';
const mallory = '@mallory:silent.test';

/** With a key ring whose keys must be fetched: some servers answer, others do not. */
function withKeysOf(ctx: RoomsContext, answers: (server: string) => Promise<boolean>): RoomsContext {
  const keyRing = new KeyRing({
    own: { serverName: ctx.serverName, signingKey: ctx.signingKey },
    clock: ctx.clock,
    load: async () => undefined,
    fetch: async (serverName): Promise<ServerKeys | undefined> => {
      if (!(await answers(serverName))) return undefined;
      const { keyId, publicKey } = keyPairOf(serverName);
      const times = { validUntilTs: ctx.clock.now() + 86_400_000, fetchedTs: ctx.clock.now() };
      return { serverName, ...times, keys: new Map([[keyId, { publicKey }]]), document: {} };
    },
    store: async () => {},
  });
  return { ...ctx, keyRing };
}

const never = new AbortController().signal;

test('events whose keys come late wait for them, those without keys are left out, the others are there', async () => {
  await using server = await openRooms();
  const late = Promise.withResolvers<boolean>();
  const ctx = withKeysOf(server.ctx, async (name) => (name === 'silent.test' ? false : late.promise));
  const built = roomOf(eve, { members: [mallory], join_rule: 'public' });
  const events = [...built.stateMap.values()];
  using intake = new StateIntake(ctx, built.rules, { signal: never, patienceMs: 0 });
  await intake.take(
    'state',
    events.map(({ json }) => json),
  );
  assert.equal(intake.told.told.length, 0);
  late.resolve(true);
  await intake.finish();
  const told = [...intake.told.told].map((number) => intake.told.idOf(number)).sort();
  const expected = events.filter(({ sender }) => sender !== mallory).map(({ eventId }) => eventId);
  assert.deepEqual(told, expected.sort());
  assert.equal(intake.dropped, events.length - expected.length);
  assert.match(intake.firstDropped?.reason ?? '', /silent\.test/);
});

test('keys that come at once are waited for, once for all events of a server', async () => {
  await using server = await openRooms();
  const asked: string[] = [];
  const ctx = withKeysOf(server.ctx, async (name) => asked.push(name) > 0);
  const built = roomOf(eve, { join_rule: 'public' });
  for (let number = 0; number < 100; number++) built.join(`@user${number}:server${number % 3}.test`);
  const events = [...built.stateMap.values()];
  using intake = new StateIntake(ctx, built.rules, { signal: never });
  await intake.take(
    'state',
    events.map(({ json }) => json),
  );
  assert.equal(intake.told.told.length, events.length);
  assert.deepEqual(asked.sort(), ['elsewhere.test', 'server0.test', 'server1.test', 'server2.test']);
});

test('what is no event is left out alone, and only what the state lacks is worth a word', async () => {
  await using server = await openRooms();
  const built = roomOf(eve, { join_rule: 'public' });
  using intake = new StateIntake(server.ctx, built.rules, { signal: never });
  const bad = ['7', 'null', '[]', '{', '{"type":1}', undefined];
  await intake.take('auth_chain', [...bad, built.create.json]);
  assert.equal(intake.dropped, 0);
  await intake.take('state', [...bad, built.create.json]);
  assert.equal(intake.dropped, bad.length);
  assert.equal(intake.told.told.length, 1);
});

for (const version of ['2', '9', '12']) {
  test(`v${version}: an event of a time that no key is valid at does not keep the keys of its server from the others`, async () => {
    await using server = await openRooms();
    const ctx = withKeysOf(server.ctx, async () => true);
    const built = roomOf(eve, { version, join_rule: 'public' });
    const events = [...built.stateMap.values()];
    const late = { type: 'test.late', state_key: '', origin_server_ts: Number.MAX_SAFE_INTEGER };
    const { json } = built.draft(eve, late);
    using intake = new StateIntake(ctx, built.rules, { signal: never });
    await intake.take('state', [json, ...events.map((event) => event.json)]);
    await intake.finish();
    // "The signing key validity period [...] must be enforced" from version 5.
    const isTaken = !built.rules.strictKeyValidity;
    assert.equal(intake.told.told.length, events.length + Number(isTaken));
    assert.equal(intake.dropped, Number(!isTaken));
  });
}

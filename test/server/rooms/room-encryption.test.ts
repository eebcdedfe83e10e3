import assert from 'node:assert/strict';
import { test } from 'node:test';
import type { Config } from '#server/config-options.ts';
import { type Answer, register, request, type TestClient } from '#test/harness/client.ts';
import { partner } from '#test/harness/partner.ts';
import { startServer } from '#test/harness/server.ts';

const MEGOLM = { algorithm: 'm.megolm.v1.aes-sha2' };
const PRESETS = ['private_chat', 'trusted_private_chat', 'public_chat'] as const;

const inRoom = (roomId: string): string => `/rooms/${encodeURIComponent(roomId)}`;

async function encryptionOf(client: TestClient, roomId: string): Promise<Answer> {
  return client.try('GET', `${inRoom(roomId)}/state/m.room.encryption`);
}

function encryptionState(content: object): object {
  return { initial_state: [{ type: 'm.room.encryption', content }] };
}

const modes: [Config['encryptionByDefault'], readonly boolean[]][] = [
  ['off', [false, false, false]],
  ['invite', [true, true, false]],
  ['all', [true, true, true]],
];
for (const [mode, expected] of modes) {
  test(`encryption_by_default: ${mode} encrypts new rooms by their preset, and clients are told`, async () => {
    await using server = await startServer({
      encryptionByDefault: mode,
      publicBaseurl: 'https://matrix.kurir.test',
    });
    const alice = await register(server);
    for (const [at, preset] of PRESETS.entries()) {
      const { status, body } = await encryptionOf(alice, await alice.createRoom({ preset }));
      assert.deepEqual(
        status === 200 ? body : body.errcode,
        expected[at] === true ? MEGOLM : 'M_NOT_FOUND',
        preset,
      );
    }
    const { unstable_features: features } = (await request(server, 'GET', '/_matrix/client/versions')).body;
    assert.deepEqual(
      ['private', 'trusted_private', 'public'].map((name) => features[`io.element.e2ee_forced.${name}`]),
      expected,
    );
    const { body: wellKnown } = await request(server, 'GET', '/.well-known/matrix/client');
    assert.deepEqual(
      wellKnown['io.element.e2ee'],
      mode === 'off' ? undefined : { default: true, secure_backup_required: false },
    );
  });
}

test('what the client says of encryption takes precedence, and spaces are not encrypted', async () => {
  await using server = await startServer({ encryptionByDefault: 'all', secureBackupRequired: true });
  const alice = await register(server);
  const own = { ...MEGOLM, rotation_period_msgs: 7 };
  assert.deepEqual((await encryptionOf(alice, await alice.createRoom(encryptionState(own)))).body, own);
  const without = await encryptionOf(alice, await alice.createRoom(encryptionState({})));
  assert.deepEqual(without.body, {});
  const space = await alice.createRoom({ creation_content: { type: 'm.space' } });
  assert.equal((await encryptionOf(alice, space)).status, 404);
  const visible = await alice.post('/createRoom', { visibility: 'public' });
  assert.deepEqual(
    (await encryptionOf(alice, visible.room_id)).body,
    MEGOLM,
    'by the preset of its visibility',
  );
});

test('encryption_forced: no room is made without it, and nobody turns it off', async () => {
  await using server = await startServer({ encryptionByDefault: 'invite', encryptionForced: true });
  const alice = await register(server);
  const preset = { preset: 'private_chat' };
  for (const content of [{}, { algorithm: '' }, { algorithm: 5 }]) {
    const answer = await alice.try('POST', '/createRoom', { ...preset, ...encryptionState(content) });
    assert.deepEqual([answer.status, answer.body.errcode], [403, 'M_FORBIDDEN'], JSON.stringify(content));
  }
  const roomId = await alice.createRoom({ ...preset, ...encryptionState(MEGOLM) });
  const path = `${inRoom(roomId)}/state/m.room.encryption`;
  const off = await alice.try('PUT', path, {});
  assert.deepEqual([off.status, off.body.errcode], [403, 'M_FORBIDDEN']);
  const { event_id: eventId } = await alice.get(`${path}?format=event`);
  const redacted = await alice.try('PUT', `${inRoom(roomId)}/redact/${eventId}/t1`, {});
  assert.deepEqual([redacted.status, redacted.body.errcode], [403, 'M_FORBIDDEN']);
  await alice.put(path, { ...MEGOLM, rotation_period_msgs: 7 });
  // What is not in force any more, and messages, are redacted as ever.
  await alice.put(`${inRoom(roomId)}/redact/${eventId}/t2`);
  await alice.put(`${inRoom(roomId)}/redact/${await alice.send(roomId, 'hello')}/t3`);
  const open = await alice.createRoom({ preset: 'public_chat', ...encryptionState({}) });
  assert.deepEqual((await encryptionOf(alice, open)).body, {});
  // Nobody learns of a room by what is refused.
  const bob = await register(server);
  const other = await bob.try('PUT', path, {});
  const unknown = await bob.try('PUT', `${inRoom('!unknown:kurir.test')}/state/m.room.encryption`, {});
  assert.deepEqual([other.status, other.body.errcode], [unknown.status, unknown.body.errcode]);
});

test('a room with users of a partner who cannot read encrypted messages is made without encryption', async () => {
  await using server = await startServer({ encryptionByDefault: 'all', encryptionForced: true });
  await server.ctx.partners.put(partner('rocket.test', { profile: 'rocketchat' }));
  const alice = await register(server);
  const invite = ['@rocky:rocket.test'];
  const { room_id: roomId } = await alice.post('/createRoom', { preset: 'private_chat', invite });
  assert.equal((await encryptionOf(alice, roomId)).status, 404);
  const asked = { preset: 'private_chat', invite, ...encryptionState(MEGOLM) };
  const refused = await alice.try('POST', '/createRoom', asked);
  assert.equal(refused.status, 403);
  assert.match(refused.body.error, /cannot read encrypted messages/);
});

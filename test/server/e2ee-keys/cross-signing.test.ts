import assert from 'node:assert/strict';
import { after, test } from 'node:test';
import type { JsonObject } from '#keys/json.ts';
import { type Answer, login, register, type TestClient } from '#test/harness/client.ts';
import {
  type CrossSigning,
  crossSigningOf,
  deviceSigner,
  queryKeys,
  signedBy,
  uploadDeviceKeys,
} from '#test/harness/encryption.ts';
import { startServer } from '#test/harness/server.ts';

const server = await startServer();
after(() => server[Symbol.asyncDispose]());

const UPLOAD = '/keys/device_signing/upload';

function passwordOf({ userId, password }: TestClient, session: string): JsonObject {
  return { type: 'm.login.password', identifier: { type: 'm.id.user', user: userId }, password, session };
}

/** Uploads keys as clients do: with the password, once the server has asked for it. */
async function uploadConfirmed(client: TestClient, body: object): Promise<Answer> {
  const first = await client.try('POST', UPLOAD, body);
  assert.equal(first.status, 401);
  assert.deepEqual(first.body.flows, [{ stages: ['m.login.password'] }]);
  return client.try('POST', UPLOAD, { ...body, auth: passwordOf(client, first.body.session) });
}

async function signing(): Promise<{ alice: TestClient; keys: CrossSigning }> {
  const alice = await register(server);
  const keys = crossSigningOf(alice.userId);
  assert.deepEqual(await alice.post(UPLOAD, keys.body), {});
  return { alice, keys };
}

test('row 174: the first keys, and the same ones again, need no confirmation; other ones need the password', async () => {
  const { alice, keys } = await signing();
  const { device_keys: _, failures: __, ...seen } = await queryKeys(alice, [alice.userId]);
  assert.deepEqual(seen, {
    master_keys: { [alice.userId]: keys.body.master_key },
    self_signing_keys: { [alice.userId]: keys.body.self_signing_key },
    user_signing_keys: { [alice.userId]: keys.body.user_signing_key },
  });
  assert.equal((await alice.try('POST', UPLOAD, keys.body)).status, 200);
  const part = { self_signing_key: keys.body.self_signing_key };
  assert.equal((await alice.try('POST', UPLOAD, part)).status, 200);

  const others = crossSigningOf(alice.userId);
  assert.equal((await alice.try('POST', UPLOAD, { ...others.body, auth: {} })).status, 401);
  const wrong = { ...passwordOf(alice, ''), password: 'wrong' };
  assert.equal((await alice.try('POST', UPLOAD, { ...others.body, auth: wrong })).status, 401);
  assert.deepEqual((await queryKeys(alice, [alice.userId])).master_keys[alice.userId], keys.body.master_key);
  assert.equal((await uploadConfirmed(alice, others.body)).status, 200);
  const after = await queryKeys(alice, [alice.userId]);
  assert.deepEqual(after.master_keys[alice.userId], others.body.master_key);
});

test('a new self-signing key alone needs the password, and the signature of the master key', async () => {
  const { alice, keys } = await signing();
  const other = crossSigningOf(alice.userId);
  const { signatures: _, ...unsigned } = other.body.self_signing_key;
  const bad = await uploadConfirmed(alice, { self_signing_key: other.body.self_signing_key });
  assert.deepEqual([bad.status, bad.body.errcode], [400, 'M_INVALID_SIGNATURE']);
  const good = { self_signing_key: signedBy(unsigned, keys.master) };
  assert.equal((await uploadConfirmed(alice, good)).status, 200);
  const seen = await queryKeys(alice, [alice.userId]);
  assert.deepEqual(seen.self_signing_keys[alice.userId], good.self_signing_key);
  assert.deepEqual(seen.user_signing_keys[alice.userId], keys.body.user_signing_key);
});

test('a new master key alone ends the keys that the earlier one has signed', async () => {
  const { alice } = await signing();
  const { master_key } = crossSigningOf(alice.userId).body;
  assert.equal((await uploadConfirmed(alice, { master_key })).status, 200);
  const seen = await queryKeys(alice, [alice.userId]);
  assert.deepEqual([seen.master_keys[alice.userId], seen.self_signing_keys], [master_key, {}]);
  assert.equal(seen.user_signing_keys, undefined);
});

test('malformed keys, wrong signatures and keys without a master key are refused, and nothing is stored', async () => {
  const alice = await register(server);
  const { body } = crossSigningOf(alice.userId);
  const [master, other] = [body.master_key, crossSigningOf(alice.userId).body];
  const wrong: [string, object][] = [
    ['M_MISSING_PARAM', {}],
    ['M_MISSING_PARAM', { self_signing_key: body.self_signing_key }],
    ['M_BAD_JSON', { master_key: 'x' }],
    ['M_INVALID_PARAM', { master_key: {} }],
    ['M_INVALID_PARAM', { master_key: { ...master, user_id: '@bob:kurir.test' } }],
    ['M_INVALID_PARAM', { master_key: { ...master, usage: ['self_signing'] } }],
    ['M_INVALID_PARAM', { master_key: { ...master, keys: {} } }],
    ['M_INVALID_PARAM', { master_key: { ...master, keys: { 'ed25519:short': 'short' } } }],
    [
      'M_INVALID_PARAM',
      { master_key: { ...master, keys: { ...(master.keys as object), 'ed25519:x': 'x' } } },
    ],
    ['M_INVALID_PARAM', { master_key: { ...master, signatures: { [alice.userId]: 'x' } } }],
    ['M_INVALID_PARAM', { master_key: { ...master, padding: 'x'.repeat(40_000) } }],
    ['M_INVALID_SIGNATURE', { master_key: master, self_signing_key: other.self_signing_key }],
    ['M_INVALID_SIGNATURE', { master_key: master, user_signing_key: other.user_signing_key }],
  ];
  for (const [errcode, upload] of wrong) {
    const answer = await alice.try('POST', UPLOAD, upload);
    assert.deepEqual(
      [answer.status, answer.body.errcode],
      [400, errcode],
      JSON.stringify(upload).slice(0, 200),
    );
  }
  assert.deepEqual((await queryKeys(alice, [alice.userId])).master_keys, {});
});

test('of two first uploads at the same time one counts, and the other is to be confirmed', async () => {
  const alice = await register(server);
  const uploads = Array.from({ length: 6 }, () =>
    alice.try('POST', UPLOAD, crossSigningOf(alice.userId).body),
  );
  const statuses = (await Promise.all(uploads)).map(({ status }) => status).sort();
  assert.deepEqual(statuses, [200, 401, 401, 401, 401, 401]);
});

test('device IDs and public keys of cross-signing keys never collide', async () => {
  const alice = await register(server);
  const keys = crossSigningOf(alice.userId);
  const id = keys.selfSigning.pair.publicKey;
  const body = { type: 'm.login.password', identifier: { type: 'm.id.user', user: alice.userId } };
  const signIn = () => alice.try('POST', '/login', { ...body, password: alice.password, device_id: id });
  const device = await signIn();
  assert.equal(device.status, 200);
  const refused = await alice.try('POST', UPLOAD, keys.body);
  assert.deepEqual([refused.status, refused.body.errcode], [403, 'M_FORBIDDEN']);
  await alice.post('/logout/all');
  const again = await login(server, alice.userId, alice.password);
  assert.deepEqual(await again.post(UPLOAD, keys.body), {});
  const second = await signIn();
  assert.deepEqual([second.status, second.body.errcode], [403, 'M_FORBIDDEN']);
});

test('row 104: signatures are stored where they hold; each of the others has its own failure', async () => {
  const { alice, keys } = await signing();
  const signer = deviceSigner(alice);
  const device = await uploadDeviceKeys(alice, signer);
  const [masterId, id] = [keys.master.pair.publicKey, alice.deviceId];
  const signed = signedBy(device, keys.selfSigning);
  const master = signedBy(keys.body.master_key, signer);
  const good = { [alice.userId]: { [id]: signed, [masterId]: master } };
  assert.deepEqual(await alice.post('/keys/signatures/upload', good), { failures: {} });
  const seen = await queryKeys(alice, [alice.userId]);
  assert.deepEqual(seen.device_keys[alice.userId][id], signed);
  assert.deepEqual(seen.master_keys[alice.userId], master);

  const stranger = crossSigningOf(alice.userId);
  const changed = { ...device, algorithms: ['other'] };
  const failing: [string, string, JsonObject][] = [
    [id, 'M_INVALID_SIGNATURE', signedBy(changed, keys.selfSigning)],
    [id, 'M_INVALID_SIGNATURE', signedBy(device, stranger.selfSigning)],
    [id, 'M_INVALID_SIGNATURE', signedBy(device, { ...stranger.selfSigning, keyId: keys.selfSigning.keyId })],
    [masterId, 'M_INVALID_SIGNATURE', signedBy(keys.body.master_key, keys.userSigning)],
    ['NONE', 'M_NOT_FOUND', signed],
    [keys.selfSigning.pair.publicKey, 'M_NOT_FOUND', signedBy(keys.body.self_signing_key, signer)],
  ];
  for (const [target, errcode, object] of failing) {
    const { failures } = await alice.post('/keys/signatures/upload', {
      [alice.userId]: { [target]: object },
    });
    assert.equal(failures[alice.userId]?.[target]?.errcode, errcode, target);
  }
  assert.deepEqual((await queryKeys(alice, [alice.userId])).device_keys[alice.userId][id], signed);
  // Other keys of the device are another device: what was signed is no more.
  const renewed = await uploadDeviceKeys(alice);
  assert.deepEqual((await queryKeys(alice, [alice.userId])).device_keys[alice.userId][id], renewed);
});

test('a signature by the user-signing key is seen by its maker alone, whose other devices are told', async () => {
  const { alice, keys } = await signing();
  const { alice: bob, keys: his } = await signing();
  const phone = await login(server, alice.userId, alice.password);
  const { next_batch: since } = await phone.sync();
  const target = signedBy(his.body.master_key, keys.userSigning);
  const upload = { [bob.userId]: { [his.master.pair.publicKey]: target } };
  const waiting = phone.syncUntil(
    ({ device_lists: lists }) => lists?.changed?.includes(bob.userId) === true,
    {
      since,
    },
  );
  assert.deepEqual(await alice.post('/keys/signatures/upload', upload), { failures: {} });
  await waiting;
  assert.deepEqual((await queryKeys(phone, [bob.userId])).master_keys[bob.userId], target);
  assert.deepEqual((await queryKeys(bob, [bob.userId])).master_keys[bob.userId], his.body.master_key);
  const carol = await register(server);
  assert.deepEqual((await queryKeys(carol, [bob.userId])).master_keys[bob.userId], his.body.master_key);
  assert.equal((await queryKeys(carol, [bob.userId])).user_signing_keys, undefined);
});

test('signatures of others that come with keys are seen by those who made them alone', async () => {
  const alice = await register(server);
  const { alice: bob, keys: his } = await signing();
  const carol = await register(server);
  const keys = crossSigningOf(alice.userId);
  const master = signedBy(keys.body.master_key, his.userSigning);
  await alice.post(UPLOAD, { ...keys.body, master_key: master });
  const masterFor = async (viewer: TestClient) =>
    (await queryKeys(viewer, [alice.userId])).master_keys[alice.userId];
  assert.deepEqual(await masterFor(bob), master);
  assert.deepEqual(await masterFor(carol), { ...keys.body.master_key, signatures: {} });
});

test('changed cross-signing keys are told to those who share a room', async () => {
  const { alice } = await signing();
  const bob = await register(server);
  const stranger = await register(server);
  const roomId = await alice.createRoom();
  await bob.join(roomId);
  const [{ next_batch: since }, { next_batch: sinceStranger }] = [await bob.sync(), await stranger.sync()];
  assert.equal((await uploadConfirmed(alice, crossSigningOf(alice.userId).body)).status, 200);
  const answer = await bob.sync({ since });
  assert.deepEqual(answer.device_lists.changed, [alice.userId]);
  const changes = await bob.get(`/keys/changes?from=${since}&to=${answer.next_batch}`);
  assert.deepEqual(changes, { changed: [alice.userId], left: [] });
  assert.equal((await stranger.sync({ since: sinceStranger })).device_lists, undefined);
});

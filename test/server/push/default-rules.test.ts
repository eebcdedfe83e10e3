/** The server's push rules beyond those of the specification. */

import assert from 'node:assert/strict';
import { test } from 'node:test';
import { type Body, login, register, type TestClient } from '#test/harness/client.ts';
import { startServer } from '#test/harness/server.ts';

const highlights = async (user: TestClient): Promise<string[]> =>
  (await user.get('/notifications?only=highlight')).notifications.map(
    ({ event }: Body) => event.content.body,
  );

test('with legacy_mentions a message highlights that holds a name or @room, else it does not', async () => {
  for (const legacyMentions of [true, false]) {
    await using server = await startServer({ legacyMentions });
    const [alice, bob] = [await register(server, 'alice'), await register(server, 'bob')];
    await bob.put(`/profile/${bob.userId}/displayname`, { displayname: 'Robert M.' });
    const roomId = await alice.createRoom();
    await bob.join(roomId);
    for (const text of ['bob: hello', 'hello Robert M.', 'bobsleigh', 'dear @room'])
      await alice.send(roomId, text);
    const expected = legacyMentions ? ['dear @room', 'hello Robert M.', 'bob: hello'] : [];
    assert.deepEqual(await highlights(bob), expected);
    const { global } = await bob.get('/pushrules/');
    const ids = [...global.override, ...global.content].map((rule: Body) => rule.rule_id);
    for (const name of ['contains_display_name', 'contains_user_name', 'roomnotif'])
      assert.equal(ids.includes(`.m.rule.${name}`), legacyMentions, name);
    const synced = (await bob.sync()).account_data.events.find((one: Body) => one.type === 'm.push_rules');
    assert.deepEqual(synced.content.global, global);
    if (!legacyMentions) continue;
    await bob.put('/pushrules/global/content/.m.rule.contains_user_name/enabled', { enabled: false });
    assert.deepEqual(await highlights(bob), ['dear @room', 'hello Robert M.']);
  }
});

test('MSC3930: polls notify as messages do, and what is answered to them does not', async () => {
  await using server = await startServer();
  const [alice, bob] = [await register(server, 'alice'), await register(server, 'bob')];
  const roomId = await alice.createRoom();
  await bob.join(roomId);
  const actions = async (type: string): Promise<unknown> => {
    const eventId = await alice.sendEvent(roomId, `org.matrix.msc3381.poll.${type}`, {});
    const { notifications } = await bob.get('/notifications');
    return notifications.find(({ event }: Body) => event.event_id === eventId)?.actions;
  };
  const sound = { set_tweak: 'sound', value: 'default' };
  assert.deepEqual(await actions('start'), ['notify', sound]);
  assert.equal(await actions('response'), undefined);
  await (await register(server, 'carol')).join(roomId);
  assert.deepEqual(await actions('end'), ['notify']);
  assert.equal(await actions('response'), undefined);
});

test('MSC3890: the local notification settings of a device end with it', async () => {
  await using server = await startServer();
  const alice = await register(server, 'alice');
  const second = await login(server, 'alice', alice.password);
  const path = (prefix: string) => `/user/${alice.userId}/account_data/${prefix}.${second.deviceId}`;
  const types = ['m.local_notification_settings', 'org.matrix.msc3890.local_notification_settings'];
  for (const type of types) await alice.put(path(type), { is_silenced: true });
  await second.post('/logout');
  for (const type of types) assert.equal((await alice.try('GET', path(type))).body.errcode, 'M_NOT_FOUND');
});

test('MSC4028: with push_all_encrypted a user who wants only mentions of a room is woken for what is encrypted there', async () => {
  for (const pushAllEncrypted of [true, false]) {
    await using server = await startServer({ pushAllEncrypted });
    const [alice, bob] = [await register(server, 'alice'), await register(server, 'bob')];
    const roomId = await alice.createRoom();
    const muted = await alice.createRoom();
    for (const room of [roomId, muted]) await bob.join(room);
    await bob.put(`/pushrules/global/room/${encodeURIComponent(roomId)}`, { actions: [] });
    const conditions = [{ kind: 'event_match', key: 'room_id', pattern: muted }];
    await bob.put('/pushrules/global/override/muted', { actions: [], conditions });
    const secret = { algorithm: 'm.megolm.v1.aes-sha2', ciphertext: 'x' };
    const eventId = await alice.sendEvent(roomId, 'm.room.encrypted', secret);
    await alice.send(roomId, 'hello');
    await alice.sendEvent(muted, 'm.room.encrypted', secret);
    const { notifications } = await bob.get('/notifications');
    const told = notifications.map(({ event }: Body) => event.event_id);
    assert.deepEqual(told, pushAllEncrypted ? [eventId] : []);
    const { override } = (await bob.get('/pushrules/')).global;
    const ids = override.map((rule: Body) => rule.rule_id);
    assert.deepEqual(ids.slice(0, 2), ['.m.rule.master', 'muted']);
    assert.equal(ids[2] === '.org.matrix.msc4028.encrypted_event', pushAllEncrypted);
  }
});

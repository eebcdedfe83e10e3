/** https://spec.matrix.org/v1.19/client-server-api/#get_matrixclientversions */

import assert from 'node:assert/strict';
import { test } from 'node:test';
import { type Answer, type Body, register, request, type TestClient } from '#test/harness/client.ts';
import { crossSigningOf } from '#test/harness/encryption.ts';
import { startServer } from '#test/harness/server.ts';

type Try = (alice: TestClient, roomId: string) => Promise<Answer>;

const inRoom = (roomId: string): string => `/rooms/${encodeURIComponent(roomId)}`;

/** Served to application services alone. */
const ping: Try = async (alice) => {
  const path = '/_matrix/client/unstable/fi.mau.msc2659/appservice/bridge/ping';
  const answer = await alice.try('POST', path, {});
  assert.equal(answer.body.errcode, 'M_FORBIDDEN');
  return { ...answer, status: 200 };
};

/** By each flag what a client does that sees it. */
const USES: Readonly<Record<string, Try>> = {
  'fi.mau.msc2659': ping,
  'fi.mau.msc2659.stable': ping,
  'org.matrix.e2e_cross_signing': (alice) =>
    alice.try('POST', '/keys/device_signing/upload', crossSigningOf(alice.userId).body),
  'org.matrix.msc2285.stable': async (alice, roomId) =>
    alice.try('POST', `${inRoom(roomId)}/receipt/m.read.private/${await alice.send(roomId, 'hello')}`, {}),
  'org.matrix.msc3030.stable': (alice, roomId) =>
    alice.try('GET', `/_matrix/client/v1${inRoom(roomId)}/timestamp_to_event?ts=0&dir=f`),
  'org.matrix.msc3391': async (alice) => {
    const path = `/user/${encodeURIComponent(alice.userId)}/account_data/test`;
    await alice.put(path, { set: true });
    return alice.try('DELETE', `/_matrix/client/unstable/org.matrix.msc3391${path}`);
  },
  'org.matrix.msc3715.stable': async (alice, roomId) => {
    const eventId = await alice.send(roomId, 'hello');
    return alice.try('GET', `/_matrix/client/v1${inRoom(roomId)}/relations/${eventId}?dir=f`);
  },
  'org.matrix.msc3814': async (alice) => {
    const path = '/_matrix/client/unstable/org.matrix.msc3814.v1/dehydrated_device';
    const answer = await alice.try('GET', path);
    assert.equal(answer.body.errcode, 'M_NOT_FOUND');
    return { ...answer, status: 200 };
  },
  'org.matrix.msc3827.stable': async (alice) => {
    const space = { visibility: 'public', creation_content: { type: 'm.space' } };
    await alice.createRoom(space);
    await alice.createRoom({ visibility: 'public' });
    const answer = await alice.try('POST', '/publicRooms', { filter: { room_types: ['m.space'] } });
    assert.deepEqual(
      answer.body.chunk.map((room: { room_type?: string }) => room.room_type),
      ['m.space'],
    );
    return answer;
  },
  'org.matrix.msc3856.stable': (alice, roomId) =>
    alice.try('GET', `/_matrix/client/v1${inRoom(roomId)}/threads`),
  'org.matrix.msc3874': async (alice, roomId) => {
    const filter = encodeURIComponent('{"org.matrix.msc3874.rel_types":["m.thread"]}');
    const answer = await alice.try('GET', `${inRoom(roomId)}/messages?dir=b&filter=${filter}`);
    assert.deepEqual(answer.body.chunk, []);
    return answer;
  },
  'org.matrix.msc3916.stable': (alice) => alice.try('GET', '/_matrix/client/v1/media/config'),
  'org.matrix.msc3881': async (alice) => {
    const set = (more: object) =>
      alice.try('POST', '/pushers/set', {
        ...{ kind: 'http', app_id: 'app', pushkey: 'other', lang: 'en' },
        ...{ app_display_name: 'App', device_display_name: 'Phone' },
        data: { url: 'https://push.example.org/_matrix/push/v1/notify' },
        ...more,
      });
    await set({});
    const answer = await set({ 'org.matrix.msc3881.enabled': false });
    const { pushers } = await alice.get('/pushers');
    assert.deepEqual(
      pushers.map((one: Body) => [one['org.matrix.msc3881.enabled'], one['org.matrix.msc3881.device_id']]),
      [[false, alice.deviceId]],
    );
    return answer;
  },
  'org.matrix.msc4028': (alice) =>
    alice.try('GET', '/pushrules/global/override/.org.matrix.msc4028.encrypted_event'),
  'io.element.msc4388': (alice) =>
    alice.try('POST', '/_matrix/client/unstable/io.element.msc4388/rendezvous', { data: 'hello' }),
  'org.matrix.msc4108': async (alice) => {
    const path = '/_matrix/client/unstable/org.matrix.msc4108/rendezvous';
    const headers = { 'content-type': 'text/plain' };
    const answer = await request(alice.server, 'POST', path, { body: 'hello', headers });
    assert.equal(answer.status, 201);
    return { ...answer, status: 200 };
  },
  'org.matrix.msc4354': (alice, roomId) =>
    alice.try('PUT', `${inRoom(roomId)}/send/t/sticky?org.matrix.msc4354.sticky_duration_ms=1000`, {}),
  'org.matrix.msc4140': (alice) =>
    alice.try('GET', '/_matrix/client/unstable/org.matrix.msc4140/delayed_events'),
  'org.matrix.msc4143': (alice) =>
    alice.try('GET', '/_matrix/client/unstable/org.matrix.msc4143/rtc/transports'),
  'org.matrix.msc4306': async (alice, roomId) => {
    const thread = `${inRoom(roomId)}/thread/${await alice.send(roomId, 'root')}/subscription`;
    return alice.try('PUT', `/_matrix/client/unstable/io.element.msc4306${thread}`, {});
  },
  'org.matrix.simplified_msc3575': (alice) =>
    alice.try('POST', '/_matrix/client/unstable/org.matrix.simplified_msc3575/sync', {}),
  'org.matrix.msc4380.stable': async (alice) => {
    const path = `/user/${encodeURIComponent(alice.userId)}/account_data/m.invite_permission_config`;
    const answer = await alice.try('PUT', path, { default_action: 'block' });
    const bob = await register(alice.server);
    const invite = { invite: [alice.userId] };
    assert.equal((await bob.try('POST', '/createRoom', invite)).body.errcode, 'M_INVITE_BLOCKED');
    return answer;
  },
  'org.matrix.msc4076': (alice) =>
    alice.try('POST', '/pushers/set', {
      ...{ kind: 'http', app_id: 'app', pushkey: 'key', lang: 'en' },
      ...{ app_display_name: 'App', device_display_name: 'Phone' },
      data: {
        url: 'https://push.example.org/_matrix/push/v1/notify',
        'org.matrix.msc4076.disable_badge_count': true,
      },
    }),
  'org.matrix.msc4155': async (alice) => {
    const own = await register(alice.server);
    const path = `/user/${encodeURIComponent(own.userId)}/account_data/org.matrix.msc4155.invite_permission_config`;
    const answer = await own.try('PUT', path, { blocked_users: [alice.userId] });
    const invite = { invite: [own.userId] };
    assert.equal((await alice.try('POST', '/createRoom', invite)).body.errcode, 'M_INVITE_BLOCKED');
    return answer;
  },
  'uk.half-shot.msc2666.query_mutual_rooms': (alice) =>
    alice.try('GET', '/_matrix/client/unstable/uk.half-shot.msc2666/user/mutual_rooms?user_id=@a:b.c'),
  'uk.half-shot.msc2666.query_mutual_rooms.stable': (alice) =>
    alice.try('GET', '/_matrix/client/v1/mutual_rooms?user_id=@a:b.c'),
  'uk.tcpip.msc4133.stable': (alice) =>
    alice.try('PUT', `/profile/${encodeURIComponent(alice.userId)}/m.tz`, { 'm.tz': 'Europe/Berlin' }),
};

test('each unstable feature that is claimed is served', async () => {
  await using server = await startServer({
    publicBaseurl: 'https://matrix.kurir.test',
    pushAllEncrypted: true,
  });
  const alice = await register(server);
  const roomId = await alice.createRoom();
  const { body } = await request(server, 'GET', '/_matrix/client/versions');
  for (const [name, isClaimed] of Object.entries(body.unstable_features)) {
    const use = USES[name];
    if (name.startsWith('io.element.e2ee_forced.')) continue;
    assert.ok(use, `nothing here tries ${name}`);
    assert.equal(isClaimed, true);
    const answer = await use(alice, roomId);
    assert.equal(answer.status, 200, `${name}: ${JSON.stringify(answer.body)}`);
  }
});

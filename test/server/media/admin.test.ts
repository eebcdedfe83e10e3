/** What administrators' tools do to media: https://element-hq.github.io/synapse/latest/admin_api/media_admin_api.html */

import assert from 'node:assert/strict';
import { test } from 'node:test';
import * as users from '#storage/users.ts';
import { type Answer, register, type TestClient } from '#test/harness/client.ts';
import { startFleet } from '#test/harness/fleet.ts';
import { download, partsOf, upload } from '#test/harness/media.ts';
import { startServer, type TestServer } from '#test/harness/server.ts';

const V1 = '/_synapse/admin/v1';
const HOUR = 3_600_000;

async function administrator(server: TestServer): Promise<TestClient> {
  const admin = await register(server, 'admin');
  await server.ctx.db.write('test', (tx) => users.setAdmin(tx, `@admin:${server.serverName}`, true));
  return admin;
}

async function statusOf(client: TestClient, uri: string): Promise<number> {
  return (await download(client, uri)).status;
}

function assertError(answer: Answer, status: number, errcode: string): void {
  assert.deepEqual([answer.status, answer.body.errcode], [status, errcode], JSON.stringify(answer.body));
}

const idOf = (uri: string): string => partsOf(uri).split('/')[1] ?? '';

test('only administrators get, withhold or delete media of others', async () => {
  await using server = await startServer();
  const alice = await register(server, 'alice');
  const uri = await upload(alice, 'a file');
  const room = encodeURIComponent(await alice.createRoom());
  const routes = [
    ['GET', `media/${partsOf(uri)}`],
    ['DELETE', `media/${partsOf(uri)}`],
    ['POST', `media/quarantine/${partsOf(uri)}`],
    ['POST', `media/unquarantine/${partsOf(uri)}`],
    ['POST', `media/protect/${idOf(uri)}`],
    ['POST', `media/unprotect/${idOf(uri)}`],
    ['POST', 'media/delete?before_ts=2000000000000'],
    ['POST', `media/${server.serverName}/delete?before_ts=2000000000000`],
    ['POST', 'media/elsewhere.test/delete?before_ts=2000000000000'],
    ['POST', 'purge_media_cache?before_ts=2000000000000'],
    ['GET', `room/${room}/media`],
    ['POST', `room/${room}/media/quarantine`],
    ['POST', `quarantine_media/${room}`],
    ['POST', `user/${alice.userId}/media/quarantine`],
    ['GET', `users/${alice.userId}/media`],
    ['DELETE', `users/${alice.userId}/media`],
  ] as const;
  for (const [method, path] of routes) {
    assertError(await alice.try(method, `${V1}/${path}`), 403, 'M_FORBIDDEN');
  }
  assert.equal(await statusOf(alice, uri), 200);
});

test('one media is told of, withheld, released, protected and deleted', async () => {
  await using server = await startServer();
  const [admin, alice] = [await administrator(server), await register(server, 'alice')];
  const uri = await upload(alice, 'a file', { type: 'text/plain', name: 'file.txt' });
  const twin = await upload(admin, 'a file');
  const told = async () => (await admin.get(`${V1}/media/${partsOf(uri)}`)).media_info;
  const { created_ts: created, last_access_ts: accessed, sha256, ...rest } = await told();
  assert.ok(created > 0 && accessed >= created && /^[0-9a-f]{64}$/.test(sha256));
  assert.deepEqual(rest, {
    ...{ media_origin: null, user_id: alice.userId, media_id: idOf(uri), media_type: 'text/plain' },
    ...{ media_length: 6, upload_name: 'file.txt', authenticated: true },
    ...{ quarantined_by: null, safe_from_quarantine: false },
  });
  for (const _ of [1, 2]) assert.deepEqual(await admin.post(`${V1}/media/quarantine/${partsOf(uri)}`), {});
  assert.equal((await told()).quarantined_by, server.serverName);
  assert.deepEqual([await statusOf(alice, uri), await statusOf(alice, twin)], [404, 404]);
  for (const _ of [1, 2]) assert.deepEqual(await admin.post(`${V1}/media/unquarantine/${partsOf(uri)}`), {});
  assert.deepEqual([await statusOf(alice, uri), await statusOf(alice, twin)], [200, 200]);
  await admin.post(`${V1}/media/protect/${idOf(uri)}`);
  assert.equal((await told()).safe_from_quarantine, true);
  await admin.post(`${V1}/media/unprotect/${idOf(uri)}`);
  assert.equal((await told()).safe_from_quarantine, false);
  assert.deepEqual(await admin.delete(`${V1}/media/${partsOf(uri)}`), {
    deleted_media: [idOf(uri)],
    total: 1,
  });
  assert.deepEqual([await statusOf(alice, uri), await statusOf(alice, twin)], [404, 200]);
});

test('what is no media, room or user, and what is not of this server, is told from each other', async () => {
  await using server = await startServer();
  const admin = await administrator(server);
  const post = (path: string) => admin.try('POST', `${V1}/${path}`);
  for (const deed of ['quarantine', 'unquarantine']) {
    assertError(await post(`media/${deed}/${server.serverName}/none`), 404, 'M_NOT_FOUND');
    assertError(await post(`media/${deed}/${server.serverName}/..%2f`), 400, 'M_INVALID_PARAM');
    assertError(await post(`media/${deed}/not%20one/none`), 400, 'M_INVALID_PARAM');
  }
  assertError(await post('media/protect/none'), 404, 'M_NOT_FOUND');
  assertError(await admin.try('GET', `${V1}/media/${server.serverName}/none`), 404, 'M_NOT_FOUND');
  assertError(await admin.try('DELETE', `${V1}/media/${server.serverName}/none`), 404, 'M_NOT_FOUND');
  assertError(await admin.try('DELETE', `${V1}/media/other.test/none`), 400, 'M_INVALID_PARAM');
  assertError(await post('media/other.test/delete?before_ts=2000000000000'), 400, 'M_INVALID_PARAM');
  assertError(await admin.try('GET', `${V1}/room/!none:other.test/media`), 404, 'M_NOT_FOUND');
  assertError(await admin.try('GET', `${V1}/room/none/media`), 400, 'M_INVALID_PARAM');
  assertError(await admin.try('GET', `${V1}/users/@none:${server.serverName}/media`), 404, 'M_NOT_FOUND');
  assertError(await admin.try('GET', `${V1}/users/@a:other.test/media`), 400, 'M_INVALID_PARAM');
  assertError(await post('user/none/media/quarantine'), 400, 'M_INVALID_PARAM');
  // A time in seconds would delete everything, or nothing.
  const times = ['', '?before_ts=', '?before_ts=soon', '?before_ts=1700000000', '?before_ts=-1'];
  for (const query of times) {
    assertError(await post(`media/delete${query}`), 400, 'M_INVALID_PARAM');
    assertError(await post(`purge_media_cache${query}`), 400, 'M_INVALID_PARAM');
  }
  for (const query of ['size_gt=x', 'keep_profiles=maybe'])
    assertError(await post(`media/delete?before_ts=2000000000000&${query}`), 400, 'M_INVALID_PARAM');
});

test('the media of a room are listed by their servers, and withheld together, but for what is protected', async () => {
  await using server = await startServer();
  const [admin, alice] = [await administrator(server), await register(server, 'alice')];
  const [roomId, other] = [await alice.createRoom(), await alice.createRoom()];
  const [image, small, kept, locked, elsewhere] = await Promise.all(
    ['image', 'small', 'kept', 'locked', 'elsewhere'].map((text) => upload(alice, text)),
  );
  assert.ok(image && small && kept && locked && elsewhere);
  const info = { thumbnail_url: small, thumbnail_file: { url: 3 } };
  await alice.sendEvent(roomId, 'm.room.message', { msgtype: 'm.image', body: 'image', url: image, info });
  await alice.sendEvent(roomId, 'm.room.message', { msgtype: 'm.file', body: 'kept', url: kept });
  await alice.sendEvent(roomId, 'm.sticker', {
    body: 'far',
    url: 'mxc://other.test/far',
    file: { url: locked },
  });
  await alice.sendEvent(roomId, 'm.room.message', {
    msgtype: 'm.text',
    body: 'none',
    url: 'https://none.test/',
  });
  await alice.sendEvent(other, 'm.room.message', { msgtype: 'm.file', body: 'x', url: elsewhere });
  await admin.post(`${V1}/media/protect/${idOf(kept)}`);
  const path = `${V1}/room/${encodeURIComponent(roomId)}/media`;
  const listed = await admin.get(path);
  assert.deepEqual(new Set(listed.local), new Set([image, small, kept, locked]));
  assert.deepEqual(listed.remote, ['mxc://other.test/far']);
  assert.deepEqual(await admin.post(`${path}/quarantine`), { num_quarantined: 4 });
  assert.deepEqual(await admin.post(`${V1}/quarantine_media/${encodeURIComponent(roomId)}`), {
    num_quarantined: 0,
  });
  for (const uri of [image, small, locked]) assert.equal(await statusOf(alice, uri), 404);
  for (const uri of [kept, elsewhere]) assert.equal(await statusOf(alice, uri), 200);
});

test('what a user has uploaded is listed in any order, page by page, withheld and deleted', async () => {
  const clock = { time: Date.now(), now: () => clock.time };
  await using server = await startServer({ clock });
  const [admin, alice] = [await administrator(server), await register(server, 'alice')];
  const uris: string[] = [];
  for (const [text, name] of [
    ['bbb', 'b'],
    ['a', 'c'],
    ['cc', 'a'],
  ] as const) {
    uris.push(await upload(alice, text, { name }));
    clock.time += 1;
  }
  const others = await upload(admin, 'of the administrator');
  const path = `${V1}/users/${alice.userId}/media`;
  const order = async (query: string) => {
    const { media } = await admin.get(`${path}?${query}`);
    return media.map(({ upload_name: name }: { upload_name: string }) => name).join('');
  };
  assert.equal(await order(''), 'acb');
  assert.equal(await order('order_by=created_ts'), 'bca');
  assert.equal(await order('order_by=media_length'), 'cab');
  assert.equal(await order('order_by=media_length&dir=b'), 'bac');
  assert.equal(await order('order_by=upload_name'), 'abc');
  const first = await admin.get(`${path}?limit=2`);
  assert.deepEqual([first.media.length, first.next_token, first.total], [2, 2, 3]);
  const second = await admin.get(`${path}?limit=2&from=${first.next_token}`);
  assert.deepEqual([second.media.length, second.next_token], [1, undefined]);
  for (const query of ['order_by=secret', 'dir=x', 'from=-1', 'from=x', 'limit=x'])
    assertError(await admin.try('GET', `${path}?${query}`), 400, 'M_INVALID_PARAM');
  const [kept = '', withheld = ''] = uris;
  await admin.post(`${V1}/media/protect/${idOf(kept)}`);
  const quarantine = `${V1}/user/${alice.userId}/media/quarantine`;
  assert.deepEqual(await admin.post(quarantine), { num_quarantined: 2 });
  assert.deepEqual([await statusOf(alice, kept), await statusOf(alice, withheld)], [200, 404]);
  assert.equal((await admin.delete(path)).total, 2);
  assert.deepEqual((await admin.get(path)).media.length, 1);
  assert.deepEqual([await statusOf(alice, kept), await statusOf(alice, others)], [200, 200]);
});

test('files that are old and large are deleted, but for avatars, what is protected and what is withheld', async () => {
  const clock = { time: Date.now(), now: () => clock.time };
  await using server = await startServer({ clock });
  const [admin, alice] = [await administrator(server), await register(server, 'alice')];
  const old = await upload(alice, 'x'.repeat(1_000));
  const [small, avatar, kept] = [
    await upload(alice, 'small'),
    await upload(alice, 'y'.repeat(1_001)),
    await upload(alice, 'z'.repeat(1_002)),
  ];
  await alice.put(`/profile/${alice.userId}/avatar_url`, { avatar_url: avatar });
  await admin.post(`${V1}/media/protect/${idOf(kept)}`);
  clock.time += HOUR;
  const before = clock.time;
  clock.time += HOUR;
  const newer = await upload(alice, 'w'.repeat(1_003));
  const path = `${V1}/media/delete?before_ts=${before}`;
  assert.deepEqual(await admin.post(`${path}&size_gt=999`), { deleted_media: [idOf(old)], total: 1 });
  for (const uri of [small, avatar, kept, newer]) assert.equal(await statusOf(alice, uri), 200);
});

test('files of other servers that were not read since are purged, and fetched again', async () => {
  await using fleet = await startFleet(2);
  const [near, far] = [fleet.at(0), fleet.at(1)];
  const [admin, bob] = [await administrator(near), await register(far, 'bob')];
  const uri = await upload(bob, 'from afar');
  assert.equal(await statusOf(admin, uri), 200);
  const earlier = `${V1}/purge_media_cache?before_ts=${Date.now() - HOUR}`;
  assert.deepEqual(await admin.post(earlier), { deleted: 0 });
  assert.deepEqual(await admin.post(`${V1}/purge_media_cache?before_ts=${Date.now() + HOUR}`), {
    deleted: 1,
  });
  assert.equal(await statusOf(admin, uri), 200);
});

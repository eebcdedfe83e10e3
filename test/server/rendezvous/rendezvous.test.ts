/** Where two devices meet that sign one of them in by a QR code. */

import assert from 'node:assert/strict';
import { test } from 'node:test';
import { MSC4108RendezvousSession } from 'matrix-js-sdk/lib/rendezvous/transports/MSC4108RendezvousSession.js';
import { type Answer, request } from '#test/harness/client.ts';
import { startServer, type TestServer } from '#test/harness/server.ts';

const BASE = 'https://matrix.kurir.test';
const MSC4108 = '/_matrix/client/unstable/org.matrix.msc4108/rendezvous';
const MSC4388 = '/_matrix/client/unstable/io.element.msc4388/rendezvous';
const TEXT = { 'content-type': 'text/plain' };

function started(options: Parameters<typeof startServer>[0] = {}): Promise<TestServer> {
  return startServer({ publicBaseurl: BASE, ...options });
}

async function create(server: TestServer, data = 'one'): Promise<Answer> {
  return await request(server, 'POST', MSC4388, { body: { data } });
}

test('MSC4388: two devices leave each other data, each upon what the other has left', async () => {
  await using server = await started();
  assert.deepEqual((await request(server, 'GET', MSC4388)).body, { create_available: true });
  const made = await create(server);
  assert.equal(made.status, 200);
  assert.ok(made.body.expires_in_ms > 290_000 && made.body.expires_in_ms <= 300_000);
  const path = `${MSC4388}/${made.body.id}`;
  const read = await request(server, 'GET', path);
  assert.deepEqual([read.body.data, read.body.sequence_token], ['one', made.body.sequence_token]);
  const write = (token: string, data: string, id = '') =>
    request(server, 'PUT', `${path}${id}`, { body: { sequence_token: token, data } });
  const written = await write(read.body.sequence_token, 'two');
  assert.equal(written.status, 200);
  assert.notEqual(written.body.sequence_token, made.body.sequence_token);
  const late = await write(made.body.sequence_token, 'three');
  assert.deepEqual([late.status, late.body.errcode], [409, 'IO_ELEMENT_MSC4388_CONCURRENT_WRITE']);
  assert.equal((await request(server, 'GET', path)).body.data, 'two');
  const same = await write(written.body.sequence_token, 'two');
  assert.notEqual(same.body.sequence_token, written.body.sequence_token, 'the same data are a writing, too');

  const first = await write(same.body.sequence_token, 'three', '/t1');
  const again = await write(same.body.sequence_token, 'three', '/t1');
  assert.deepEqual([again.status, again.body], [200, first.body], 'an answer that was lost is given again');
  assert.equal((await write(same.body.sequence_token, 'four', '/t2')).status, 409);

  assert.equal((await request(server, 'DELETE', path)).status, 200);
  for (const method of ['GET', 'DELETE']) {
    const gone = await request(server, method, path);
    assert.deepEqual([gone.status, gone.body.errcode], [404, 'M_NOT_FOUND']);
  }
});

test('MSC4388: what is wrong is told, and nothing is kept of it', async () => {
  await using server = await started();
  for (const [body, status, errcode] of [
    [{}, 400, 'M_MISSING_PARAM'],
    [{ data: 1 }, 400, 'M_BAD_JSON'],
    [[], 400, 'M_BAD_JSON'],
    ['{', 400, 'M_NOT_JSON'],
    [{ data: 'a'.repeat(4_097) }, 413, 'M_TOO_LARGE'],
  ] as const) {
    const answer = await request(server, 'POST', MSC4388, { body });
    assert.deepEqual(
      [answer.status, answer.body.errcode],
      [status, errcode],
      JSON.stringify(body).slice(0, 50),
    );
  }
  const { body } = await create(server, 'a'.repeat(4_096));
  const path = `${MSC4388}/${body.id}`;
  for (const wrong of [
    { data: 'x' },
    { data: 'x', sequence_token: 1 },
    { sequence_token: body.sequence_token },
  ]) {
    assert.equal((await request(server, 'PUT', path, { body: wrong })).status, 400);
  }
  const nowhere = { body: { data: 'x', sequence_token: 'x' } };
  assert.equal((await request(server, 'PUT', `${MSC4388}/nothing`, nowhere)).status, 404);
  assert.equal((await request(server, 'GET', path)).body.data.length, 4_096);
});

test('MSC4388, MSC4108: a browser that is led there sees nothing of it', async () => {
  await using server = await started();
  const { body } = await create(server);
  const headers = { 'sec-fetch-mode': 'navigate', 'sec-fetch-dest': 'document' };
  const led = await request(server, 'GET', `${MSC4388}/${body.id}`, { headers });
  assert.deepEqual([led.status, led.body.errcode], [403, 'M_FORBIDDEN']);
  const own = { 'sec-fetch-mode': 'cors', 'sec-fetch-dest': 'empty' };
  assert.equal((await request(server, 'GET', `${MSC4388}/${body.id}`, { headers: own })).status, 200);
  const made = await request(server, 'POST', MSC4108, { body: '<script>', headers: TEXT });
  const path = String(made.body.url).slice(BASE.length);
  assert.equal((await request(server, 'GET', path, { headers: { 'sec-fetch-dest': 'iframe' } })).status, 403);
});

test('it ends after five minutes; there are some only, and limits for each address', async () => {
  let now = Date.now();
  await using server = await started({ clock: { now: () => now } });
  const { body } = await create(server);
  now += 299_000;
  assert.equal((await request(server, 'GET', `${MSC4388}/${body.id}`)).body.expires_in_ms, 1_000);
  now += 1_000;
  assert.equal((await request(server, 'GET', `${MSC4388}/${body.id}`)).status, 404);
  const first = await create(server);
  for (let count = 0; count < 1_000; count++) await create(server, 'x');
  assert.equal((await request(server, 'GET', `${MSC4388}/${first.body.id}`)).status, 404);
  await server.restart({ rateLimits: true });
  const statuses = [];
  for (let count = 0; count < 25; count++) statuses.push((await create(server)).status);
  assert.deepEqual([statuses[0], statuses.at(-1)], [200, 429]);
});

test('MSC4108: text under an ETag, which another writing must name', async () => {
  await using server = await started();
  const made = await request(server, 'POST', MSC4108, { body: 'one', headers: TEXT });
  assert.equal(made.status, 201);
  assert.ok(made.body.url.startsWith(`${BASE}${MSC4108}/`));
  const etag = made.headers.get('etag') ?? '';
  assert.match(etag, /^"[\w-]+"$/);
  assert.ok(Date.parse(made.headers.get('expires') ?? '') > Date.now());
  assert.ok(made.headers.has('last-modified'));
  const path = made.body.url.slice(BASE.length);
  const read = await request(server, 'GET', path);
  assert.deepEqual([read.status, read.body, read.headers.get('content-type')], [200, 'one', 'text/plain']);
  assert.equal((await request(server, 'GET', path, { headers: { 'if-none-match': etag } })).status, 304);
  const put = (headers: Record<string, string>, body = 'two') =>
    request(server, 'PUT', path, { body, headers: { ...TEXT, ...headers } });
  assert.equal((await put({})).body.errcode, 'M_MISSING_PARAM');
  const late = await put({ 'if-match': '"other"' });
  assert.deepEqual([late.status, late.body.errcode], [412, 'M_CONCURRENT_WRITE']);
  const written = await put({ 'if-match': etag });
  assert.equal(written.status, 202);
  assert.notEqual(written.headers.get('etag'), etag);
  assert.equal((await put({ 'if-match': etag }, 'a'.repeat(4_097))).body.errcode, 'M_TOO_LARGE');
  const json = await request(server, 'POST', MSC4108, { body: { a: 1 } });
  assert.deepEqual([json.status, json.body.errcode], [400, 'M_INVALID_PARAM']);
  const preflight = await request(server, 'OPTIONS', path);
  assert.match(preflight.headers.get('access-control-allow-headers') ?? '', /If-Match, If-None-Match/);
  assert.match(preflight.headers.get('access-control-expose-headers') ?? '', /ETag/);
  assert.equal((await request(server, 'DELETE', path)).status, 204);
  assert.equal((await request(server, 'GET', path)).body.errcode, 'M_NOT_FOUND');
});

test('MSC4108: two clients of matrix-js-sdk meet there', async () => {
  await using server = await started();
  const fetchFn: typeof fetch = (resource, init) =>
    fetch(String(resource).replace(BASE, server.clientUrl), init);
  const phone = new MSC4108RendezvousSession({ fetchFn, fallbackRzServer: `${BASE}${MSC4108}` });
  await phone.send('from the phone');
  assert.ok(phone.url !== undefined);
  const computer = new MSC4108RendezvousSession({ fetchFn, url: phone.url });
  assert.equal(await computer.receive(), 'from the phone');
  await computer.send('from the computer');
  assert.equal(await phone.receive(), 'from the computer');
  await phone.close();
  assert.equal((await fetchFn(phone.url)).status, 404);
});

test('where there is no sign-in by OAuth there is no meeting place, and it is not claimed', async () => {
  for (const options of [{}, { publicBaseurl: BASE, oauth: false }]) {
    await using server = await startServer(options);
    const { unstable_features: features } = (await request(server, 'GET', '/_matrix/client/versions')).body;
    assert.deepEqual([features['org.matrix.msc4108'], features['io.element.msc4388']], [false, false]);
    for (const [method, path] of [
      ['GET', MSC4388],
      ['POST', MSC4388],
      ['POST', MSC4108],
    ] as const) {
      const answer = await request(server, method, path);
      assert.deepEqual([answer.status, answer.body.errcode], [404, 'M_UNRECOGNIZED'], path);
    }
  }
});

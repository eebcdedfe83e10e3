import assert from 'node:assert/strict';
import { request as httpsRequest } from 'node:https';
import { after, afterEach, test } from 'node:test';
import { formatXMatrix } from '#federation/x-matrix.ts';
import { encodeCanonical } from '#keys/canonical-json.ts';
import { generateSeed, keyPairFromSeed } from '#keys/ed25519.ts';
import type { JsonObject } from '#keys/json.ts';
import { buildServerKeyDocument } from '#keys/server-key-document.ts';
import { signJson } from '#keys/sign-json.ts';
import { inRoom, untilMember, untilMessages } from '#test/harness/conversation.ts';
import { startPeer } from '#test/harness/peer.ts';
import { keyPairOf } from '#test/harness/room-builder.ts';
import { until } from '#test/harness/until.ts';
import { startWitness } from './witness.ts';

const witness = await startWitness();
after(() => witness[Symbol.asyncDispose]());
afterEach(() => witness.check());
const { alice, server } = witness;

const BASE = '/_matrix/federation/v1';

/** A request with headers of the test's own. */
function raw(
  path: string,
  headers: Record<string, string | string[]>,
  { method = 'GET', body = '' }: { method?: string; body?: string | Buffer } = {},
): Promise<{ status: number; text: string }> {
  return new Promise((resolve, reject) => {
    const outgoing = httpsRequest(`${server.federationUrl}${path}`, {
      method,
      headers,
      ca: witness.fleet.authority.cert,
      servername: 'localhost',
    });
    outgoing.on('error', reject).on('response', async (incoming) => {
      const chunks: Buffer[] = [];
      for await (const chunk of incoming) chunks.push(chunk);
      resolve({ status: incoming.statusCode ?? 0, text: Buffer.concat(chunks).toString() });
    });
    outgoing.end(body);
  });
}

test('row 149: a signed request is good for this server, method, target and body alone', async () => {
  await using peer = await witness.peer();
  const uri = `${BASE}/query/profile?user_id=${encodeURIComponent(alice.userId)}`;
  const good = peer.signature(server, { uri });
  assert.equal((await raw(uri, { authorization: peer.header(server, good) })).status, 200);
  const elsewhere = peer.signature(server, { uri, destination: 'elsewhere.test' });
  const origin = peer.name;
  const { keyId } = keyPairOf(peer.name);
  const bad: [string, string, Record<string, string | string[]>][] = [
    ['another destination', uri, { authorization: peer.header(server, elsewhere, 'elsewhere.test') }],
    ['a destination that was changed', uri, { authorization: peer.header(server, elsewhere) }],
    [
      'a destination that was cut out',
      uri,
      { authorization: `X-Matrix origin="${origin}",key="${keyId}",sig="${elsewhere}"` },
    ],
    ['another query', `${uri}&field=displayname`, { authorization: peer.header(server, good) }],
    ['another encoding', uri.replace('%40', '@'), { authorization: peer.header(server, good) }],
    ['another case of the encoding', uri.replace('%3A', '%3a'), { authorization: peer.header(server, good) }],
    ['another path', uri.replace('/query', '//query'), { authorization: peer.header(server, good) }],
    ['no signature', uri, { authorization: `X-Matrix origin="${origin}",key="${keyId}"` }],
    ['a signature that is none', uri, { authorization: peer.header(server, 'AAAA') }],
    ['another key', uri, { authorization: peer.header(server, good).replace(keyId, 'ed25519:other') }],
    [
      'a key of no algorithm',
      uri,
      { authorization: peer.header(server, good).replace(keyId, '__proto__:x') },
    ],
    [
      'our own name',
      uri,
      {
        authorization: peer
          .header(server, good)
          .replace(`origin="${origin}"`, `origin="${server.serverName}"`),
      },
    ],
    ['two headers', uri, { authorization: [peer.header(server, good), peer.header(server, elsewhere)] }],
    ['a parameter twice', uri, { authorization: `${peer.header(server, good)},origin="elsewhere.test"` }],
    ['a bearer token', uri, { authorization: `Bearer ${alice.accessToken}` }],
    ['no header', uri, {}],
  ];
  for (const [what, path, headers] of bad) {
    const { status } = await raw(path, headers);
    assert.ok(status === 401 || status === 400 || status === 404, `${what}: ${status}`);
  }
  const body = peer.signature(server, { uri: `${BASE}/send/x`, method: 'PUT', content: { pdus: [] } });
  const put = { method: 'PUT', body: '{"pdus":[{}]}' };
  assert.equal((await raw(`${BASE}/send/x`, { authorization: peer.header(server, body) }, put)).status, 401);
  assert.equal(
    (await raw(uri, { authorization: peer.header(server, body) }, { method: 'DELETE' })).status >= 400,
    true,
  );
});

test('a transaction that is no UTF-8 or no JSON is 400 M_NOT_JSON, huge headers are 431, and nobody is harmed', async () => {
  await using peer = await witness.peerWithGuest();
  const path = `${BASE}/send/t1`;
  const [first, last] = [1, 2].map((count) => peer.room.message(peer.user('mallory'), `message ${count}`));
  const text = `{"origin":"${peer.name}","pdus":[${first?.json},${last?.json}]}`;
  const broken = Buffer.from(text);
  broken[broken.indexOf('message 1')] = 0xff;
  for (const body of [broken, text.slice(0, -1), `${text}}`, text.replace('"pdus"', '"a":NaN,"pdus"')]) {
    const answer = await raw(
      path,
      { authorization: peer.header(server, 'A'.repeat(86)) },
      { method: 'PUT', body },
    );
    assert.equal(answer.status, 400, answer.text);
    assert.equal(JSON.parse(answer.text).errcode, 'M_NOT_JSON');
  }
  const huge = await raw(
    path,
    { authorization: `X-Matrix origin="${'x'.repeat(20_000)}"` },
    { method: 'PUT' },
  );
  assert.equal(huge.status, 431);
  assert.equal(JSON.parse(huge.text).errcode, 'M_TOO_LARGE');
  assert.ok(first && last);
  assert.equal((await peer.send(server, [first, last], { txnId: 't1' })).status, 200);
  await untilMessages(alice, peer.room.roomId, ['message 1', 'message 2']);
});

test('a room is not there for servers that are not in it, nor its events by way of another room', async () => {
  await using stranger = await witness.peerWithGuest();
  const roomId = await alice.createRoom({ preset: 'private_chat', invite: [] });
  const eventId = await alice.send(roomId, 'secret');
  const shared = encodeURIComponent(stranger.room.roomId);
  const [room, event] = [encodeURIComponent(roomId), encodeURIComponent(eventId)];
  const none = encodeURIComponent(`$${'A'.repeat(43)}`);
  const noRoom = encodeURIComponent(`!${'A'.repeat(43)}`);
  const ask = async (path: string, body?: JsonObject) => {
    const answer = await stranger.request(server, {
      path: `${BASE}${path}`,
      ...(body !== undefined && { method: 'POST', body }),
    });
    assert.ok(!JSON.stringify(answer.body).includes('secret'), path);
    return answer;
  };
  // Each pair must be the same to the byte: what is there and not for them, and what is not there.
  const pairs: [string, string, JsonObject?, JsonObject?][] = [
    [`/event/${event}`, `/event/${none}`],
    [`/state/${room}?event_id=${event}`, `/state/${noRoom}?event_id=${none}`],
    [`/state_ids/${room}?event_id=${event}`, `/state_ids/${noRoom}?event_id=${none}`],
    [`/event_auth/${room}/${event}`, `/event_auth/${noRoom}/${none}`],
    [`/backfill/${room}?v=${event}&limit=10`, `/backfill/${noRoom}?v=${none}&limit=10`],
    [`/state/${shared}?event_id=${event}`, `/state/${shared}?event_id=${none}`],
    [`/state_ids/${shared}?event_id=${event}`, `/state_ids/${shared}?event_id=${none}`],
    [`/event_auth/${shared}/${event}`, `/event_auth/${shared}/${none}`],
    [`/backfill/${shared}?v=${event}&limit=10`, `/backfill/${shared}?v=${none}&limit=10`],
    [
      `/get_missing_events/${shared}`,
      `/get_missing_events/${shared}`,
      { latest_events: [eventId], earliest_events: [] },
      { latest_events: [`$${'A'.repeat(43)}`], earliest_events: [] },
    ],
    [
      `/get_missing_events/${room}`,
      `/get_missing_events/${noRoom}`,
      { latest_events: [eventId], earliest_events: [] },
      { latest_events: [eventId], earliest_events: [] },
    ],
  ];
  for (const [there, notThere, body, otherBody] of pairs) {
    const [one, two] = [await ask(there, body), await ask(notThere, otherBody)];
    const { origin_server_ts: _, ...first } = one.body;
    const { origin_server_ts: __, ...second } = two.body;
    assert.deepEqual([one.status, first], [two.status, second], there);
  }
});

test('who has left a room is told no more of it', async () => {
  await using peer = await witness.peerWithGuest();
  const { room } = peer;
  const mallory = peer.user('mallory');
  const before = await alice.send(room.roomId, 'while you were here');
  const path = `${BASE}/event/${encodeURIComponent(before)}`;
  assert.equal((await peer.request(server, { path })).status, 200);
  await peer.send(server, [room.leave(mallory)]);
  await untilMember(alice, room.roomId, mallory, 'leave');
  const eventId = await alice.send(room.roomId, 'after you left');
  const encoded = encodeURIComponent(room.roomId);
  for (const asked of [
    `/event/${encodeURIComponent(eventId)}`,
    `/state/${encoded}?event_id=${encodeURIComponent(eventId)}`,
    `/state_ids/${encoded}?event_id=${encodeURIComponent(eventId)}`,
    `/event_auth/${encoded}/${encodeURIComponent(eventId)}`,
    `/backfill/${encoded}?v=${encodeURIComponent(eventId)}&limit=10`,
  ]) {
    const { status } = await peer.request(server, { path: `${BASE}${asked}` });
    assert.ok(status === 403 || status === 404, `${asked}: ${status}`);
  }
});

test('row 107: limits and depths beyond all measure are answered at once', async () => {
  await using peer = await witness.peerWithGuest();
  const encoded = encodeURIComponent(peer.room.roomId);
  const last = peer.room.last.eventId;
  const ids = Array.from({ length: 100_000 }, (_, n) => `$${n}`);
  for (const body of [
    { latest_events: [last], earliest_events: [], limit: 1e9, min_depth: -(2 ** 53) + 1 },
    { latest_events: [last], earliest_events: [], limit: -1, min_depth: 2 ** 53 - 1 },
    { latest_events: ids, earliest_events: ids, limit: 20 },
    { latest_events: {}, earliest_events: 'x', limit: 'x' },
    { latest_events: [last, 5], earliest_events: null },
    {},
  ]) {
    const answer = await peer.request(server, {
      method: 'POST',
      path: `${BASE}/get_missing_events/${encoded}`,
      body: body as JsonObject,
    });
    assert.ok(answer.status === 200 || answer.status === 400, `${answer.status}`);
  }
  for (const limit of ['1e9', '-1', '999999999', '0', 'x', '', '1.5', '١']) {
    const path = `${BASE}/backfill/${encoded}?v=${encodeURIComponent(last)}&limit=${encodeURIComponent(limit)}`;
    const answer = await peer.request(server, { path });
    assert.ok(answer.status === 200 || answer.status === 400, `${limit}: ${answer.status}`);
  }
});

test('row 92: a key document of another server, expired, altered, or of too many keys is not believed', async () => {
  const now = Date.now();
  const uri = `${BASE}/query/profile?user_id=${encodeURIComponent(alice.userId)}`;
  const keyPair = keyPairFromSeed('k', generateSeed());
  const signingKey = { keyPair, oldKeys: [] };
  const document = (name: string, validUntilTs: number) =>
    buildServerKeyDocument({ serverName: name, signingKey, validUntilTs });
  const many = (name: string) => {
    const { signatures: _, ...bare } = document(name, now + 1e6);
    const key = { key: keyPair.publicKey };
    const keys = Object.fromEntries(Array.from({ length: 10_000 }, (_, n) => [`ed25519:${n}`, key]));
    return signJson({ ...bare, verify_keys: { ...keys, [keyPair.keyId]: key } } as JsonObject, name, keyPair);
  };
  const documents: Record<string, (name: string) => JsonObject> = {
    'of another server': () => document('elsewhere.test', now + 1e6),
    expired: (name) => document(name, now - 1e6),
    unsigned: (name) => ({ ...document(name, now + 1e6), signatures: {} }),
    altered: (name) => ({ ...document(name, now + 1e6), valid_until_ts: now + 2e6 }),
    'of ten thousand keys': many,
    'of keys that are none': (name) =>
      signJson(
        { server_name: name, valid_until_ts: now + 1e6, verify_keys: { [keyPair.keyId]: { key: 'AAAA' } } },
        name,
        keyPair,
      ),
    'without an end': (name) => ({ ...document(name, now + 1e6), valid_until_ts: 1e300 }),
  };
  for (const [what, make] of Object.entries(documents)) {
    await using peer = await startPeer({
      authority: witness.fleet.authority,
      answer: (_, self) => ({ json: make(self.name) }),
    });
    const sig = keyPair.sign(
      encodeCanonical({ uri, destination: server.serverName, method: 'GET', origin: peer.name }),
    );
    const authorization = formatXMatrix({
      origin: peer.name,
      destination: server.serverName,
      key: keyPair.keyId,
      sig,
    });
    assert.equal((await raw(uri, { authorization })).status, 401, what);
    assert.equal((await raw(uri, { authorization })).status, 401, what);
    assert.ok(peer.requests.length <= 1, `${what}: asked ${peer.requests.length} times`);
  }
});

test('a key document of a megabyte is not stored', async () => {
  const keyPair = keyPairFromSeed('k', generateSeed());
  await using peer = await startPeer({
    authority: witness.fleet.authority,
    answer: (_, self) => {
      const { signatures: _s, ...bare } = buildServerKeyDocument({
        serverName: self.name,
        signingKey: { keyPair, oldKeys: [] },
        validUntilTs: Date.now() + 1e6,
      });
      return { json: signJson({ ...bare, padding: 'x'.repeat(900_000) } as JsonObject, self.name, keyPair) };
    },
  });
  const { text } = await raw(`/_matrix/key/v2/query/${peer.name}`, {});
  assert.deepEqual(JSON.parse(text), { server_keys: [] });
});

test('row 153: a notary that is asked for ten thousand servers, or for itself in odd ways, answers soon', async () => {
  const many = Object.fromEntries(Array.from({ length: 10_000 }, (_, n) => [`127.0.0.1:${n + 1}`, {}]));
  const path = '/_matrix/key/v2/query';
  for (const [body, expected] of [
    [{ server_keys: many }, [400]],
    [{ server_keys: { __proto__x: 1 } }, [400]],
    [JSON.parse('{"server_keys":{"__proto__":{},"constructor":{}}}'), [200, 400]],
    [{ server_keys: { [server.serverName]: { toString: { minimum_valid_until_ts: 1e300 } } } }, [200]],
    [{ server_keys: { 'localhost:1': { 'ed25519:x': { minimum_valid_until_ts: -5 }, a: 1, b: [] } } }, [200]],
    [{ server_keys: [] }, [400]],
  ] as const) {
    const { status } = await raw(
      path,
      { 'content-type': 'application/json' },
      { method: 'POST', body: JSON.stringify(body) },
    );
    assert.ok(
      (expected as readonly number[]).includes(status),
      `${JSON.stringify(body).slice(0, 80)}: ${status}`,
    );
  }
});

test('floods of transactions, EDUs and unknown rooms are held back, and others are served', async () => {
  await using peer = await witness.peerWithGuest();
  const { room } = peer;
  const mallory = peer.user('mallory');
  const event = room.message(mallory, 'once');
  const same = await Promise.all(
    Array.from({ length: 4 }, () => peer.send(server, [event], { txnId: 'same' })),
  );
  for (const { status, body } of same) assert.deepEqual([status, body.pdus], [200, { [event.eventId]: {} }]);
  const other = room.message(mallory, 'in its place');
  assert.deepEqual((await peer.send(server, [other], { txnId: 'same' })).body, same[0]?.body);
  const flood = await Promise.all(
    Array.from({ length: 100 }, (_, n) => peer.send(server, [room.message(mallory, `flood ${n}`)])),
  );
  const statuses = new Set(flood.map(({ status }) => status));
  assert.deepEqual([...statuses].sort(), [200, 429]);
  const rooms = Object.fromEntries(
    Array.from({ length: 10_000 }, (_, n) => [
      `!r${n}:${peer.name}`,
      { 'm.read': { [mallory]: { event_ids: ['$x'], data: { ts: n } } } },
    ]),
  );
  const users = Object.fromEntries(
    Array.from({ length: 10_000 }, (_, n) => [
      peer.user(`u${n}`),
      { event_ids: [`$${n}`], data: { ts: n, thread_id: `$${n}` } },
    ]),
  );
  const edus = [
    { edu_type: 'm.receipt', content: rooms },
    { edu_type: 'm.receipt', content: { [room.roomId]: { 'm.read': users } } },
    ...Array.from({ length: 90 }, (_, n) => ({
      edu_type: 'm.typing',
      content: { room_id: room.roomId, user_id: peer.user(`t${n}`), typing: true },
    })),
  ] as JsonObject[];
  assert.equal((await peer.send(server, [], { edus })).status, 200);
  assert.deepEqual(server.ctx.typing.in(room.roomId), []);
  const unknown = Array.from({ length: 50 }, (_, n) =>
    encodeCanonical({ ...event.pdu, room_id: `!u${n}:${peer.name}` }),
  );
  for (let turn = 0; turn < 20; turn++) assert.equal((await peer.send(server, unknown)).status, 200);
  await peer.send(server, [other]);
  await untilMessages(alice, room.roomId, ['once', 'in its place']);
  await until(async () => (await alice.try('GET', `${inRoom(room.roomId)}/messages?dir=b`)).status === 200);
});

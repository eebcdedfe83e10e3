/** The check of every answer and request against the specification's schemas can fail: see `test/harness/spec/`. */

import assert from 'node:assert/strict';
import { after, test } from 'node:test';
import { createApp } from '#server/http/create-app.ts';
import { type Body, register, request } from '#test/harness/client.ts';
import { startFleet } from '#test/harness/fleet.ts';
import { startGateway } from '#test/harness/push-gateway.ts';
import { startWithService } from '#test/harness/service-server.ts';
import { type SeenAnswer, specChecker } from '#test/harness/spec/checker.ts';
import { EXCEPTIONS } from '#test/harness/spec/exceptions.ts';
import { unseenProblems } from '#test/harness/spec/suite.ts';
import { takeViolations, throwViolations } from '#test/harness/spec/violations.ts';
import { watched } from '#test/harness/spec/watch.ts';
import { until } from '#test/harness/until.ts';

const fleet = await startFleet(2);
after(() => fleet[Symbol.asyncDispose]());
const server = fleet.at(0);
const alice = await register(server, 'alice');
const bob = await register(fleet.at(1), 'bob');
const checker = await specChecker();

/** What is said of an answer with status 200. */
function saidOf(method: string, url: string, body: unknown, more: Partial<SeenAnswer> = {}): string[] {
  const json = { status: 200, contentType: 'application/json', text: JSON.stringify(body) };
  checker.answer({ method, url, ...json, ...more });
  return takeViolations();
}

test('an answer that does not fit fails the call of the client, with operation, place, expectation and value', async () => {
  const silent = { debug() {}, info() {}, warn() {}, error() {} };
  const app = await watched(async () => createApp({ log: silent, cors: true, bodyLimit: 1_000 }));
  app.get('/_matrix/client/versions', () => ({ versions: ['v1.19', 1] }));
  app.get('/_matrix/client/v3/account/whoami', (_, reply) => {
    reply.code(403).send({ errcode: 'M_FORBIDDEN' });
  });
  try {
    const clientUrl = await app.listen({ host: '127.0.0.1', port: 0 });
    const target = { clientUrl, answersAre: 'checked' } as const;
    await assert.rejects(request(target, 'GET', '/_matrix/client/versions'), {
      message:
        'not as the specification says:\n' +
        'the answer 200 of client-server GET /_matrix/client/versions (/_matrix/client/versions)\n' +
        '  at /versions/1: must be string; it is 1 (#/properties/versions/items/type)',
    });
    await assert.rejects(
      request(target, 'GET', '/_matrix/client/v3/account/whoami'),
      /at \/error: what went wrong/,
    );
    // A server that is a process of its own is checked by the client.
    await assert.rejects(
      request({ clientUrl }, 'GET', '/_matrix/client/versions'),
      /at \/versions\/1: must be string/,
    );
  } finally {
    takeViolations();
    await app.close();
  }
});

const wrongAnswers: Record<
  string,
  readonly [method: string, url: string, body: unknown, more?: Partial<SeenAnswer>]
> = {
  'lacks what is required': ['GET', '/_matrix/client/v3/sync', {}],
  'names what is no user': ['GET', '/_matrix/client/v3/account/whoami', { user_id: 'alice' }],
  'names what is no user of any server': ['GET', '/_matrix/client/v3/account/whoami', { user_id: '@alice' }],
  'has a key that is no room': [
    'GET',
    '/_matrix/client/v3/sync',
    { next_batch: 't', rooms: { join: { '!': {} } } },
  ],
  'has a status that is not declared': [
    'GET',
    '/_matrix/client/v3/sync',
    { next_batch: 't' },
    { status: 202 },
  ],
  'has no content type': [
    'GET',
    '/_matrix/client/v3/sync',
    { next_batch: 't' },
    { contentType: undefined, text: undefined },
  ],
  'is not JSON': ['GET', '/_matrix/client/v3/sync', undefined, { text: '{' }],
  'is of no operation': ['GET', '/_matrix/client/v3/nothing', {}],
  'is refused without a code': ['GET', '/_matrix/client/v3/sync', { error: 'no' }, { status: 403 }],
  'is refused with HTML': [
    'GET',
    '/_matrix/client/v3/sync',
    undefined,
    { status: 404, contentType: 'text/html' },
  ],
  'asks for a stage of authentication that is none': [
    'POST',
    '/_matrix/client/v3/register',
    { flows: [{ stages: 'm.login.dummy' }] },
    { status: 401 },
  ],
  'is to a server, and lacks what is required': [
    'GET',
    '/_matrix/federation/v1/state_ids/!room',
    { pdu_ids: [] },
  ],
};

for (const [name, [method, url, body, more]] of Object.entries(wrongAnswers)) {
  test(`an answer is caught that ${name}`, () => {
    assert.equal(saidOf(method, url, body, more).length, 1);
  });
}

test('an event of ours with a content that its type does not have is caught, what users send is not', async () => {
  const room = await alice.createRoom();
  await alice.put(`/rooms/${encodeURIComponent(room)}/state/m.room.topic`, { topic: 1 });
  await alice.sync();
  const event = (type: string): object => ({
    ...{ type, event_id: '$event', sender: alice.userId, room_id: room },
    ...{ origin_server_ts: 1, state_key: '', content: { topic: 1, membership: 'gone' } },
  });
  const url = `/_matrix/client/v3/rooms/${room}/event/$event`;
  assert.match(saidOf('GET', url, event('m.room.member')).join(), /at \/content\/membership: .*"invite"/);
  assert.deepEqual(saidOf('GET', url, event('m.room.topic')), []);
});

test('a request to another server that does not fit fails the test: body, EDUs, events, query, operation', async () => {
  const wrong = {
    sender: alice.userId,
    hashes: {},
    signatures: {},
    type: 'm.room.create',
    content: { room_version: '11' },
  };
  const body = JSON.stringify({
    ...{ origin: server.serverName, origin_server_ts: '1' },
    ...{
      pdus: [wrong],
      edus: [{ edu_type: 'm.typing', content: { room_id: '!room', user_id: bob.userId } }],
    },
  });
  checker.request({ method: 'PUT', url: '/_matrix/federation/v1/send/1', body });
  checker.request({
    method: 'GET',
    url: '/_matrix/federation/v1/backfill/!room?limit=ten&w=1',
    body: undefined,
  });
  checker.request({ method: 'GET', url: '/_matrix/federation/v1/nothing', body: undefined });
  const said = await throwViolations().then(
    () => '',
    (error: Error) => error.message,
  );
  for (const expected of [
    /at \/origin_server_ts: must be integer/,
    /at \/edus\/0\/content: must have required property 'typing'/,
    /at \/pdus\/0: must have required property 'depth'/,
    /at \?limit: must be integer/,
    /at \?w: a parameter of v,limit/,
    /at \?v: it is required/,
    /an operation of the specification; it is "\/_matrix\/federation\/v1\/nothing"/,
  ]) {
    assert.match(said, expected);
  }
});

test('the requests of a server in this process are seen', async () => {
  const asked: string[] = [];
  const { request: checkRequest } = checker;
  checker.request = (seen) => {
    asked.push(`${seen.method} ${seen.url.split('/').slice(0, 5).join('/')}`);
    checkRequest.call(checker, seen);
  };
  try {
    const room = await alice.createRoom();
    await bob.join(room, [server.serverName]);
    await bob.send(room, 'hello');
    await alice.syncUntil((answer: Body) => JSON.stringify(answer).includes('hello'));
  } finally {
    checker.request = checkRequest;
  }
  assert.ok(asked.includes('GET /_matrix/federation/v1/make_join'), asked.join());
  assert.ok(asked.includes('PUT /_matrix/federation/v2/send_join'), asked.join());
  assert.ok(asked.includes('PUT /_matrix/federation/v1/send'), asked.join());
});

test('a request to an application service or a push gateway that does not fit fails the test', async () => {
  const room = await alice.createRoom();
  const member = {
    ...{ type: 'm.room.member', event_id: '$event', sender: alice.userId, room_id: room },
    ...{ origin_server_ts: 1, state_key: alice.userId, content: { membership: 'gone' } },
  };
  const app = '/_matrix/app/v1';
  const wrong: readonly [method: string, url: string, body?: unknown][] = [
    ['PUT', `${app}/transactions/1`, { events: [member, { type: 'm.room.topic' }] }],
    ['PUT', '/transactions/2', { ephemeral: [] }],
    ['POST', `${app}/ping`, { transaction_id: 1 }],
    ['POST', '/_matrix/app/unstable/fi.mau.msc2659/ping', { transaction_id: 2 }],
    ['GET', `${app}/users/${alice.userId}?w=1`],
    ['GET', `${app}/thirdparty/protocol`],
    ['POST', '/_matrix/push/v1/notify', { notification: { devices: [{ app_id: 'a' }], prio: 'mid' } }],
  ];
  for (const [method, url, body] of wrong) {
    checker.request({ method, url, body: body === undefined ? undefined : JSON.stringify(body) });
  }
  checker.request({ method: 'GET', url: `${app}/thirdparty/user/irc?nick=x&any=y`, body: undefined });
  checker.request({ method: 'GET', url: `${app}/rooms/x?access_token=y`, body: undefined });
  const said = takeViolations();
  for (const expected of [
    /transactions\/1, an event m\.room\.member\n {2}at \/events\/0\/content\/membership: .*"invite"/,
    /transactions\/1\n {2}at \/events\/1: must have required property 'event_id'/,
    /PUT \/transactions\/2\n {2}at \/: must have required property 'events'/,
    /app\/v1\/ping\n {2}at \/transaction_id: must be string; it is 1/,
    /msc2659\/ping\n {2}at \/transaction_id: must be string; it is 2/,
    /at \?w: a parameter of /,
    /an operation of the specification; it is "\/_matrix\/app\/v1\/thirdparty\/protocol"/,
    /at \/notification\/devices\/0: must have required property 'pushkey'/,
    /at \/notification\/prio: .*"high"/,
  ]) {
    assert.match(said.join('\n'), expected);
  }
  assert.doesNotMatch(said.join('\n'), /nick|access_token/);
});

test('what a server asks an application service, by whatever path, and a push gateway is seen', async () => {
  await using gateway = await startGateway();
  await using both = await startWithService({ server: gateway.options });
  const { service } = both;
  const asked = new Set<string>();
  const { request: checkRequest } = checker;
  checker.request = (seen) => {
    asked.add(`${seen.method} ${seen.url.split('/').slice(0, -1).join('/')}`);
    checkRequest.call(checker, seen);
  };
  try {
    service.answer = ({ url }) => (url.startsWith('/_matrix/') ? { status: 404, text: 'no' } : {});
    const [carol, dan] = [await register(both.server, 'carol'), await register(both.server, 'dan')];
    await gateway.pusherOf(dan);
    const room = await carol.createRoom({ preset: 'public_chat', invite: [dan.userId] });
    await service.do(both.server, 'POST', `/join/${encodeURIComponent(room)}`, { body: {} });
    await until(() => asked.has('PUT /transactions'), 'the older path');
    await until(() => asked.has('POST /_matrix/push/v1'), 'the notification');
  } finally {
    checker.request = checkRequest;
  }
  assert.ok(asked.has('PUT /_matrix/app/v1/transactions'));
});

test('an operation that nothing asks for is told at the end of the suite', async () => {
  const problems = await unseenProblems(new Set());
  assert.ok(
    problems.some((problem) =>
      problem.includes('no test gets an answer of client-server GET /_matrix/client/v3/sync:'),
    ),
  );
});

test('each exception from the schemas has its sentence', () => {
  for (const { because } of EXCEPTIONS) assert.match(because, /"|^MSC/);
});

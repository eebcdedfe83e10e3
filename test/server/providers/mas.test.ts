import assert from 'node:assert/strict';
import { once } from 'node:events';
import { createServer, type Server } from 'node:http';
import { test } from 'node:test';
import type { Config } from '#server/config-options.ts';
import { masKind, withDelegatedLogin } from '#server/mas/mas-option.ts';
import * as crossSigningResets from '#storage/cross-signing-resets.ts';
import * as pushers from '#storage/pushers.ts';
import * as users from '#storage/users.ts';
import { type Answer, request, TestClient } from '#test/harness/client.ts';
import { crossSigningOf } from '#test/harness/encryption.ts';
import { startServer, type TestServer } from '#test/harness/server.ts';
import { startService } from '#test/harness/service.ts';
import { addService } from '#test/harness/service-server.ts';
import { until } from '#test/harness/until.ts';

const SECRET = 'the-shared-secret';
const API = 'urn:matrix:org.matrix.msc2967.client:api:*';
const ANN = '@ann:kurir.test';

/** What a Matrix Authentication Service answers to this server, by its documentation. */
class Service implements AsyncDisposable {
  readonly tokens = new Map<string, Record<string, unknown>>();
  asked = 0;
  isBroken = false;
  /** Beside what its metadata always says. */
  more: Record<string, unknown> = {};
  readonly #server: Server;

  static async start(): Promise<Service> {
    const service = new Service();
    service.#server.listen(0, '127.0.0.1');
    await once(service.#server, 'listening');
    return service;
  }

  private constructor() {
    this.#server = createServer(async (message, response) => {
      const chunks: Buffer[] = [];
      for await (const chunk of message) chunks.push(chunk);
      const answer = this.#answer(message.url ?? '', message.headers.authorization, Buffer.concat(chunks));
      response.writeHead(answer.status, { 'content-type': 'application/json' });
      response.end(JSON.stringify(answer.body));
    });
  }

  get endpoint(): string {
    const address = this.#server.address();
    return `http://127.0.0.1:${typeof address === 'object' && address !== null ? address.port : 0}`;
  }

  /** A token of a user on a device. */
  give(token: string, username: string, more: Record<string, unknown> = {}): void {
    const scope = `openid ${API} urn:matrix:org.matrix.msc2967.client:device:PHONE`;
    this.tokens.set(token, { active: true, username, scope, expires_in: 300, ...more });
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.#server.closeAllConnections();
    this.#server.close();
    await once(this.#server, 'close');
  }

  #answer(url: string, authorization: string | undefined, body: Buffer): { status: number; body: object } {
    if (this.isBroken) return { status: 500, body: {} };
    if (url === '/.well-known/openid-configuration')
      return { status: 200, body: { ...metadataOf(this.endpoint), ...this.more } };
    if (url !== '/oauth2/introspect' || authorization !== `Bearer ${SECRET}`)
      return { status: 401, body: {} };
    this.asked += 1;
    const token = new URLSearchParams(body.toString()).get('token') ?? '';
    return { status: 200, body: this.tokens.get(token) ?? { active: false } };
  }
}

function metadataOf(endpoint: string): Record<string, unknown> {
  return {
    issuer: `${endpoint}/`,
    authorization_endpoint: `${endpoint}/authorize`,
    token_endpoint: `${endpoint}/oauth2/token`,
    registration_endpoint: `${endpoint}/oauth2/registration`,
    revocation_endpoint: `${endpoint}/oauth2/revoke`,
    response_types_supported: ['code'],
    response_modes_supported: ['query', 'fragment'],
    grant_types_supported: ['authorization_code', 'refresh_token'],
    code_challenge_methods_supported: ['S256'],
  };
}

interface Delegated extends AsyncDisposable {
  readonly server: TestServer;
  readonly service: Service;
}

async function start(options: Partial<Config> & { clock?: { now(): number } } = {}): Promise<Delegated> {
  const service = await Service.start();
  const mas = masKind.parse({ endpoint: service.endpoint, secret: SECRET });
  const off = { oauth: false, legacyLogin: false, passwordLogin: false, guestAccess: false } as const;
  const server = await startServer({ mas, ...off, registration: 'closed', ...options });
  return {
    server,
    service,
    [Symbol.asyncDispose]: async () => {
      await server[Symbol.asyncDispose]();
      await service[Symbol.asyncDispose]();
    },
  };
}

function call(server: TestServer, name: string, body: object, secret = SECRET): Promise<Answer> {
  return request(server, 'POST', `/_synapse/mas/${name}`, { body, token: secret });
}

/** Ann, who has been made by the service and signed in on a device there. */
async function ann({ server, service }: Delegated): Promise<TestClient> {
  assert.equal(
    (await call(server, 'provision_user', { localpart: 'ann', set_displayname: 'Ann' })).status,
    201,
  );
  assert.equal((await call(server, 'upsert_device', { localpart: 'ann', device_id: 'PHONE' })).status, 201);
  service.give('mat_ann', 'ann');
  const session = { user_id: ANN, device_id: 'PHONE', access_token: 'mat_ann', password: '' };
  return new TestClient(server, session);
}

test('who has a token of the service is who the service says, asked again after a minute only', async () => {
  let now = Date.now();
  await using s = await start({ clock: { now: () => now } });
  const client = await ann(s);
  const who = await client.get('/account/whoami');
  assert.deepEqual([who.user_id, who.device_id], [ANN, 'PHONE']);
  const asked = s.service.asked;
  for (let count = 0; count < 5; count += 1) await client.get('/account/whoami');
  assert.equal(s.service.asked, asked);
  s.service.tokens.clear();
  now += 61_000;
  assert.equal((await client.try('GET', '/account/whoami')).body.errcode, 'M_UNKNOWN_TOKEN');
});

test('a token that the service does not know, or that is for something else, is none', async () => {
  await using s = await start();
  await ann(s);
  s.service.give('scope', 'ann', { scope: 'openid' });
  s.service.give('inactive', 'ann', { active: false });
  s.service.give('stranger', 'nobody');
  s.service.give('no-device', 'ann', { scope: API });
  s.service.give('other-device', 'ann', {
    scope: `${API} urn:matrix:org.matrix.msc2967.client:device:OTHER`,
  });
  for (const token of [
    'scope',
    'inactive',
    'stranger',
    'no-device',
    'other-device',
    'unknown',
    'x'.repeat(5_000),
  ]) {
    const answer = await request(s.server, 'GET', '/_matrix/client/v3/account/whoami', { token });
    assert.equal(answer.status, 401, token);
  }
  s.service.give('stable', 'ann', { scope: 'urn:matrix:client:api:* urn:matrix:client:device:PHONE' });
  s.service.give('by-member', 'ann', { scope: API, device_id: 'PHONE' });
  for (const token of ['stable', 'by-member']) {
    const answer = await request(s.server, 'GET', '/_matrix/client/v3/account/whoami', { token });
    assert.equal(answer.status, 200, token);
  }
  const asked = s.service.asked;
  await request(s.server, 'GET', '/_matrix/client/v3/account/whoami', { token: 'unknown' });
  assert.equal(s.service.asked, asked, 'an unknown token is not asked for again at once');
});

test('cross-signing keys are replaced once that was allowed on the account page of the service', async () => {
  await using s = await start();
  const client = await ann(s);
  const page = 'https://account.example.org/me?lang=sv';
  s.service.more = { account_management_uri: page };
  const upload = (auth?: object) =>
    client.try('POST', '/keys/device_signing/upload', { ...crossSigningOf(ANN).body, ...(auth && { auth }) });
  assert.equal((await upload()).status, 200);
  const asked = await upload();
  const url = `${page}&action=org.matrix.cross_signing_reset`;
  assert.equal(asked.status, 401);
  assert.deepEqual(asked.body.flows, [
    { stages: ['m.oauth'] },
    { stages: ['org.matrix.cross_signing_reset'] },
  ]);
  assert.deepEqual(asked.body.params, { 'm.oauth': { url }, 'org.matrix.cross_signing_reset': { url } });
  const { session } = asked.body;
  assert.equal((await upload({ session })).status, 401);
  const fallback = `/_matrix/client/v3/auth/m.oauth/fallback/web?session=${session}`;
  const shown = await request(s.server, 'GET', fallback);
  assert.ok(shown.body.includes(url.replace('&', '&amp;')), 'the page of the stage leads there, too');
  await call(s.server, 'allow_cross_signing_reset', { localpart: 'ann' });
  assert.equal((await upload({ session })).status, 200);
  assert.equal((await upload()).status, 401, 'once');
});

test('the account page of a service that names none, or none of the web, is its address', async () => {
  for (const more of [{}, { account_management_uri: 'javascript:alert(1)' }, { account_management_uri: 7 }]) {
    await using s = await start();
    const client = await ann(s);
    s.service.more = more;
    const upload = () => client.try('POST', '/keys/device_signing/upload', crossSigningOf(ANN).body);
    await upload();
    const { params } = (await upload()).body;
    assert.equal(params['m.oauth'].url, `${s.service.endpoint}/?action=org.matrix.cross_signing_reset`);
  }
});

test('a service that does not answer is told as 503, and nobody is signed out for it', async () => {
  await using s = await start();
  const client = await ann(s);
  s.service.isBroken = true;
  assert.equal((await client.try('GET', '/account/whoami')).status, 503);
  s.service.isBroken = false;
  assert.equal((await client.try('GET', '/account/whoami')).status, 200);
});

test('clients find the metadata of the service, and no sign-in of this server', async () => {
  await using s = await start();
  const metadata = await request(s.server, 'GET', '/_matrix/client/v1/auth_metadata');
  assert.equal(metadata.body.issuer, `${s.service.endpoint}/`);
  for (const [method, path] of [
    ['GET', '/_matrix/client/v3/login'],
    ['POST', '/_matrix/client/v3/login'],
    ['POST', '/_matrix/client/v3/logout'],
    ['POST', '/_matrix/client/v3/refresh'],
    ['POST', '/_matrix/client/v3/register'],
    ['POST', '/_matrix/client/v3/account/password'],
    ['POST', '/_matrix/client/v3/account/deactivate'],
    ['POST', '/_matrix/client/v1/login/get_token'],
    ['POST', '/_matrix/client/v3/delete_devices'],
    ['DELETE', '/_matrix/client/v3/devices/PHONE'],
  ] as const) {
    const answer = await request(s.server, method, path, method === 'GET' ? {} : { body: {} });
    assert.deepEqual([answer.status, answer.body.errcode], [404, 'M_UNRECOGNIZED'], `${method} ${path}`);
  }
  for (const path of ['/sign-in', '/sign-in/client?redirectUrl=x', '/account', '/oauth2/authorize']) {
    assert.equal((await fetch(`${s.server.clientUrl}${path}`)).status, 404, path);
  }
  const client = await ann(s);
  assert.equal((await client.try('GET', '/devices')).status, 200);
});

test('what the service does to a user is done here: names, addresses, lock, end and return', async () => {
  await using s = await start();
  const { server } = s;
  const client = await ann(s);
  const query = async (): Promise<Answer> =>
    await request(server, 'GET', '/_synapse/mas/query_user?localpart=ann', { token: SECRET });
  assert.deepEqual((await query()).body, {
    ...{ user_id: ANN, display_name: 'Ann', avatar_url: null },
    ...{ is_suspended: false, is_deactivated: false },
  });
  const roomId = await client.createRoom();
  assert.equal(
    (await call(server, 'set_displayname', { localpart: 'ann', displayname: 'Ann B' })).status,
    200,
  );
  assert.equal((await query()).body.display_name, 'Ann B');
  const member = await client.get(`/rooms/${encodeURIComponent(roomId)}/state/m.room.member/${ANN}`);
  assert.equal(member.displayname, 'Ann B');
  const again = { localpart: 'ann', unset_displayname: true, set_emails: ['ann@example.org'] };
  assert.equal((await call(server, 'provision_user', again)).status, 200);
  assert.equal((await query()).body.display_name, null);
  assert.equal((await client.get('/account/3pid')).threepids[0].address, 'ann@example.org');
  await call(server, 'provision_user', { localpart: 'ann', unset_emails: true, locked: true });
  assert.equal((await client.try('GET', '/account/3pid')).body.errcode, 'M_USER_LOCKED');
  await call(server, 'provision_user', { localpart: 'ann', locked: false });
  assert.deepEqual((await client.get('/account/3pid')).threepids, []);
  assert.equal((await call(server, 'allow_cross_signing_reset', { localpart: 'ann' })).status, 200);
  assert.equal(await crossSigningResets.isResetAllowed(server.ctx.db, ANN, Date.now()), true);
  assert.equal((await call(server, 'delete_user', { localpart: 'ann', erase: false })).status, 200);
  assert.equal((await query()).body.is_deactivated, true);
  assert.equal((await client.try('GET', '/account/whoami')).status, 401);
  assert.equal((await call(server, 'delete_user', { localpart: 'ann', erase: false })).status, 200);
  assert.equal((await call(server, 'reactivate_user', { localpart: 'ann' })).status, 200);
  assert.equal((await users.of(server.ctx.db, ANN))?.deactivatedTs, undefined);
});

test('a name that an application service has for itself is nobody else’s', async () => {
  await using s = await start();
  await using bridge = await startService();
  await addService(s.server, bridge);
  await bridge.register(s.server, '_bridge_ghost');
  const path = '/_synapse/mas/is_localpart_available?localpart=';
  for (const [localpart, status, errcode] of [
    ['_bridge_new', 400, 'M_EXCLUSIVE'],
    ['_bridge_ghost', 400, 'M_EXCLUSIVE'],
    ['free', 200, undefined],
  ] as const) {
    const answer = await request(s.server, 'GET', `${path}${localpart}`, { token: SECRET });
    assert.deepEqual([answer.status, answer.body.errcode], [status, errcode], localpart);
    const made = await call(s.server, 'provision_user', { localpart, set_displayname: 'Mallory' });
    assert.deepEqual([made.status, made.body.errcode], [status === 200 ? 201 : status, errcode], localpart);
  }
  const path2 = '/_matrix/client/v3/profile/@_bridge_ghost:kurir.test';
  assert.equal((await request(s.server, 'GET', path2)).body.displayname, undefined);
});

test('messages to devices on which people are signed in by the service are theirs, whatever namespace they are in', async () => {
  await using s = await start();
  await using bridge = await startService({
    registration: { 'org.matrix.msc3202': true },
    namespaces: {
      users: [
        { regex: '@_bridge_.*', exclusive: true },
        { regex: '@.*', exclusive: false },
      ],
    },
  });
  await addService(s.server, bridge);
  const client = await ann(s);
  const ghost = await bridge.register(s.server, '_bridge_ghost');
  await bridge.do(s.server, 'PUT', '/devices/GHOST', { as: ghost, body: {} });
  const send = (userId: string) =>
    client.put(`/sendToDevice/m.test/${userId}`, { messages: { [userId]: { '*': { to: userId } } } });
  await send(ANN);
  await send(ghost);
  const told = () => bridge.transactions.flatMap(({ body }) => body.to_device ?? []);
  await until(() => told().some(({ to_user_id: userId }) => userId === ghost), 'the message to the ghost');
  assert.deepEqual(
    told().map(({ to_user_id: userId }) => userId),
    [ghost],
  );
  assert.deepEqual(
    (await client.sync()).to_device.events.map(({ content }: { content: object }) => content),
    [{ to: ANN }],
  );
});

test('application services make their users, by a token in the address too, and sign nobody in: no token of ours is good', async () => {
  await using s = await start();
  await using bridge = await startService();
  await addService(s.server, bridge);
  const type = 'm.login.application_service';
  const post = (path: string, body: object, token = bridge.asToken) =>
    request(s.server, 'POST', `/_matrix/client/v3/${path}?access_token=${token}`, { body });
  const username = '_bridge_ghost';
  const identifier = { type: 'm.id.user', user: username };
  const cases = [
    ['register', { type, username }, 400, 'M_APPSERVICE_LOGIN_UNSUPPORTED'],
    ['register', { type, username, inhibit_login: true }, 200, undefined],
    ['login', { type, identifier }, 400, 'M_APPSERVICE_LOGIN_UNSUPPORTED'],
  ] as const;
  for (const [path, body, status, errcode] of cases) {
    const answer = await post(path, body);
    assert.deepEqual([answer.status, answer.body.errcode], [status, errcode], JSON.stringify(body));
  }
  // Not offered either, nor said to strangers.
  assert.equal((await post('login', { type, identifier }, 'guessed')).status, 404);
  const who = await bridge.do(s.server, 'GET', '/account/whoami', { as: '@_bridge_ghost:kurir.test' });
  assert.equal(who.user_id, '@_bridge_ghost:kurir.test');
});

test('what the service does to devices is done here, at once', async () => {
  await using s = await start();
  const { server } = s;
  const client = await ann(s);
  const names = async (): Promise<Record<string, unknown>> => {
    const { devices } = await client.get('/devices');
    return Object.fromEntries(
      devices.map((device: { device_id: string; display_name?: string }) => [
        device.device_id,
        device.display_name,
      ]),
    );
  };
  const device = { localpart: 'ann', device_id: 'PHONE' };
  assert.equal((await call(server, 'upsert_device', { ...device, display_name: 'Phone' })).status, 200);
  assert.equal(
    (await call(server, 'update_device_display_name', { ...device, display_name: 'My phone' })).status,
    200,
  );
  assert.deepEqual(await names(), { PHONE: 'My phone' });
  assert.equal(
    (await call(server, 'sync_devices', { localpart: 'ann', devices: ['PHONE', 'LAPTOP'] })).status,
    200,
  );
  assert.deepEqual(Object.keys(await names()), ['LAPTOP', 'PHONE']);
  await client.post('/pushers/set', {
    ...{ kind: 'http', app_id: 'app', pushkey: 'key', app_display_name: 'App', device_display_name: 'Phone' },
    ...{ lang: 'en', data: { url: 'https://push.example.org/_matrix/push/v1/notify' } },
  });
  const waiting = client.try('GET', `/sync?timeout=30000&since=${(await client.sync()).next_batch}`);
  s.service.tokens.clear();
  assert.equal((await call(server, 'delete_device', device)).status, 200);
  assert.equal((await waiting).status, 401);
  assert.deepEqual(await pushers.ofUser(server.ctx.db, ANN), []);
});

test('only the service may call these, and what it says must make sense', async () => {
  await using s = await start();
  const { server } = s;
  await ann(s);
  assert.equal((await call(server, 'provision_user', { localpart: 'bob' }, 'wrong')).status, 403);
  assert.equal((await call(server, 'provision_user', { localpart: 'bob' }, 'mat_ann')).status, 403);
  assert.equal((await request(server, 'POST', '/_synapse/mas/provision_user', { body: {} })).status, 401);
  const available = async (localpart: string): Promise<unknown[]> => {
    const path = `/_synapse/mas/is_localpart_available?localpart=${encodeURIComponent(localpart)}`;
    const { status, body } = await request(server, 'GET', path, { token: SECRET });
    return [status, body.errcode];
  };
  assert.deepEqual(await available('bob'), [200, undefined]);
  assert.deepEqual(await available('ann'), [400, 'M_USER_IN_USE']);
  assert.deepEqual(await available('B ob'), [400, 'M_INVALID_USERNAME']);
  assert.deepEqual(await available(''), [400, 'M_MISSING_PARAM']);
  const wrong: readonly (readonly [string, object, number])[] = [
    ['provision_user', {}, 400],
    ['provision_user', { localpart: 7 }, 400],
    ['provision_user', { localpart: 'B b' }, 400],
    ['provision_user', { localpart: 'bob', set_displayname: 'x'.repeat(300) }, 400],
    ['provision_user', { localpart: 'bob', set_emails: ['none'] }, 400],
    ['provision_user', { localpart: 'bob', locked: 'yes' }, 400],
    ['upsert_device', { localpart: 'nobody', device_id: 'A' }, 404],
    ['upsert_device', { localpart: 'ann' }, 400],
    ['upsert_device', { localpart: 'ann', device_id: '' }, 400],
    ['update_device_display_name', { localpart: 'ann', device_id: 'NONE', display_name: 'x' }, 404],
    ['update_device_display_name', { localpart: 'ann', device_id: 'PHONE' }, 400],
    ['delete_device', { localpart: 'ann' }, 400],
    ['sync_devices', { localpart: 'ann', devices: 'PHONE' }, 400],
    ['delete_user', { localpart: 'ann', erase: 'no' }, 400],
    ['set_displayname', { localpart: 'ann' }, 400],
    ['reactivate_user', { localpart: 'nobody' }, 404],
    ['allow_cross_signing_reset', {}, 400],
  ];
  for (const [name, body, status] of wrong) {
    assert.equal((await call(server, name, body)).status, status, `${name} ${JSON.stringify(body)}`);
  }
  assert.equal(await users.of(server.ctx.db, '@bob:kurir.test'), undefined);
});

test('without the option nothing of this is served', async () => {
  await using server = await startServer();
  assert.equal((await call(server, 'provision_user', { localpart: 'bob' })).status, 404);
  assert.equal(withDelegatedLogin(server.ctx.config), server.ctx.config);
});

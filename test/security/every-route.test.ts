/**
 * Every route that clients reach, as the application itself lists them, asked by those who must not have what is behind
 * it: by nobody, with a token that never was, by users who are locked or suspended, by a guest, and by a user who asks
 * for what is another's. A new route is in it by itself; one that is open to everybody needs a line in `PUBLIC`.
 */

import assert from 'node:assert/strict';
import { after, before, test } from 'node:test';
import { createAccount } from '#server/auth/accounts.ts';
import { setLocked, setSuspended } from '#server/auth/moderation.ts';
import { listedRoutes, refusalOf } from '#server/auth/route-access.ts';
import * as users from '#storage/users.ts';
import { type Answer, login, register, request, TestClient } from '#test/harness/client.ts';
import { clientRoutes, pathOf as pathWith, type Route } from '#test/harness/routes.ts';
import { startServer, type TestServer } from '#test/harness/server.ts';
import { specBundle } from '#test/harness/spec/bundle.ts';

/** Routes without an access token, and why. */
const PUBLIC: readonly (readonly [RegExp, string])[] = [
  [/^GET \/(health|_kurir\/health)?$/, 'says that the server runs'],
  [/^GET \/\.well-known\//, 'how clients and servers find this one'],
  [/^GET \/_matrix\/client\/versions$/, 'what clients may use'],
  [/^(GET|POST) \/_matrix\/client\/v3\/login$/, 'how one gets a token'],
  [/^GET \/_matrix\/client\/v3\/login\/sso\/redirect/, 'how one gets a token'],
  [/^GET \/_matrix\/client\/v1\/auth_metadata$/, 'how one gets a token'],
  [
    /^(GET|POST) \/oauth2\//,
    'how one gets a token: pages for people, and what clients have a code or token for',
  ],
  [/^GET \/_matrix\/client\/unstable\/org\.matrix\.msc2965\//, 'how one gets a token'],
  [/^POST \/_matrix\/client\/v3\/refresh$/, 'the refresh token is its authentication'],
  [/^POST \/_matrix\/client\/v3\/register$/, 'how one gets an account'],
  [/^GET \/_matrix\/client\/v3\/register\/available$/, 'asked before one has an account'],
  [/^GET \/_matrix\/client\/v1\/register\/m\.login\.registration_token\/validity$/, 'the same'],
  [/^POST \/_matrix\/client\/v3\/(register|account\/password)\/\w+\/requestToken$/, 'the same'],
  [/^POST \/_matrix\/client\/v3\/account\/(password|3pid\/\w+\/requestToken)$/, 'by a stage of its own'],
  [/^(GET|POST) \/_matrix\/client\/v3\/auth\/:\w+\/fallback\/web$/, 'a page for a stage'],
  [/^(GET|POST) \/_matrix\/static\/client\/login\/?$/, 'a page to sign in'],
  [
    /^(GET|POST) \/sign-in\/(provider|new-account|client)(\/|$)/,
    'how one signs in by an identity provider: by cookies of the browser, and tokens that the provider has signed',
  ],
  [/^(GET|POST) \/_kurir\//, 'pages for people who have no account yet'],
  [/^(GET|POST) \/_matrix\/.*submit_token$/, 'a page behind a link that was sent'],
  [/^(GET|POST) \/_synapse\/admin\/v1\/register$/, 'the shared secret is its authentication'],
  [/^GET \/_matrix\/client\/v3\/profile\/:\w+(\/:\w+)?$/, 'profiles are public'],
  [/^GET \/_matrix\/client\/v3\/publicRooms$/, 'the directory of rooms is public'],
  [/^GET \/_matrix\/client\/v3\/directory\//, 'aliases and the directory are public'],
  [/^GET \/_matrix\/client\/v1\/room_summary\/:\w+$/, 'what may be seen by who is not in the room'],
  [/^GET \/_matrix\/client\/unstable\/im\.nheko\.summary\//, 'the same'],
  [/^GET \/_matrix\/media\/v3\/(download|thumbnail)\//, 'the media of before there was authentication'],
  [
    /^POST \/_matrix\/client\/unstable\/org\.matrix\.msc4140\/delayed_events\//,
    'who knows the id may (MSC4140)',
  ],
  [/^(GET|POST) \/(sign-in|sign-out)/, 'pages for people who are to sign in, or out'],
  [/^(GET|POST) \/account(\/|$)/, 'pages for people: the cookie of their browser is the authentication'],
  [/^\w+ .*\/(org\.matrix\.msc4108|io\.element\.msc4388)\/rendezvous/, 'who knows the id may (MSC4388)'],
  [/^(GET|POST) \/_matrix\/key\/v2\/query/, 'the keys of servers are public'],
  [/^GET \/_matrix\/federation\/v1\/version$/, 'the name and version are public'],
  [/^GET \/_matrix\/federation\/v1\/openid\/userinfo$/, 'the token of OpenID is its authentication'],
  [/^OPTIONS /, 'preflight requests of browsers'],
];

/** What a stranger gets 2xx for, though it names what is another's, and why; nothing of it is told. */
const HARMLESS: readonly (readonly [RegExp, string])[] = [
  [/^POST .*\/report(\/:\w+)?$/, 'reports look the same whether there is something to report'],
  [/^POST .*\/rooms\/:\w+\/forget$/, 'what was never there is forgotten'],
  [/\/(keys\/query|keys\/claim)$/, 'the keys of anybody are public to users'],
  [/^(GET|PUT|DELETE) .*\/pushrules\/global\/:\w+/, 'the rules of the one who asks'],
  [/^(GET|PUT|POST|DELETE) .*\/room_keys\//, 'the backup of the one who asks'],
  [/dehydrated_device/, 'the device of the one who asks'],
];

const CANARY = 'canary-7f3a';
const LAST = /\/logout|\/deactivate/;

let server: TestServer;
let routes: readonly Route[];
let owner: TestClient;
let roomId: string;
let eventId: string;

before(async () => {
  server = await startServer({
    guestAccess: true,
    publicBaseurl: 'https://matrix.kurir.test',
    registrationSecret: 'a secret of a script',
    ...{ turnUris: ['turn:turn.test'], turnSecret: 'a secret of TURN' },
  });
  // What ends the session comes last.
  const isLast = ({ url }: Route) => Number(LAST.test(url));
  routes = (await clientRoutes(server)).sort((a, b) => isLast(a) - isLast(b));
  owner = await register(server, 'owner');
  await fillAccount();
});

after(() => server[Symbol.asyncDispose]());

/** What belongs to the owner, each with the canary in it. */
async function fillAccount(): Promise<void> {
  roomId = await owner.createRoom({ preset: 'private_chat', name: `${CANARY} room`, topic: CANARY });
  eventId = await owner.send(roomId, `${CANARY} message`);
  await owner.put(`/devices/${owner.deviceId}`, { display_name: `${CANARY} device` });
  await owner.put(`/user/${owner.userId}/account_data/m.direct`, { secret: CANARY });
  await owner.put(`/user/${owner.userId}/rooms/${roomId}/account_data/m.tag`, { tags: { [CANARY]: {} } });
  await owner.post(`/user/${owner.userId}/filter`, { room: { rooms: [`!${CANARY}`] } });
  await owner.post('/keys/upload', { one_time_keys: { 'curve25519:AAAA': CANARY } });
}

/** The values of parameters: what belongs to the owner. */
function ownersValues(): Record<string, string> {
  return {
    userId: owner.userId,
    roomId,
    roomIdOrAlias: roomId,
    eventId,
    deviceId: owner.deviceId,
    roomAlias: '#alias:kurir.test',
    filterId: '1',
    txnId: 'txn',
    eventType: 'm.room.message',
    stateKey: '',
    type: 'm.direct',
    receiptType: 'm.read',
    relType: 'm.annotation',
    serverName: 'kurir.test',
    keyName: 'displayname',
    kind: 'override',
    version: '1',
  };
}

function pathOf(route: Route): string {
  const { url } = route;
  const path = pathWith(route, ownersValues());
  if (url.endsWith('/timestamp_to_event')) return `${path}?ts=1&dir=f`;
  return url.includes('/thumbnail/') ? `${path}?width=32&height=32` : path;
}

/** What may do something on each route, if it gets there. */
function bodyOf({ url }: Route): object {
  if (url.endsWith('/read_markers')) return { 'm.read': eventId };
  if (url.endsWith('/:keyName')) return { displayname: 'Mallory' };
  if (url.endsWith('/status')) return { presence: 'online' };
  if (url.endsWith('/typing/:userId')) return { typing: true, timeout: 1_000 };
  if (/\/(invite|kick|ban|unban)$/.test(url)) return { user_id: '@mallory:kurir.test' };
  if (url.endsWith('/upgrade')) return { new_version: '11' };
  if (url.endsWith('/delete_devices')) return { devices: [owner.deviceId] };
  if (url.endsWith('/keys/query')) return { device_keys: { [owner.userId]: [] } };
  if (url.endsWith('/lock/:userId')) return { locked: true };
  if (url.endsWith('/suspend/:userId')) return { suspended: true };
  if (url.endsWith('/search')) return { search_categories: { room_events: { search_term: CANARY } } };
  if (url.endsWith('/directory/room/:roomAlias')) return { room_id: roomId };
  if (url.endsWith('/list/room/:roomId')) return { visibility: 'public' };
  if (url.includes('/sendToDevice/')) return { messages: {} };
  return { msgtype: 'm.text', body: 'from a stranger' };
}

function ask(route: Route, token?: string): Promise<Answer> {
  const { method } = route;
  return request(server, method, pathOf(route), {
    ...(method !== 'GET' && method !== 'HEAD' && { body: bodyOf(route) }),
    ...(token !== undefined && { token }),
  });
}

function nameOf({ method, url }: Route): string {
  return `${method} ${url}`;
}

function isIn(list: readonly (readonly [RegExp, string])[], route: Route): boolean {
  return list.some(([pattern]) => pattern.test(nameOf(route)));
}

/** The routes that need a token, and what each answers that is not as `expected` says. */
async function surprises(
  token: () => Promise<string | undefined>,
  expected: (route: Route, answer: Answer) => boolean,
): Promise<string[]> {
  const wrong: string[] = [];
  for (const route of routes) {
    if (isIn(PUBLIC, route)) continue;
    // One after the other: what a request does may end the session of the next.
    const answer = await ask(route, await token());
    if (!expected(route, answer)) {
      wrong.push(`${nameOf(route)}: ${answer.status} ${JSON.stringify(answer.body).slice(0, 120)}`);
    }
  }
  return wrong;
}

test('there are many routes, and each open one is named', () => {
  assert.ok(routes.length > 80, `${routes.length} routes`);
});

test('nobody gets anything', async () => {
  const wrong = await surprises(
    async () => undefined,
    (_, { status, body }) => status === 401 && body.errcode === 'M_MISSING_TOKEN',
  );
  assert.deepEqual(wrong, []);
});

test('a token that never was gets nothing', async () => {
  const wrong = await surprises(
    async () => 'kat_never',
    (_, { status, body }) => status === 401 && body.errcode === 'M_UNKNOWN_TOKEN',
  );
  assert.deepEqual(wrong, []);
});

test('a locked user can sign out, and nothing else', async () => {
  const user = await register(server, 'locked');
  await setLocked(server.ctx, user.userId as `@${string}`, true);
  const wrong = await surprises(
    async () => user.accessToken,
    ({ url }, { status, body }) =>
      /\/logout(\/all)?$/.test(url) || (status === 401 && body.errcode === 'M_USER_LOCKED'),
  );
  assert.deepEqual(wrong, []);
});

test('row 167: a guest can do what the list says, and nothing else', async () => {
  let guest: TestClient | undefined;
  const wrong = await surprises(
    async () => {
      guest = await signedIn(guest, async () => {
        const answer = await request(server, 'POST', '/_matrix/client/v3/register?kind=guest', { body: {} });
        return new TestClient(server, { ...answer.body, password: '' });
      });
      return guest.accessToken;
    },
    (route, answer) => {
      const isRefused = refusalOf(who({ isGuest: true }), route.method, route.url) !== undefined;
      return isRefused ? answer.body.errcode === 'M_GUEST_ACCESS_FORBIDDEN' : isClean(answer);
    },
  );
  assert.deepEqual(wrong, []);
});

test('a suspended user can do what the table says, and nothing else', async () => {
  const first = await register(server, 'suspended');
  await setSuspended(server.ctx, first.userId as `@${string}`, true);
  let user: TestClient | undefined = first;
  const wrong = await surprises(
    async () => {
      user = await signedIn(user, () => login(server, first.userId, first.password));
      return user.accessToken;
    },
    (route, answer) => {
      const isRefused = refusalOf(who({ isSuspended: true }), route.method, route.url) !== undefined;
      return isRefused ? answer.body.errcode === 'M_USER_SUSPENDED' : isClean(answer);
    },
  );
  assert.deepEqual(wrong, []);
});

test('a user gets nothing of what is another’s, and changes nothing of it', async () => {
  const before = await snapshot();
  const first = await register(server, 'mallory');
  let user: TestClient | undefined = first;
  const wrong = await surprises(
    async () => {
      user = await signedIn(user, () => login(server, first.userId, first.password));
      return user.accessToken;
    },
    (route, answer) => {
      if (!isClean(answer)) return false;
      const isOfOwner = /:(userId|roomId|roomIdOrAlias|deviceId|eventId)\b/.test(route.url);
      return !isOfOwner || answer.status >= 300 || isIn(HARMLESS, route);
    },
  );
  assert.deepEqual(wrong, []);
  assert.deepEqual(await snapshot(), before);
});

test('what is open to everybody tells nobody what is the owner’s', async () => {
  for (const route of routes) {
    if (!isIn(PUBLIC, route)) continue;
    // One after the other, so that a failure names its route.
    const answer = await ask(route);
    assert.ok(isClean(answer), `${nameOf(route)}: ${JSON.stringify(answer.body)}`);
  }
});

test('a user who confirms it deletes no device of another', async () => {
  const user = await register(server, 'confirming');
  const identifier = { type: 'm.id.user', user: user.userId };
  const auth = { type: 'm.login.password', identifier, password: user.password };
  assert.equal((await user.try('DELETE', `/devices/${owner.deviceId}`, { auth })).status, 200);
  await user.post('/delete_devices', { devices: [owner.deviceId], auth });
  await owner.get('/account/whoami');
});

test('row 168: nobody but administrators reaches what is theirs, however the path is written', async () => {
  await createAccount(server.ctx, { localpart: 'root', password: 'secret', isAdmin: true });
  const user = await register(server, 'plain');
  const path = `/_matrix/client/v1/admin/lock/${encodeURIComponent(owner.userId)}`;
  for (const odd of [path, `${path}/`, `/${path}`, path.replace('lock', '%6cock'), path.toUpperCase()]) {
    const answer = await user.try('GET', odd);
    assert.ok([401, 403, 404].includes(answer.status), `${odd}: ${answer.status}`);
  }
});

test('a route that stands in no table is refused to who may not do everything', () => {
  const url = '/_matrix/client/v9/something/new';
  for (const restricted of [{ isLocked: true }, { isSuspended: true }, { isGuest: true }]) {
    assert.notEqual(refusalOf(who(restricted), 'GET', url), undefined);
  }
  assert.equal(refusalOf(who({}), 'GET', url), undefined);
});

test('each line of the tables is a route of this server, or of the specification', async () => {
  const { operations } = await specBundle();
  const shapes = [
    ...operations.map(({ method, path }) => `${method} ${path}`),
    ...routes.map(({ method, url }) => `${method} ${url}`),
  ].map((line) => line.replaceAll(/:\w+|\{\w+\}/g, '{}').replace(/\/$/, ''));
  const paths = new Set(shapes.flatMap((shape) => [shape, shape.replace(/^\w+ /, '')]));
  const unknown = [...listedRoutes()].filter(
    (line) => !paths.has(line.replace(/^\w+ /, '')) && !line.includes('/unstable/'),
  );
  assert.deepEqual(unknown, []);
});

function who(restrictions: { isLocked?: boolean; isSuspended?: boolean; isGuest?: boolean }) {
  return { isLocked: false, isSuspended: false, isGuest: false, ...restrictions };
}

/** True where an answer tells nothing that belongs to the owner. */
function isClean({ status, body }: Answer): boolean {
  return status < 500 && !JSON.stringify(body).includes(CANARY);
}

/** The user while the session lasts, else one who is signed in again. */
async function signedIn(user: TestClient | undefined, again: () => Promise<TestClient>): Promise<TestClient> {
  if (user !== undefined && (await user.try('GET', '/account/whoami')).status === 200) return user;
  return again();
}

/** What others must not change. */
async function snapshot(): Promise<unknown> {
  const { devices } = await owner.get('/devices');
  return {
    devices: devices.map(({ device_id: id, display_name: name }: Record<string, unknown>) => [id, name]),
    profile: await owner.get(`/profile/${owner.userId}`),
    accountData: await owner.get(`/user/${owner.userId}/account_data/m.direct`),
    state: await owner
      .get(`/rooms/${roomId}/state`)
      .then((state: { event_id: string }[]) => state.map((event) => event.event_id)),
    account: await users.of(server.ctx.db, owner.userId as `@${string}`),
    timeline: (await owner.get(`/rooms/${roomId}/messages?dir=b`)).chunk.length,
  };
}

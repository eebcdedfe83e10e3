import assert from 'node:assert/strict';
import { test } from 'node:test';
import * as deviceOrigins from '#storage/device-origins.ts';
import { register, request } from '#test/harness/client.ts';
import { startServer } from '#test/harness/server.ts';
import { Browser } from './browser.ts';
import { formTokenOf, loginTokenBy, signInBy, startWithProvider } from './signing-in.ts';

const PERSON = { sub: 'p-1', preferred_username: 'ann' } as const;
const REDIRECT = '/_matrix/client/v3/login/sso/redirect';
const LOGIN = '/_matrix/client/v3/login';

function clientPath(redirectUrl: string): string {
  return `/sign-in/client?redirectUrl=${encodeURIComponent(redirectUrl)}`;
}

test('GET /login tells the providers of m.login.sso; without any there is no such flow', async () => {
  await using plain = await startServer();
  const without = await request(plain, 'GET', LOGIN);
  assert.deepEqual(
    without.body.flows.map(({ type }: { type: string }) => type),
    ['m.login.password', 'm.login.token'],
  );
  await using s = await startWithProvider({
    label: 'Staff',
    brand: 'keycloak',
    icon: 'mxc://kurir.test/icon',
  });
  const { flows } = (await request(s.server, 'GET', LOGIN)).body;
  const sso = flows.find(({ type }: { type: string }) => type === 'm.login.sso');
  assert.deepEqual(sso.identity_providers, [
    { id: 'staff', name: 'Staff', brand: 'keycloak', icon: 'mxc://kurir.test/icon' },
  ]);
  const preferred = async (): Promise<unknown[]> => {
    const [first] = (await request(s.server, 'GET', LOGIN)).body.flows;
    return [first.type, first.oauth_aware_preferred];
  };
  // Clients that know of OAuth 2.0 offer this alone, where there is OAuth 2.0 and no password besides.
  assert.deepEqual(await preferred(), ['m.login.sso', undefined]);
  await s.server.restart({ passwordLogin: false });
  assert.deepEqual(await preferred(), ['m.login.sso', true]);
  await s.server.restart({ passwordLogin: false, oauth: false });
  assert.deepEqual(await preferred(), ['m.login.sso', undefined]);
});

test('the redirect leads to the sign-in page, or to the provider that is named, and keeps where to go on', async () => {
  await using s = await startWithProvider();
  const client = 'https://chat.example.org/?a=b#c';
  const query = `redirectUrl=${encodeURIComponent(client)}`;
  const locationOf = async (path: string): Promise<string> => {
    const page = await new Browser().request(`${s.url}${path}`);
    assert.equal(page.status, 302);
    return page.headers.get('location') ?? '';
  };
  const next = encodeURIComponent(clientPath(client));
  assert.equal(await locationOf(`${REDIRECT}?${query}`), `/sign-in?next=${next}`);
  assert.equal(
    await locationOf(`${REDIRECT}?${query}&action=register`),
    `/sign-in?next=${next}&prompt=create`,
  );
  assert.equal(await locationOf(`${REDIRECT}/staff?${query}`), `/sign-in/provider/staff?next=${next}`);
  assert.equal(
    await locationOf(`${REDIRECT}/staff?${query}&action=register`),
    `/sign-in/provider/staff?next=${next}&prompt=create`,
  );
  const unknown = await new Browser().request(`${s.url}${REDIRECT}/nobody?${query}`);
  assert.equal(unknown.status, 404);
  assert.match(unknown.text, /no such identity provider/);
});

test('where there is one provider and no password, the redirect leads straight to it', async () => {
  await using s = await startWithProvider({}, { passwordLogin: false });
  s.provider.person = PERSON;
  const page = await new Browser().request(`${s.url}${REDIRECT}?redirectUrl=https%3A%2F%2Fa.example%2F`);
  assert.match(page.headers.get('location') ?? '', /^\/sign-in\/provider\/staff\?next=/);
  const { flows } = (await request(s.server, 'GET', LOGIN)).body;
  assert.deepEqual(
    flows.map(({ type }: { type: string }) => type),
    ['m.login.sso', 'm.login.token'],
  );
  const body = { type: 'm.login.password', identifier: { type: 'm.id.user', user: 'ann' }, password: 'x' };
  assert.equal((await request(s.server, 'POST', LOGIN, { body })).status, 403);
});

test('an address that is none of a client is refused', async () => {
  await using s = await startWithProvider();
  const wrong = [
    ...[
      '',
      'chat',
      '/chat',
      '//chat.example.org',
      'javascript:alert(1)',
      'data:text/html,x',
      'file:///etc/passwd',
    ],
    ...['https://user:password@chat.example.org/', `https://chat.example.org/${'x'.repeat(5_000)}`],
  ];
  for (const url of wrong) {
    for (const path of [
      `${REDIRECT}?redirectUrl=`,
      `${REDIRECT}/staff?redirectUrl=`,
      '/sign-in/client?redirectUrl=',
    ]) {
      const page = await new Browser().request(`${s.url}${path}${encodeURIComponent(url)}`);
      assert.equal(page.status, 400, `${path} ${url}`);
    }
  }
  assert.equal((await new Browser().request(`${s.url}${REDIRECT}`)).status, 400);
  const action = await new Browser().request(
    `${s.url}${REDIRECT}?redirectUrl=https%3A%2F%2Fa.example&action=x`,
  );
  assert.equal(action.status, 400);
});

test('a person is asked before a client gets a token, and told its address; a trusted client gets it at once', async () => {
  await using s = await startWithProvider({}, { ssoTrustedClients: ['https://trusted.example/app/'] });
  s.provider.person = PERSON;
  const browser = new Browser();
  const page = await browser.go(
    `${s.url}/sign-in/provider/staff?next=${encodeURIComponent(clientPath('https://chat.example.org/x'))}`,
  );
  assert.match(page.text, /<strong>chat\.example\.org<\/strong>/);
  assert.match(page.text, /@ann:kurir\.test/);
  assert.match(
    page.headers.get('content-security-policy') ?? '',
    /form-action 'self' https:\/\/chat\.example\.org/,
  );
  assert.equal(page.headers.get('x-frame-options'), 'DENY');
  for (const form of [{}, { form_token: 'wrong' }] as Record<string, string>[]) {
    const refused = await browser.submit(page.url, form);
    assert.equal(refused.status, 200);
    assert.equal(refused.headers.get('location'), null);
  }
  const near = await browser.request(`${s.url}${clientPath('https://trusted.example/application')}`);
  assert.equal(near.status, 200);
  const trusted = await browser.request(
    `${s.url}${clientPath('https://trusted.example/app/?loginToken=old&x=1')}`,
  );
  assert.equal(trusted.status, 303);
  const location = new URL(trusted.headers.get('location') ?? '');
  assert.equal(location.searchParams.getAll('loginToken').length, 1);
  assert.equal(location.searchParams.get('x'), '1');
  assert.notEqual(location.searchParams.get('loginToken'), 'old');
  const program = await browser.request(`${s.url}${clientPath('io.element.desktop:/vector/webapp/')}`);
  assert.match(program.text, /io\.element\.desktop:/);
  const sent = await browser.submit(program.url, { form_token: formTokenOf(program.text) });
  assert.match(
    sent.headers.get('location') ?? '',
    /^io\.element\.desktop:\/vector\/webapp\/\?loginToken=klt_/,
  );
});

test('a login token is good once, and not for long; the device knows which session of the provider it is of', async () => {
  let now = Date.now();
  await using s = await startWithProvider({}, { clock: { now: () => now } });
  s.provider.person = PERSON;
  const token = await loginTokenBy(s);
  const body = { type: 'm.login.token', token };
  const answer = await request(s.server, 'POST', LOGIN, { body });
  assert.equal(answer.status, 200);
  assert.equal((await request(s.server, 'POST', LOGIN, { body })).status, 403);
  const device = { userId: '@ann:kurir.test', deviceId: answer.body.device_id } as const;
  const origin = await deviceOrigins.of(s.server.ctx.db, device);
  assert.equal(origin?.provider, 'staff');
  assert.equal(origin?.subject, 'p-1');
  const late = await loginTokenBy(s);
  now += 31_000;
  assert.equal((await request(s.server, 'POST', LOGIN, { body: { ...body, token: late } })).status, 403);
});

/** What a client is told it must do, and the session. */
async function begun(
  client: {
    try: (
      method: string,
      path: string,
      body?: unknown,
    ) => Promise<{ status: number; body: { session: string; flows: unknown; completed: string[] } }>;
  },
  deviceId: string,
): Promise<{ session: string; flows: unknown }> {
  const answer = await client.try('DELETE', `/devices/${deviceId}`, {});
  assert.equal(answer.status, 401);
  return answer.body;
}

test('who has no password confirms by the provider, after being told what it is', async () => {
  await using s = await startWithProvider();
  s.provider.person = PERSON;
  const browser = new Browser();
  const [ann, old] = [await signInBy(s, browser), await signInBy(s)];
  const { session, flows } = await begun(ann, old.deviceId);
  assert.deepEqual(flows, [{ stages: ['m.login.sso'] }]);
  const remove = () => ann.try('DELETE', `/devices/${old.deviceId}`, { auth: { session } });
  // The stage is nothing that a client can say to be done.
  const claimed = await ann.try('DELETE', `/devices/${old.deviceId}`, {
    auth: { type: 'm.login.sso', session },
  });
  assert.equal(claimed.status, 401);
  const fallback = `${s.url}/_matrix/client/v3/auth/m.login.sso/fallback/web?session=${session}`;
  const asked = s.provider.asked.length;
  const page = await browser.go(fallback);
  assert.equal(page.status, 200);
  assert.match(page.text, /delete .* of @ann:kurir\.test/);
  assert.ok(browser.visited.some((url) => url.includes('prompt=login')) && s.provider.asked.length > asked);
  assert.equal((await remove()).status, 401);
  const stranger = await new Browser().submit(fallback, {});
  assert.equal(stranger.status, 404);
  assert.equal((await remove()).status, 401);
  const done = await browser.submit(fallback, {});
  assert.equal(done.status, 200);
  assert.match(done.text, /onAuthDone/);
  assert.equal((await remove()).status, 200);
  assert.equal((await old.try('GET', '/account/whoami')).status, 401);
});

test('another person cannot confirm for somebody, not even one of the same provider', async () => {
  await using s = await startWithProvider();
  s.provider.person = PERSON;
  const [ann, old] = [await signInBy(s), await signInBy(s)];
  const { session } = await begun(ann, old.deviceId);
  s.provider.person = { sub: 'p-2', preferred_username: 'bob' };
  await signInBy(s);
  const browser = new Browser();
  const fallback = `${s.url}/_matrix/client/v3/auth/m.login.sso/fallback/web?session=${session}`;
  const page = await browser.go(fallback);
  assert.equal(page.status, 403);
  assert.equal((await browser.submit(fallback, {})).status, 404);
  assert.equal((await ann.try('DELETE', `/devices/${old.deviceId}`, { auth: { session } })).status, 401);
});

test('the stage is offered to nobody who does not sign in by a provider, and its page shows nothing then', async () => {
  await using s = await startWithProvider();
  const kim = await register(s.server);
  const { session, flows } = await begun(kim, kim.deviceId);
  assert.deepEqual(flows, [{ stages: ['m.login.password'] }]);
  const path = '/_matrix/client/v3/auth/m.login.sso/fallback/web';
  for (const query of [`?session=${session}`, '?session=nothing', '']) {
    assert.equal((await new Browser().request(`${s.url}${path}${query}`)).status, 404);
  }
});

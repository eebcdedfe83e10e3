/** Policies that who has an account is to accept: `terms_enforced` and `terms_reminder`. */

import assert from 'node:assert/strict';
import { test } from 'node:test';
import type { UserId } from '#keys/ids.ts';
import { perform } from '#server/cli/operations.ts';
import { ConfigError } from '#server/config/config-file.ts';
import { loadConfig } from '#server/config.ts';
import type { Config } from '#server/config-options.ts';
import { languages } from '#server/languages/choose.ts';
import * as acceptedPolicies from '#storage/accepted-policies.ts';
import * as users from '#storage/users.ts';
import { type Answer, type Body, register, request, type TestClient } from '#test/harness/client.ts';
import { inRoom } from '#test/harness/conversation.ts';
import { startServer, type TestServer } from '#test/harness/server.ts';
import { startService } from '#test/harness/service.ts';
import { addService } from '#test/harness/service-server.ts';
import { until } from '#test/harness/until.ts';

const FORM = { 'content-type': 'application/x-www-form-urlencoded' };
const BASE = 'https://matrix.kurir.test';

function terms(version: string): Config['terms'] {
  return languages.map((language) => ({
    ...{ policyId: 'privacy', version, language },
    ...{ url: `https://example.org/privacy-${version}-${language}.html`, name: `Privacy <${language}>` },
  }));
}

const ENFORCED: Partial<Config> = { terms: terms('1'), termsEnforced: true, publicBaseurl: BASE };

/** A server whose users had their accounts before there were policies. */
async function withUsers(options: Partial<Config> = ENFORCED): Promise<{
  server: TestServer;
  alice: TestClient;
  bob: TestClient;
  roomId: string;
}> {
  const server = await startServer();
  const [alice, bob] = [await register(server), await register(server)];
  const roomId = await alice.createRoom({ preset: 'public_chat' });
  await server.restart(options);
  return { server, alice, bob, roomId };
}

function assertAsked({ status, body }: Answer): string {
  assert.deepEqual([status, body.errcode], [403, 'M_CONSENT_NOT_GIVEN'], JSON.stringify(body));
  assert.match(body.consent_uri, /^https:\/\/matrix\.kurir\.test\/_kurir\/terms\?for=[\w-]+$/);
  return body.consent_uri.slice(BASE.length);
}

/** What the form of a page would send. */
function formIn(page: string): URLSearchParams {
  const [, versions = ''] = /name="versions" value="([^"]*)"/.exec(page) ?? [];
  return new URLSearchParams({ accepts: 'yes', versions: versions.replaceAll('&quot;', '"') });
}

async function accept(server: TestServer, path: string): Promise<Answer> {
  const page = await request(server, 'GET', path);
  assert.equal(page.status, 200);
  return request(server, 'POST', path, { body: formIn(page.body).toString(), headers: FORM });
}

test('who has not accepted reads and keeps their keys, but writes only once they have; each new version is asked for', async () => {
  const { server, alice, roomId } = await withUsers();
  await using _ = server;
  const encoded = encodeURIComponent(alice.userId);
  for (const path of [
    ...['/sync', '/account/whoami', '/devices', `${inRoom(roomId)}/messages?dir=b`, '/pushrules/'],
    ...['/voip/turnServer', '/capabilities', `/profile/${encoded}`, '/thirdparty/protocols', '/joined_rooms'],
  ]) {
    assert.equal((await alice.try('GET', path)).status, 200, path);
  }
  await alice.post('/keys/query', { device_keys: {} });
  await alice.put(`/presence/${encoded}/status`, { presence: 'online' });
  const send = () =>
    alice.try('PUT', `${inRoom(roomId)}/send/m.room.message/${Math.random()}`, { body: 'x' });
  for (const [method, path, body] of [
    ['POST', '/createRoom', {}],
    ['POST', `/join/${encodeURIComponent(roomId)}`, {}],
    ['PUT', `/profile/${encoded}/displayname`, { displayname: 'x' }],
    ['PUT', `${inRoom(roomId)}/typing/${encoded}`, { typing: true }],
    ['PUT', `${inRoom(roomId)}/redact/$x/1`, {}],
    ['PUT', `${inRoom(roomId)}/state/m.room.topic`, { topic: 'x' }],
    ['POST', `${inRoom(roomId)}/invite`, { user_id: '@x:y' }],
  ] as const) {
    assertAsked(await alice.try(method, path, body));
  }
  const path = assertAsked(await send());
  const accepted = await accept(server, path);
  assert.equal(accepted.status, 200);
  assert.match(accepted.body, /Policies accepted/);
  assert.equal((await send()).status, 200);
  assert.match((await request(server, 'GET', path)).body, /Policies accepted/, 'nothing is left to accept');

  await server.restart({ terms: terms('2') });
  const later = assertAsked(await send());
  await accept(server, later);
  assert.equal((await send()).status, 200);
  const kept = await acceptedPolicies.ofUser(server.ctx.db, alice.userId as UserId);
  assert.deepEqual(
    kept.map(({ policyId, version }) => [policyId, version]),
    [
      ['privacy', '1'],
      ['privacy', '2'],
    ],
  );
  assert.ok(kept.every(({ acceptedTs }) => acceptedTs > 0));
  const shown = await perform(server.ctx, { operation: 'user.terms', user: alice.userId });
  assert.match(
    shown.kind === 'done' ? shown.lines.join(';') : '',
    /^privacy {2}1 {2}\d{4}-.*;privacy {2}2 {2}\d/,
  );
  await alice.post('/logout', {});
});

test('who registers with the policies is not asked again; nor are guests, administrators and application services', async () => {
  await using service = await startService();
  const { server, alice } = await withUsers({ ...ENFORCED, guestAccess: true });
  await using _ = server;
  const body = { username: 'new', password: 'a password', auth: { type: 'm.login.terms' } };
  const made = await request(server, 'POST', '/_matrix/client/v3/register', { body });
  assert.equal(made.status, 200, JSON.stringify(made.body));
  const create = (token: string) =>
    request(server, 'POST', '/_matrix/client/v3/createRoom', { body: {}, token });
  assert.equal((await create(made.body.access_token)).status, 200);
  assertAsked(await create(alice.accessToken));
  await addService(server, service);
  assert.equal((await create(service.asToken)).status, 200);
  await server.ctx.db.write('test', (tx) => users.setAdmin(tx, alice.userId as UserId, true));
  server.ctx.sessions.forget(alice.userId as UserId);
  assert.equal((await create(alice.accessToken)).status, 200);
  const guest = await request(server, 'POST', '/_matrix/client/v3/register?kind=guest', { body: {} });
  // Guests make no rooms: what they are refused for is another thing.
  assert.equal((await create(guest.body.access_token)).body.errcode, 'M_GUEST_ACCESS_FORBIDDEN');
});

test('row 27: the page is in each language, and takes nothing that was not shown, not accepted, or sent from elsewhere', async () => {
  const { server, alice } = await withUsers();
  await using _ = server;
  const path = assertAsked(await alice.try('POST', '/createRoom', {}));
  for (const language of languages) {
    const { status, body, headers } = await request(server, 'GET', `${path}&lang=${language}`);
    assert.equal(status, 200);
    assert.match(body, new RegExp(`<html lang="${language}">`));
    for (const other of languages) assert.ok(body.includes(`Privacy &lt;${other}&gt;`));
    assert.ok(body.includes(alice.userId));
    assert.ok(!body.includes('<script'));
    assert.ok(!body.includes(path.split('=')[1] ?? ''), 'what stands in the address stands not in the page');
    assert.equal(headers.get('referrer-policy'), 'no-referrer');
    assert.equal(headers.get('x-frame-options'), 'DENY');
  }
  const post = (fields: Record<string, string>, headers: Record<string, string> = {}) =>
    request(server, 'POST', path, {
      body: new URLSearchParams(fields).toString(),
      headers: { ...FORM, ...headers },
    });
  const form = Object.fromEntries(formIn((await request(server, 'GET', path)).body));
  const bad: readonly [Record<string, string>, Record<string, string>?][] = [
    [{}],
    [{ ...form, accepts: 'no' }],
    [{ accepts: 'yes' }],
    [{ ...form, versions: '[["privacy","0"]]' }],
    [form, { origin: 'https://evil.test' }],
    [form, { 'sec-fetch-site': 'cross-site' }],
  ];
  for (const [fields, headers] of bad) assert.equal((await post(fields, headers)).status, 400);
  assertAsked(await alice.try('POST', '/createRoom', {}));
  for (const wrong of [
    '/_kurir/terms',
    '/_kurir/terms?for=x',
    path.slice(0, -4),
    '/_kurir/terms?for=a&for=b',
  ]) {
    assert.equal((await request(server, 'GET', wrong)).status, 400, wrong);
    assert.equal((await request(server, 'POST', wrong, { body: 'accepts=yes', headers: FORM })).status, 400);
  }
  assert.equal((await post(form)).status, 200);
});

test('a reminder comes once for each version, and its room can be joined before', async () => {
  const { server, alice, bob, roomId } = await withUsers({ ...ENFORCED, termsReminder: true });
  await using _ = server;
  await alice.sync();
  const invited = await alice.syncUntil(({ rooms }: Body) => Object.keys(rooms?.invite ?? {}).length > 0);
  const [notices = ''] = Object.keys(invited.rooms.invite);
  assertAsked(await bob.try('POST', `${inRoom(roomId)}/join`, {}));
  await alice.join(notices);
  const noticesOf = async (): Promise<string[]> => {
    const { chunk } = await alice.get(`${inRoom(notices)}/messages?dir=b`);
    const messages = chunk.filter(({ type }: Body) => type === 'm.room.message');
    return messages.map(({ content }: Body) => content.body);
  };
  const [text = '', ...more] = await noticesOf();
  assert.equal(more.length, 0);
  const link = /https:\/\/matrix\.kurir\.test(\S+)$/.exec(text)?.[1] ?? '';
  await server.restart();
  await alice.sync();
  await bob.sync();
  await bob.syncUntil(({ rooms }: Body) => Object.keys(rooms?.invite ?? {}).length > 0);
  assert.equal((await noticesOf()).length, 1, 'the others are reminded, and nobody twice');
  await accept(server, link);
  await alice.createRoom();

  await server.restart({ terms: terms('2') });
  await alice.sync();
  await until(async () => (await noticesOf()).length === 2, 'a reminder of the new version');
});

test('without terms_enforced a reminder is all', async () => {
  const { server, alice } = await withUsers({ ...ENFORCED, termsEnforced: false, termsReminder: true });
  await using _ = server;
  await alice.createRoom();
  await alice.syncUntil(({ rooms }: Body) => Object.keys(rooms?.invite ?? {}).length > 0);
});

test('terms_enforced and terms_reminder need terms and public_baseurl', async () => {
  const policy = 'privacy 1 en https://example.org/p.html Privacy';
  for (const name of ['KURIR_TERMS_ENFORCED', 'KURIR_TERMS_REMINDER']) {
    await assert.rejects(loadConfig([], { [name]: 'on' }), ConfigError);
    await assert.rejects(loadConfig([], { [name]: 'on', KURIR_TERMS: policy }), ConfigError);
    const config = await loadConfig([], {
      ...{ [name]: 'on', KURIR_TERMS: policy, KURIR_PUBLIC_BASEURL: BASE },
    });
    assert.equal(config.terms.length, 1);
  }
});

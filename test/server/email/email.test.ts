/** E-mail addresses of accounts: how they are confirmed, added and taken away, and what they are good for. */

import assert from 'node:assert/strict';
import { writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { test } from 'node:test';
import { firstAccount } from '#server/auth/first-account.ts';
import { canonicalEmail } from '#server/email/address.ts';
import { createAuthority } from '#test/harness/certificates.ts';
import { type Answer, login, register, request, type TestClient } from '#test/harness/client.ts';
import { temporaryFolder } from '#test/harness/databases.ts';
import { type MailServer, mailOptions, startMailServer } from '#test/harness/mail-server.ts';
import { startServer, type TestServer } from '#test/harness/server.ts';

const V3 = '/_matrix/client/v3';
const FORM = { 'content-type': 'application/x-www-form-urlencoded' };
const MAIL = 'alice@example.org';

type Place = 'register' | 'account/password' | 'account/3pid';

function assertError(answer: Answer, status: number, errcode: string): void {
  assert.deepEqual([answer.status, answer.body.errcode], [status, errcode], JSON.stringify(answer.body));
}

function post(server: TestServer, path: string, body: object): Promise<Answer> {
  return request(server, 'POST', `${V3}${path}`, { body });
}

function requestToken(server: TestServer, place: Place, fields: object = {}): Promise<Answer> {
  const body = { email: MAIL, client_secret: 'secret', send_attempt: 1, ...fields };
  return post(server, `/${place}/email/requestToken`, body);
}

/** Clicks on the button of the page behind the link of the last letter. */
async function click(server: TestServer, mail: MailServer): Promise<Answer> {
  return await request(server, 'POST', mail.last.link, { body: '', headers: FORM });
}

/** A confirmed address: what a client then says of it. */
async function confirmed(
  server: TestServer,
  mail: MailServer,
  { place, email = MAIL, secret = 'secret' }: { place: Place; email?: string; secret?: string },
): Promise<{ sid: string; client_secret: string }> {
  const asked = await requestToken(server, place, { email, client_secret: secret });
  assert.equal(asked.status, 200, JSON.stringify(asked.body));
  assert.equal((await click(server, mail)).status, 200);
  return { sid: asked.body.sid, client_secret: secret };
}

function passwordStage(user: TestClient): object {
  return {
    type: 'm.login.password',
    identifier: { type: 'm.id.user', user: user.userId },
    password: user.password,
  };
}

async function addEmail(server: TestServer, mail: MailServer, user: TestClient, email = MAIL): Promise<void> {
  const credentials = await confirmed(server, mail, { place: 'account/3pid', email, secret: user.deviceId });
  await user.post('/account/3pid/add', { ...credentials, auth: passwordStage(user) });
}

async function addresses(user: TestClient): Promise<string[]> {
  const { threepids } = await user.get('/account/3pid');
  return threepids.map(({ address }: { address: string }) => address);
}

function emailStage(credentials: object): object {
  return { type: 'm.login.email.identity', threepid_creds: credentials };
}

test('an address is added by a confirmed session and the password, and deleted by its user alone', async () => {
  await using mail = await startMailServer();
  await using server = await startServer(mailOptions(mail));
  const alice = await register(server, 'alice');
  const bob = await register(server, 'bob');
  const { capabilities } = await alice.get('/capabilities');
  assert.deepEqual(capabilities['m.3pid_changes'], { enabled: true });

  const asked = await requestToken(server, 'account/3pid', { email: 'Alice@EXAMPLE.org' });
  assert.equal(asked.status, 200);
  assert.deepEqual(Object.keys(asked.body), ['sid'], 'the link is followed outside of the client');
  assert.deepEqual(mail.last.to, [MAIL]);
  const credentials = { sid: asked.body.sid, client_secret: 'secret' };
  const add = (body: object) => alice.try('POST', '/account/3pid/add', body);
  const auth = passwordStage(alice);
  assertError(await add({ ...credentials, auth }), 403, 'M_THREEPID_AUTH_FAILED');

  const page = await request(server, 'GET', mail.last.link);
  assert.equal(page.status, 200);
  assertError(await add({ ...credentials, auth }), 403, 'M_THREEPID_AUTH_FAILED');
  assert.equal((await click(server, mail)).status, 200);
  assert.equal((await click(server, mail)).status, 200, 'a second click changes nothing');
  assert.match((await request(server, 'GET', mail.last.link)).body, /is confirmed/);
  assertError(await add({ ...credentials, client_secret: 'other', auth }), 403, 'M_THREEPID_AUTH_FAILED');
  const unauthorised = await add(credentials);
  assert.equal(unauthorised.status, 401);
  assert.deepEqual(unauthorised.body.flows, [{ stages: ['m.login.password'] }]);
  assert.equal((await add({ ...credentials, auth })).status, 200);
  assertError(await add({ ...credentials, auth }), 403, 'M_THREEPID_AUTH_FAILED');

  const { threepids } = await alice.get('/account/3pid');
  assert.equal(threepids.length, 1);
  const [{ medium, address, validated_at: validatedAt, added_at: addedAt }] = threepids;
  assert.deepEqual([medium, address], ['email', MAIL]);
  assert.ok(Number.isInteger(validatedAt) && addedAt >= validatedAt);
  assert.deepEqual(await addresses(bob), []);

  const target = { medium: 'email', address: 'ALICE@example.org' };
  assert.deepEqual(await bob.post('/account/3pid/delete', target), { id_server_unbind_result: 'no-support' });
  assert.deepEqual(await addresses(alice), [MAIL]);
  assert.deepEqual(await alice.post('/account/3pid/delete', target), {
    id_server_unbind_result: 'no-support',
  });
  assert.deepEqual(await addresses(alice), []);
});

test('the deprecated form adds an address too, with the password; identity servers have no part in it', async () => {
  await using mail = await startMailServer();
  await using server = await startServer(mailOptions(mail));
  const alice = await register(server);
  const credentials = await confirmed(server, mail, { place: 'account/3pid' });
  const body = { three_pid_creds: { ...credentials, id_server: 'id.test', id_access_token: 'x' } };
  assert.equal((await alice.try('POST', '/account/3pid', body)).status, 401);
  await alice.post('/account/3pid', { ...body, auth: passwordStage(alice) });
  assert.deepEqual(await addresses(alice), [MAIL]);
  assertError(await alice.try('POST', '/account/3pid', {}), 400, 'M_MISSING_PARAM');

  // "This parameter is ignored when the homeserver handles 3PID verification."
  const by = { id_server: 'id.test', id_access_token: 'x', client_secret: 'other' };
  assert.equal((await requestToken(server, 'account/3pid', by)).status, 200);

  const bind = { ...credentials, id_server: 'id.test', id_access_token: 'x' };
  assertError(await alice.try('POST', '/account/3pid/bind', bind), 400, 'M_SERVER_NOT_TRUSTED');
  assertError(await alice.try('POST', '/account/3pid/bind', {}), 400, 'M_MISSING_PARAM');
  const unbound = await alice.post('/account/3pid/unbind', { medium: 'email', address: MAIL });
  assert.deepEqual(unbound, { id_server_unbind_result: 'no-support' });
  for (const wrong of [{}, { medium: 'fax', address: '1' }, { medium: 'email', address: ['x'] }]) {
    assert.equal((await alice.try('POST', '/account/3pid/unbind', wrong)).status, 400);
    assert.equal((await alice.try('POST', '/account/3pid/delete', wrong)).status, 400);
  }
  assert.deepEqual(await addresses(alice), [MAIL]);
});

test('an address that belongs to an account is told to the address alone, and cannot be added by another', async () => {
  await using mail = await startMailServer();
  await using server = await startServer(mailOptions(mail));
  const alice = await register(server, 'alice');
  const bob = await register(server, 'bob');
  await addEmail(server, mail, alice);

  for (const place of ['register', 'account/3pid'] as const) {
    const count = mail.letters.length;
    assert.equal((await requestToken(server, place, { client_secret: 'mallory' })).status, 200);
    assert.equal(mail.letters.length, count + 1);
    assert.match(mail.last.body, /has this address already/);
    assert.equal(mail.last.link, '');
  }
  const unknown = await requestToken(server, 'account/password', { email: 'nobody@example.org' });
  assert.deepEqual([unknown.status, Object.keys(unknown.body)], [200, ['sid']]);
  assert.match(mail.last.body, /No account there has this address/);
  assert.equal(mail.last.link, '');

  // Both had a letter before either added the address.
  const first = await confirmed(server, mail, {
    place: 'account/3pid',
    email: 'b@example.org',
    secret: 'one',
  });
  const second = await confirmed(server, mail, {
    place: 'account/3pid',
    email: 'b@example.org',
    secret: 'two',
  });
  await bob.post('/account/3pid/add', { ...first, auth: passwordStage(bob) });
  const late = await alice.try('POST', '/account/3pid/add', { ...second, auth: passwordStage(alice) });
  assertError(late, 400, 'M_THREEPID_IN_USE');
  assert.deepEqual(await addresses(alice), [MAIL]);
});

test('a letter is sent once for each send_attempt, to the same session; an older link ends', async () => {
  await using mail = await startMailServer();
  await using server = await startServer(mailOptions(mail));
  const ask = async (fields: object) => (await requestToken(server, 'account/3pid', fields)).body.sid;
  const sid = await ask({});
  assert.equal(await ask({}), sid);
  assert.equal(mail.letters.length, 1);
  const { link } = mail.last;
  assert.equal(await ask({ send_attempt: 2 }), sid);
  assert.equal(mail.letters.length, 2);
  assert.equal(await ask({ send_attempt: 1 }), sid);
  assert.equal(mail.letters.length, 2);
  assert.notEqual(await ask({ client_secret: 'other' }), sid);
  assert.notEqual(await ask({ email: 'other@example.org' }), sid);
  assert.equal((await request(server, 'GET', link)).status, 400);
  assert.equal((await request(server, 'POST', link, { body: '', headers: FORM })).status, 400);
});

test('a letter that the mail server does not take is an error, and is sent when it is asked for again', async () => {
  await using mail = await startMailServer();
  await using server = await startServer(mailOptions(mail));
  mail.isRefusing = true;
  assertError(await requestToken(server, 'account/3pid'), 503, 'M_UNKNOWN');
  mail.isRefusing = false;
  assert.equal((await requestToken(server, 'account/3pid')).status, 200);
  assert.equal(mail.letters.length, 1);
});

test('links and what they confirm end after an hour', async () => {
  let now = Date.now();
  await using mail = await startMailServer();
  await using server = await startServer({ ...mailOptions(mail), clock: { now: () => now } });
  const alice = await register(server);
  await requestToken(server, 'account/3pid');
  now += 3_600_000;
  assert.equal((await click(server, mail)).status, 400);
  const credentials = await confirmed(server, mail, { place: 'account/3pid' });
  now += 3_600_000;
  const late = await alice.try('POST', '/account/3pid/add', { ...credentials, auth: passwordStage(alice) });
  assertError(late, 403, 'M_THREEPID_AUTH_FAILED');
});

test('row 37: secrets and ids of another grammar or of any length are refused before anything is sent', async () => {
  await using mail = await startMailServer();
  await using server = await startServer(mailOptions(mail));
  const alice = await register(server);
  const long = 'x'.repeat(100_000);
  const cases: readonly (readonly [fields: object, errcode: string])[] = [
    [{ client_secret: long }, 'M_INVALID_PARAM'],
    [{ client_secret: '' }, 'M_INVALID_PARAM'],
    [{ client_secret: 'a b' }, 'M_INVALID_PARAM'],
    [{ client_secret: undefined }, 'M_MISSING_PARAM'],
    [{ client_secret: 5 }, 'M_BAD_JSON'],
    [{ email: `${long}@example.org` }, 'M_INVALID_PARAM'],
    [{ email: undefined }, 'M_MISSING_PARAM'],
    [{ email: {} }, 'M_BAD_JSON'],
    [{ send_attempt: undefined }, 'M_MISSING_PARAM'],
    [{ send_attempt: '1' }, 'M_BAD_JSON'],
    [{ send_attempt: 0 }, 'M_BAD_JSON'],
    [{ next_link: `https://example.org/${long}` }, 'M_INVALID_PARAM'],
    [{ next_link: 'nowhere' }, 'M_INVALID_PARAM'],
  ];
  for (const [fields, errcode] of cases) {
    assertError(await requestToken(server, 'account/3pid', fields), 400, errcode);
  }
  const auth = passwordStage(alice);
  for (const sid of [long, '', 'a/b']) {
    const body = { sid, client_secret: 'secret', auth };
    assertError(await alice.try('POST', '/account/3pid/add', body), 400, 'M_INVALID_PARAM');
  }
  const query = `?sid=${'x'.repeat(5_000)}&token=${'y'.repeat(5_000)}`;
  assert.equal((await request(server, 'GET', `/_kurir/email/confirm${query}`)).status, 400);
  assert.equal(mail.letters.length, 0);
});

test('row 126: an address has one form, and what only looks like one of an allowed domain is none of it', async () => {
  assert.equal(canonicalEmail('Strauß@Example.com'), 'strauss@example.com');
  for (const wrong of [
    'a@evil.test@good.test',
    '"a@evil.test"@good.test',
    'a(comment)@good.test',
    '<a@good.test>',
    'Alice <a@good.test>',
    'mailto:a@good.test',
    'a@good.test\r\nBcc: b@evil.test',
    'a@good.test,b@evil.test',
    'a b@good.test',
    'a..b@good.test',
    'm\u0131ke@good.test',
    'a@g\u00f6\u00f6d.test',
    'a@good',
    'a@-good.test',
    'a@good.test.',
    '@good.test',
    'a@',
    `${'a'.repeat(250)}@good.test`,
    '',
  ]) {
    assert.equal(canonicalEmail(wrong), undefined, wrong);
  }
  await using mail = await startMailServer();
  await using server = await startServer({ ...mailOptions(mail), emailDomains: ['good.test'] });
  const ask = (email: string) => requestToken(server, 'account/3pid', { email });
  assertError(await ask('a@evil.test'), 403, 'M_THREEPID_DENIED');
  assertError(await ask('a@sub.good.test'), 403, 'M_THREEPID_DENIED');
  assertError(await ask('a@evil.test@good.test'), 400, 'M_INVALID_PARAM');
  assert.equal((await ask('a@GOOD.test')).status, 200);
});

test('row 34: row 35: the page shows no part of its address, and letters are plain text with our own words', async () => {
  await using mail = await startMailServer();
  await using server = await startServer(mailOptions(mail));
  const nextLink = 'https://evil.test/?<script>alert(1)</script>';
  await requestToken(server, 'account/password', { next_link: nextLink });
  await requestToken(server, 'account/3pid', { next_link: nextLink });
  for (const { headers, raw } of mail.letters) {
    assert.match(headers, /^Content-Type: text\/plain; charset=utf-8/im);
    assert.match(headers, /^Auto-Submitted: auto-generated/im);
    assert.equal(raw.includes('evil'), false);
  }
  const { link } = mail.last;
  const page = await request(server, 'GET', link);
  const token = new URL(link, 'https://x').searchParams.get('token') ?? '?';
  assert.equal(page.body.includes(token), false);
  assert.equal(page.headers.get('referrer-policy'), 'no-referrer');
  const strange = await request(
    server,
    'GET',
    '/_kurir/email/confirm?sid=%3Cscript%3E&token=%22%3E%3Cscript%3E',
  );
  assert.equal(strange.status, 400);
  assert.equal(strange.body.includes('<script'), false);
  const done = await click(server, mail);
  assert.deepEqual([done.status, done.headers.get('location')], [200, null], 'nobody is led to evil.test');
});

test('next_link is followed to hosts that the operator names, by https alone', async () => {
  await using mail = await startMailServer();
  await using server = await startServer({ ...mailOptions(mail), nextLinkDomains: ['app.test'] });
  const after = async (nextLink: string, secret: string) => {
    await requestToken(server, 'account/3pid', { next_link: nextLink, client_secret: secret });
    const page = await request(server, 'GET', mail.last.link);
    const { clientUrl } = server;
    const clicked = await fetch(`${clientUrl}${mail.last.link}`, {
      method: 'POST',
      headers: FORM,
      redirect: 'manual',
    });
    return [clicked.status, clicked.headers.get('location'), page.headers.get('content-security-policy')];
  };
  const [status, location, policy] = await after('https://app.test/done?x=1', 'one');
  assert.deepEqual([status, location], [303, 'https://app.test/done?x=1']);
  assert.match(String(policy), /form-action 'self' https:\/\/app\.test;/);
  for (const [index, link] of [
    'http://app.test/',
    'https://app.test.evil.test/',
    'https://app.test@evil.test/',
    'https://user@app.test/',
    'javascript://app.test/%0aalert(1)',
  ].entries()) {
    const [other, to, itsPolicy] = await after(link, `other${index}`);
    assert.deepEqual([other, to], [200, null], link);
    assert.match(String(itsPolicy), /form-action 'self';/);
  }
});

test('row 128: nothing is sent to a mail server whose certificate is not trusted', async () => {
  await using folder = await temporaryFolder();
  const authority = await createAuthority();
  const certificate = await authority.issue(['127.0.0.1']);
  await using mail = await startMailServer({ certificate, user: { name: 'kurir', password: 'pass' } });
  const user = { smtpUser: 'kurir', smtpPassword: 'pass' };
  const options = { ...mailOptions(mail), ...user, smtpSecurity: 'starttls' as const };
  {
    await using server = await startServer(options);
    assertError(await requestToken(server, 'account/3pid'), 503, 'M_UNKNOWN');
    assert.equal(mail.letters.length, 0);
  }
  const smtpCa = [join(folder.path, 'ca.pem')];
  await writeFile(smtpCa[0] ?? '', authority.cert);
  await using server = await startServer({ ...options, smtpCa });
  assert.equal((await requestToken(server, 'account/3pid')).status, 200);
  assert.equal(mail.last.from, 'matrix@kurir.test');

  await using plain = await startMailServer();
  await using other = await startServer({ ...mailOptions(plain), smtpSecurity: 'starttls' });
  assertError(await requestToken(other, 'account/3pid'), 503, 'M_UNKNOWN');
  assert.equal(plain.letters.length, 0, 'not in the clear where encryption is asked for');
});

test('without a mail server, and for phone numbers, every requestToken says that it is not supported', async () => {
  await using server = await startServer();
  const alice = await register(server);
  const phone = { client_secret: 'x', country: 'GB', phone_number: '07700900001', send_attempt: 1 };
  for (const place of ['register', 'account/password', 'account/3pid'] as const) {
    assertError(await requestToken(server, place), 400, 'M_THREEPID_MEDIUM_NOT_SUPPORTED');
    const answer = await post(server, `/${place}/msisdn/requestToken`, phone);
    assertError(answer, 400, 'M_THREEPID_MEDIUM_NOT_SUPPORTED');
  }
  const { capabilities } = await alice.get('/capabilities');
  assert.deepEqual(capabilities['m.3pid_changes'], { enabled: false });
  const reset = { new_password: 'another password' };
  assertError(await post(server, '/account/password', reset), 401, 'M_MISSING_TOKEN');
});

test('letters are limited by who asks and by where they go', async () => {
  await using mail = await startMailServer();
  await using server = await startServer({ ...mailOptions(mail), rateLimits: true });
  const answers = await Promise.all(
    Array.from({ length: 7 }, (_, index) =>
      requestToken(server, 'account/password', { client_secret: `s${index}` }),
    ),
  );
  const limited = answers.filter(({ status }) => status === 429);
  assert.equal(limited.length, 2);
  assert.equal(limited[0]?.body.errcode, 'M_LIMIT_EXCEEDED');
  assert.equal(mail.letters.length, 5);
});

test('a forgotten password is set anew by e-mail: all devices are signed out, and the proof is used up', async () => {
  await using mail = await startMailServer();
  await using server = await startServer(mailOptions(mail));
  const alice = await register(server, 'alice');
  await addEmail(server, mail, alice);
  const reset = (auth: object | undefined, password = 'a new password') =>
    post(server, '/account/password', { new_password: password, ...(auth !== undefined && { auth }) });
  const first = await reset(undefined);
  assert.equal(first.status, 401);
  assert.deepEqual(first.body.flows, [{ stages: ['m.login.email.identity'] }]);
  const { session } = first.body;

  const asked = await requestToken(server, 'account/password');
  const credentials = { sid: asked.body.sid, client_secret: 'secret' };
  const early = await reset({ ...emailStage(credentials), session });
  assertError(early, 401, 'M_THREEPID_AUTH_FAILED');
  assert.equal(early.body.session, session);
  assert.equal((await click(server, mail)).status, 200);
  const done = await reset({ ...emailStage(credentials), session });
  assert.deepEqual([done.status, done.body], [200, {}]);

  assertError(await alice.try('GET', '/account/whoami'), 401, 'M_UNKNOWN_TOKEN');
  await login(server, 'alice', 'a new password');
  assertError(await reset(emailStage(credentials), 'yet another'), 401, 'M_THREEPID_AUTH_FAILED');
  await login(server, 'alice', 'a new password');
});

test('with an access token the password is changed by an e-mail address of the user, not of another', async () => {
  await using mail = await startMailServer();
  await using server = await startServer(mailOptions(mail));
  const alice = await register(server, 'alice');
  const bob = await register(server, 'bob');
  const change = (user: TestClient, auth?: object) =>
    user.try('POST', '/account/password', { new_password: 'changed', ...(auth !== undefined && { auth }) });
  assert.deepEqual((await change(alice)).body.flows, [{ stages: ['m.login.password'] }]);
  await addEmail(server, mail, alice);
  await addEmail(server, mail, bob, 'bob@example.org');
  const both = [{ stages: ['m.login.password'] }, { stages: ['m.login.email.identity'] }];
  assert.deepEqual((await change(alice)).body.flows, both);
  const ofBob = await confirmed(server, mail, { place: 'account/password', email: 'bob@example.org' });
  assertError(await change(alice, emailStage(ofBob)), 401, 'M_THREEPID_AUTH_FAILED');
  const ofAlice = await confirmed(server, mail, { place: 'account/password', secret: 'hers' });
  assert.equal((await change(alice, emailStage(ofAlice))).status, 200);
  await alice.get('/account/whoami');
  await login(server, 'alice', 'changed');
  await login(server, 'bob', bob.password);
});

test('row 103: a proof is good for one purpose, one address, one secret and one time', async () => {
  await using mail = await startMailServer();
  await using server = await startServer({ ...mailOptions(mail), registrationEmail: 'required' });
  const join = (username: string, credentials: object) =>
    post(server, '/register', { username, password: 'x', auth: emailStage(credentials) });
  const proof = await confirmed(server, mail, { place: 'register' });
  const reset = { new_password: 'x', auth: emailStage(proof) };
  assertError(await post(server, '/account/password', reset), 401, 'M_THREEPID_AUTH_FAILED');
  assertError(await join('eve', { ...proof, client_secret: 'x' }), 401, 'M_THREEPID_AUTH_FAILED');
  const both = await Promise.all([join('alice', proof), join('alice2', proof)]);
  assert.equal(both.filter(({ status }) => status === 200).length, 1);
  assertError(await join('alice3', proof), 401, 'M_THREEPID_AUTH_FAILED');
  const wrongPurpose = await confirmed(server, mail, { place: 'account/3pid', email: 'c@example.org' });
  assertError(await join('carol', wrongPurpose), 401, 'M_THREEPID_AUTH_FAILED');
});

test('people register with a confirmed address, if they like or as they must', async () => {
  await using mail = await startMailServer();
  await using server = await startServer(mailOptions(mail));
  const optional = await post(server, '/register', { username: 'alice', password: 'x' });
  assert.deepEqual(optional.body.flows, [
    { stages: ['m.login.dummy'] },
    { stages: ['m.login.email.identity'] },
  ]);
  const { session } = optional.body;
  const credentials = await confirmed(server, mail, { place: 'register' });
  const auth = { ...emailStage(credentials), session };
  const made = await post(server, '/register', { username: 'alice', password: 'x', auth });
  assert.equal(made.status, 200, JSON.stringify(made.body));
  const threepids = await request(server, 'GET', `${V3}/account/3pid`, { token: made.body.access_token });
  assert.equal(threepids.body.threepids[0].address, MAIL);

  await server.restart({ registrationEmail: 'required' });
  const required = await post(server, '/register', {
    username: 'bob',
    password: 'x',
    auth: { type: 'm.login.dummy' },
  });
  assertError(required, 401, 'M_UNRECOGNIZED');
  assert.deepEqual(required.body.flows, [{ stages: ['m.login.email.identity'] }]);
  assert.match((await request(server, 'GET', '/_kurir/register')).body, /register in a Matrix client/);

  await using fresh = await startServer({ ...mailOptions(mail), registrationEmail: 'required' });
  assert.deepEqual(
    await firstAccount(fresh.ctx),
    { kind: 'by_operator' },
    'no link to a page that cannot do it',
  );

  await server.restart({ registrationEmail: 'off' });
  assertError(await requestToken(server, 'register'), 400, 'M_THREEPID_MEDIUM_NOT_SUPPORTED');
  await server.restart({ registration: 'closed' });
  assertError(await requestToken(server, 'register'), 403, 'M_FORBIDDEN');
});

test('row 20: the addresses of a deactivated account are free again, and lead to no password', async () => {
  await using mail = await startMailServer();
  await using server = await startServer(mailOptions(mail));
  const alice = await register(server, 'alice');
  await addEmail(server, mail, alice);
  const before = await confirmed(server, mail, { place: 'account/password', secret: 'before' });
  await alice.post('/account/deactivate', { auth: passwordStage(alice) });
  const reset = { new_password: 'x', auth: emailStage(before) };
  assertError(await post(server, '/account/password', reset), 401, 'M_THREEPID_AUTH_FAILED');
  await requestToken(server, 'account/password', { client_secret: 'after' });
  assert.equal(mail.last.link, '');
  const bob = await register(server, 'bob');
  await addEmail(server, mail, bob);
  assert.deepEqual(await addresses(bob), [MAIL]);
});

test('neither links of letters, nor secrets, nor addresses stand in the log, also at its most talkative', async () => {
  const lines: string[] = [];
  await using mail = await startMailServer();
  await using server = await startServer({ ...mailOptions(mail), logTo: (line) => lines.push(line) });
  const alice = await register(server, 'alice');
  await addEmail(server, mail, alice);
  const asked = await requestToken(server, 'account/password', { client_secret: 'sentinel-secret' });
  const token = new URL(mail.last.link, 'https://x').searchParams.get('token') ?? '';
  await click(server, mail);
  const auth = emailStage({ sid: asked.body.sid, client_secret: 'sentinel-secret' });
  const reset = await post(server, '/account/password', { new_password: 'sentinel-password', auth });
  assert.equal(reset.status, 200);
  mail.isRefusing = true;
  await requestToken(server, 'account/3pid', { email: 'sentinel@example.org' });
  const log = lines.join('\n');
  assert.match(log, /a letter was not sent/);
  for (const secret of [token, asked.body.sid, 'sentinel', MAIL])
    assert.equal(log.includes(secret), false, secret);
});

/** Letters about unread messages: pushers of the kind `email`. */

import assert from 'node:assert/strict';
import { test } from 'node:test';
import type { Config } from '#server/config-options.ts';
import { unreadLetter } from '#server/email/unread-letter.ts';
import { speechIn } from '#server/languages/choose.ts';
import * as pushers from '#storage/pushers.ts';
import * as threepids from '#storage/threepids.ts';
import * as userLanguages from '#storage/user-languages.ts';
import { type Answer, login, register, request, type TestClient } from '#test/harness/client.ts';
import { LINK_BASE, type MailServer, mailOptions, startMailServer } from '#test/harness/mail-server.ts';
import { startGateway } from '#test/harness/push-gateway.ts';
import { startServer, type TestServer } from '#test/harness/server.ts';
import { until } from '#test/harness/until.ts';

const MINUTE_MS = 60_000;
const BOBS = 'bob@example.org';
const UNSUBSCRIBE = /\/_kurir\/email\/unsubscribe\?token=[\w-]+/;
const FORM = { 'content-type': 'application/x-www-form-urlencoded' };

function assertError(answer: Answer, status: number, errcode: string): void {
  assert.deepEqual([answer.status, answer.body.errcode], [status, errcode], JSON.stringify(answer.body));
}

/** A server of which the time passes as the test says, a mail server, and Bob, who is told by letters. */
class Office implements AsyncDisposable {
  readonly server: TestServer;
  readonly mail: MailServer;
  readonly alice: TestClient;
  readonly bob: TestClient;
  readonly #clock: { now: number };

  static async open(options: Partial<Config> = {}): Promise<Office> {
    const mail = await startMailServer();
    const clock = { now: Date.now() };
    const server = await startServer({ ...mailOptions(mail), clock: { now: () => clock.now }, ...options });
    const [alice, bob] = [await register(server, 'alice'), await register(server, 'bob')];
    const office = new Office(server, mail, [alice, bob], clock);
    await office.addAddress(bob, BOBS);
    return office;
  }

  private constructor(
    server: TestServer,
    mail: MailServer,
    [alice, bob]: readonly [TestClient, TestClient],
    clock: { now: number },
  ) {
    this.server = server;
    this.mail = mail;
    this.alice = alice;
    this.bob = bob;
    this.#clock = clock;
  }

  async addAddress({ userId }: TestClient, address: string): Promise<void> {
    const email = { medium: 'email', address, validatedTs: 1, addedTs: 1 };
    await this.server.ctx.db.write('test', (tx) => threepids.add(tx, userId as `@${string}`, email));
  }

  async subscribe(more: object = {}): Promise<Answer> {
    return this.bob.try('POST', '/pushers/set', {
      ...{ kind: 'email', app_id: 'm.email', pushkey: BOBS, app_display_name: 'Email Notifications' },
      ...{ device_display_name: BOBS, lang: 'en', data: { brand: 'Element' }, append: true, ...more },
    });
  }

  /** A room of both. */
  async room(options: object = { name: 'Planning' }): Promise<string> {
    const roomId = await this.alice.createRoom(options);
    await this.bob.join(roomId);
    return roomId;
  }

  /** Resolves once a letter is due at some time. */
  async untilDue(): Promise<number> {
    let due: number | undefined;
    const find = async () => {
      due = await pushers.nextMailDue(this.server.ctx.db);
      return due !== undefined;
    };
    await until(find, 'a letter is due');
    return (due ?? 0) - this.#clock.now;
  }

  /** Lets time pass, and waits until what became due by that is done. */
  async pass(minutes: number): Promise<void> {
    this.#clock.now += minutes * MINUTE_MS;
    await this.server.restart();
    const isDone = async () =>
      ((await pushers.nextMailDue(this.server.ctx.db)) ?? Infinity) > this.#clock.now;
    await until(isDone, 'what is due is done');
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.server[Symbol.asyncDispose]();
    await this.mail[Symbol.asyncDispose]();
  }
}

test('what is unread for ten minutes is told in one letter, as text and as HTML', async () => {
  await using office = await Office.open();
  const { alice, bob, mail } = office;
  await alice.put(`/profile/${alice.userId}/displayname`, { displayname: 'Alice <b>' });
  const roomId = await office.room();
  const secretRoom = await office.room({ name: 'Board' });
  assert.equal((await office.subscribe()).status, 200);
  await alice.send(roomId, 'one & two');
  assert.equal(await office.untilDue(), 10 * MINUTE_MS);
  await alice.send(roomId, 'line\nnext');
  await alice.sendEvent(secretRoom, 'm.room.encrypted', { algorithm: 'm.x', ciphertext: 'CIPHER' });
  const invited = await alice.createRoom({ name: 'Elsewhere', invite: [bob.userId] });
  await until(async () => (await bob.sync()).rooms.invite?.[invited] !== undefined, 'the invitation');
  await office.pass(9);
  assert.equal(mail.letters.length, 0);
  await office.pass(1);
  assert.equal(mail.letters.length, 1);
  const { to, headers, body, html } = mail.last;
  assert.deepEqual(to, [BOBS]);
  assert.match(headers, /^Subject: Unread messages \(kurir\.test\)\r?$/m);
  assert.match(headers, /^Auto-Submitted: auto-generated\r?$/m);
  const link = `https://matrix.to/#/${encodeURIComponent(roomId)}`;
  for (const text of [
    'Planning\nUnread: 2\nAlice <b>: one & two\nAlice <b>: line next\n',
    link,
    'Encrypted message',
  ])
    assert.ok(body.replaceAll('\r', '').includes(text), `${text} in ${body}`);
  assert.match(body.replaceAll('\r', ''), /Elsewhere\n+Alice <b>: You are invited to this room\./);
  assert.ok(!mail.last.raw.includes('CIPHER'));
  for (const text of ['<p>Alice &lt;b&gt;: one &amp; two</p>', `<a href="${link}">`, 'lang="en"'])
    assert.ok(html.includes(text), `${text} in ${html}`);
  // Nobody is told twice.
  await office.pass(24 * 60);
  assert.equal(mail.letters.length, 1);
});

test('of what was read meanwhile no letter is sent', async () => {
  await using office = await Office.open();
  const { alice, bob, mail } = office;
  const roomId = await office.room();
  await office.subscribe();
  const eventId = await alice.send(roomId, 'read at once');
  await office.untilDue();
  await bob.post(`/rooms/${encodeURIComponent(roomId)}/receipt/m.read/${eventId}`);
  await office.pass(10);
  assert.equal(mail.letters.length, 0);
  await alice.send(roomId, 'not read');
  assert.equal(await office.untilDue(), 10 * MINUTE_MS);
  await office.pass(10);
  assert.ok(mail.last.body.includes('not read') && !mail.last.body.includes('at once'));
});

test('after each letter the next one waits longer, and ten minutes again once the user has read', async () => {
  await using office = await Office.open();
  const { alice, bob, mail } = office;
  const roomId = await office.room();
  await office.subscribe();
  let last = '';
  const waits: number[] = [];
  for (let count = 0; count < 5; count++) {
    last = await alice.send(roomId, `message ${count}`);
    const wait = (await office.untilDue()) / MINUTE_MS;
    waits.push(wait);
    await office.pass(wait);
    assert.equal(mail.letters.length, count + 1);
    assert.ok(
      mail.last.body.includes(`message ${count}`) && !mail.last.body.includes(`message ${count - 1}`),
    );
  }
  assert.deepEqual(waits, [10, 60, 360, 1_440, 1_440]);
  await bob.post(`/rooms/${encodeURIComponent(roomId)}/receipt/m.read/${last}`);
  await alice.send(roomId, 'after that');
  assert.equal(await office.untilDue(), 10 * MINUTE_MS);
});

test('what comes while it is written down that a letter was sent is told by the next one', async () => {
  await using gateway = await startGateway();
  await using mail = await startMailServer();
  await using server = await startServer({
    ...{ ...mailOptions(mail), ...gateway.options, emailNotificationDelay: 1 },
  });
  const [alice, bob] = [await register(server, 'alice'), await register(server, 'bob')];
  const { db } = server.ctx;
  const email = { medium: 'email', address: BOBS, validatedTs: 1, addedTs: 1 };
  await db.write('test', (tx) => threepids.add(tx, bob.userId as `@${string}`, email));
  const roomId = await alice.createRoom();
  await bob.join(roomId);
  await gateway.pusherOf(bob);
  const names = { app_display_name: 'E-mail', device_display_name: BOBS, lang: 'en', data: {} };
  await bob.post('/pushers/set', { kind: 'email', app_id: 'm.email', pushkey: BOBS, append: true, ...names });
  const write: typeof db.write = db.write.bind(db);
  let isLate = false;
  // The disk is slow at this moment.
  db.write = async (name, body) => {
    if (name === 'pushers.mailed' && !isLate) {
      isLate = true;
      await gateway.untilTold(await alice.send(roomId, 'second'));
    }
    return write(name, body);
  };
  await alice.send(roomId, 'first');
  await until(() => mail.letters.length === 2, 'that there is a second letter');
  assert.ok(mail.letters[0]?.body.includes('first') && mail.last.body.includes('second'));
});

test('a letter that the mail server does not take is sent later, with what has come since', async () => {
  await using office = await Office.open();
  const { alice, mail } = office;
  const roomId = await office.room();
  await office.subscribe();
  await alice.send(roomId, 'first');
  await office.untilDue();
  mail.isRefusing = true;
  await office.pass(10);
  assert.equal(await office.untilDue(), 60 * MINUTE_MS);
  await alice.send(roomId, 'second');
  mail.isRefusing = false;
  await office.pass(60);
  assert.equal(mail.letters.length, 1);
  assert.ok(mail.last.body.includes('first') && mail.last.body.includes('second'));
});

test('RFC 8058: the link of a letter ends them without signing in, by a click or by the mail program', async () => {
  await using office = await Office.open();
  const { alice, bob, mail, server } = office;
  const roomId = await office.room();
  for (const body of ['', 'List-Unsubscribe=One-Click']) {
    await office.subscribe();
    await alice.send(roomId, 'hello');
    await office.pass((await office.untilDue()) / MINUTE_MS);
    const { headers, body: text } = mail.last;
    const unfolded = headers.replaceAll(/\r\n\s+/g, ' ');
    const [path = ''] = UNSUBSCRIBE.exec(unfolded) ?? [];
    assert.ok(unfolded.includes(`List-Unsubscribe: <${LINK_BASE}${path}>`), unfolded);
    assert.match(unfolded, /^List-Unsubscribe-Post: List-Unsubscribe=One-Click\r?$/m);
    assert.ok(text.includes('/_kurir/email/unsubscribe?token='));
    // Programs that look for viruses follow links.
    const page = await request(server, 'GET', path);
    assert.equal(page.status, 200);
    assert.ok(page.body.includes(BOBS) && page.body.includes('<form method="post">'));
    assert.equal((await bob.get('/pushers')).pushers.length, 1);
    assert.equal((await request(server, 'POST', path, { body, headers: FORM })).status, 200);
    assert.deepEqual((await bob.get('/pushers')).pushers, []);
    assert.equal((await request(server, 'POST', path, { body, headers: FORM })).status, 200);
  }
  const before = mail.letters.length;
  await alice.send(roomId, 'not told');
  await office.pass(24 * 60);
  assert.equal(mail.letters.length, before);
});

test('who has no link of a letter unsubscribes nobody', async () => {
  await using office = await Office.open();
  const { server, bob } = office;
  await office.subscribe();
  const { seal } = server.ctx;
  const forged = [
    ...['', 'x', 'A'.repeat(100), 'A'.repeat(3_000), BOBS],
    seal.seal('another purpose', JSON.stringify([bob.userId, 'm.email', BOBS])),
    seal.seal('email-unsubscribe', '[]'),
  ];
  for (const token of forged) {
    const query = new URLSearchParams({ token });
    for (const method of ['GET', 'POST']) {
      const answer = await request(server, method, `/_kurir/email/unsubscribe?${query}`, {
        headers: FORM,
        body: method === 'GET' ? undefined : '',
      });
      assert.equal(answer.status, 400, token);
    }
  }
  assert.equal((await bob.get('/pushers')).pushers.length, 1);
});

test('letters go to an address of the account alone, and end with it', async () => {
  await using office = await Office.open();
  const { alice, bob, mail, server } = office;
  await office.addAddress(alice, 'alice@example.org');
  const roomId = await office.room();
  for (const pushkey of ['alice@example.org', 'stranger@example.org', 'no address', 'BOB@example.org'])
    assertError(await office.subscribe({ pushkey }), 400, 'M_INVALID_PARAM');
  assertError(await office.subscribe({ data: undefined }), 400, 'M_MISSING_PARAM');
  await office.subscribe();
  // They are the account's, not the device's.
  const second = await login(server, 'bob', bob.password);
  await bob.post('/logout');
  const [shown] = (await second.get('/pushers')).pushers;
  assert.deepEqual([shown.kind, shown['org.matrix.msc3881.device_id']], ['email', null]);
  await alice.send(roomId, 'hello');
  await office.untilDue();
  await second.post('/account/3pid/delete', { medium: 'email', address: BOBS });
  assert.deepEqual((await second.get('/pushers')).pushers, []);
  await office.pass(60);
  assert.equal(mail.letters.length, 0);
});

test('who is locked, or has switched the letters off, gets none', async () => {
  await using office = await Office.open();
  const { alice, bob, mail, server } = office;
  const roomId = await office.room();
  await office.subscribe();
  await alice.send(roomId, 'hello');
  await office.untilDue();
  await office.subscribe({ 'org.matrix.msc3881.enabled': false });
  await office.pass(10);
  await alice.send(roomId, 'hello');
  await office.pass(60);
  assert.equal(mail.letters.length, 0);
  await office.subscribe({ 'org.matrix.msc3881.enabled': true });
  await alice.send(roomId, 'locked');
  await office.untilDue();
  const { userId } = bob;
  const { setLocked } = await import('#storage/users.ts');
  await server.ctx.db.write('test', (tx) => setLocked(tx, userId as `@${string}`, 1));
  await office.pass(60);
  assert.equal(mail.letters.length, 0);
});

test('a letter speaks the language that its reader has chosen, else that of the client', async () => {
  await using office = await Office.open({ emailRoomLink: 'https://chat.example.org/#/room/{room}' });
  const { alice, bob, mail, server } = office;
  const roomId = await office.room();
  await office.subscribe({ lang: 'de-AT' });
  await alice.send(roomId, 'hello');
  await office.pass((await office.untilDue()) / MINUTE_MS);
  assert.ok(mail.last.body.includes('ungelesene Nachrichten'));
  assert.ok(mail.last.body.includes(`https://chat.example.org/#/room/${encodeURIComponent(roomId)}`));
  await server.ctx.db.write('test', (tx) => userLanguages.set(tx, bob.userId as `@${string}`, 'sv'));
  await alice.send(roomId, 'hello');
  await office.pass((await office.untilDue()) / MINUTE_MS);
  assert.ok(mail.last.html.includes('lang="sv"') && mail.last.html.includes('olästa meddelanden'));
});

test('without email_notification_text a letter says neither what was written nor by whom', async () => {
  await using office = await Office.open({ emailNotificationText: false });
  const { alice, mail } = office;
  const roomId = await office.room();
  await office.subscribe();
  await alice.send(roomId, 'confidential');
  await office.pass((await office.untilDue()) / MINUTE_MS);
  const { raw, body } = mail.last;
  assert.ok(body.includes('Planning') && body.includes('Unread: 1'));
  assert.ok(!raw.includes('confidential') && !raw.includes('alice'));
});

test('MSC4028: what wakes apps alone makes no letter', async () => {
  await using gateway = await startGateway();
  await using office = await Office.open({ ...gateway.options, pushAllEncrypted: true });
  const { alice, bob, server } = office;
  const roomId = await office.room();
  await office.subscribe();
  await gateway.pusherOf(bob);
  const eventId = await alice.sendEvent(roomId, 'm.room.encrypted', { algorithm: 'm.x', ciphertext: 'x' });
  await gateway.untilTold(eventId);
  assert.equal(await pushers.nextMailDue(server.ctx.db), undefined);
});

test('email_notifications: off refuses them, all makes one for each new address', async () => {
  for (const emailNotifications of ['off', 'all'] as const) {
    await using mail = await startMailServer();
    await using server = await startServer({ ...mailOptions(mail), emailNotifications });
    const alice = await register(server, 'alice');
    const secret = { client_secret: 'secret', send_attempt: 1, email: 'alice@example.org' };
    const asked = await alice.post('/account/3pid/email/requestToken', secret);
    await request(server, 'POST', mail.last.link, { body: '', headers: FORM });
    const credentials = { sid: asked.sid, client_secret: 'secret' };
    const add = (auth: object) => alice.try('POST', '/account/3pid/add', { ...credentials, auth });
    const password = { type: 'm.login.password', identifier: { type: 'm.id.user', user: 'alice' } };
    const { session } = (await add({})).body;
    const added = await add({ ...password, session, password: alice.password });
    assert.equal(added.status, 200, JSON.stringify(added.body));
    const found = (await alice.get('/pushers')).pushers.map((one: { pushkey: string; kind: string }) => [
      one.kind,
      one.pushkey,
    ]);
    assert.deepEqual(found, emailNotifications === 'all' ? [['email', 'alice@example.org']] : []);
    const pusher = { kind: 'email', app_id: 'm.email', pushkey: 'alice@example.org', lang: 'en', data: {} };
    const names = { app_display_name: 'E-mail', device_display_name: 'E-mail' };
    const set = await alice.try('POST', '/pushers/set', { ...pusher, ...names });
    assert.equal(set.status, emailNotifications === 'all' ? 200 : 400);
  }
});

test('names and texts of others stay on a line of theirs, seen as they are, and short', () => {
  const long = 'x'.repeat(100_000);
  const rooms = Array.from({ length: 30 }, (_, count) => ({
    roomId: `!${count}"<>:kurir.test`,
    name: count === 0 ? '\u202eevil\r\nBcc: all@example.org\u0000' : `${count} ${long}`,
    messages: Array.from({ length: 50 }, () => ({
      sender: long,
      kind: 'text' as const,
      text: `\n\n${long}`,
    })),
  }));
  const { subject, text, html } = unreadLetter(speechIn('en'), {
    ...{ userId: '@bob:kurir.test', serverName: 'kurir.test', rooms, withText: true },
    ...{ roomLink: 'https://matrix.to/#/{room}', unsubscribe: 'https://kurir.test/x' },
  });
  assert.equal(subject, 'Unread messages (kurir.test)');
  assert.ok(text.includes('\nevil Bcc: all@example.org\n'), text.slice(0, 300));
  assert.ok(text.length < 40_000 && (html ?? '').length < 60_000, `${text.length} ${html?.length}`);
  assert.ok(!/["<>]/.test(text.slice(text.indexOf('https://matrix.to'))), 'links hold nothing unescaped');
});

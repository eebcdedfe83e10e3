/** https://spec.matrix.org/v1.19/application-service-api/#registration */

import assert from 'node:assert/strict';
import { test } from 'node:test';
import { Appservice, clashOf } from '#server/appservices/appservice.ts';
import { FREE, policyIn, stricter } from '#server/appservices/policy.ts';
import { type Registration, readRegistration } from '#server/appservices/registration.ts';

const SERVER = 'kurir.test';

/** As the bridge plugin of Mattermost writes it, with a list of its own that is nobody else's business. */
const MATTERMOST = `id: mattermost-bridge
url: https://chat.example.org/plugins/com.mattermost.plugin-matrix-bridge
as_token: 3f1a8d5f
hs_token: 9b2c7e11
sender_localpart: _mattermost_bridge
rate_limited: false
protocols:
  - mattermost
namespaces:
  users:
    - exclusive: true
      regex: "@_mattermost_.*:kurir.test"
  aliases:
    - exclusive: true
      regex: "#_mattermost_.*:kurir.test"
    - exclusive: false
      regex: "#mattermost-bridge-.*:kurir.test"
  rooms:
    - exclusive: false
      regex: "!.*:kurir.test"
de.sorunome.msc2409.push_ephemeral: true
permissions:
  - room.create
`;

/** As bridges of mautrix generate it, with encryption. */
const MAUTRIX = `id: telegram
url: http://localhost:29317
as_token: aaaa
hs_token: bbbb
sender_localpart: dTGN3sMiRoFm
rate_limited: false
namespaces:
    users:
        - regex: ^@telegrambot:kurir\\.test$
          exclusive: true
        - regex: ^@telegram_.*:kurir\\.test$
          exclusive: true
de.sorunome.msc2409.push_ephemeral: true
receive_ephemeral: true
org.matrix.msc3202: true
io.element.msc4190: true
`;

const DOUBLE_PUPPET = `id: doublepuppet
url:
as_token: cccc
hs_token: dddd
sender_localpart: sender_nobody_uses
rate_limited: false
namespaces:
  users:
  - regex: '@.*:kurir\\.test'
    exclusive: false
`;

async function readable(text: string): Promise<Registration> {
  const read = await readRegistration(text, SERVER);
  assert.equal(read.kind, 'ok', read.kind === 'invalid' ? read.reason : '');
  return read.kind === 'ok' ? read.registration : assert.fail();
}

test('the files of Mattermost, of mautrix and of double puppets load as they are', async () => {
  const mattermost = await readable(MATTERMOST);
  assert.equal(mattermost.url, 'https://chat.example.org/plugins/com.mattermost.plugin-matrix-bridge');
  assert.deepEqual([mattermost.receivesEphemeral, mattermost.receivesDevices], [true, false]);
  assert.equal(mattermost.rateLimited, false);
  assert.equal(mattermost.users.of('@_mattermost_x:kurir.test'), 'exclusive');
  assert.equal(mattermost.aliases.of('#mattermost-bridge-x:kurir.test'), 'shared');
  assert.ok(mattermost.rooms.has('!abc:kurir.test'));
  const mautrix = await readable(MAUTRIX);
  assert.deepEqual([mautrix.receivesEphemeral, mautrix.receivesDevices], [true, true]);
  assert.equal(mautrix.sender, '@dTGN3sMiRoFm:kurir.test');
  assert.equal(mautrix.users.of('@telegrambot:kurir.test'), 'exclusive');
  assert.equal(mautrix.users.of('@telegrambot2:kurir.test'), 'none');
  const puppet = await readable(DOUBLE_PUPPET);
  assert.equal(puppet.url, undefined);
  assert.equal(puppet.users.of('@alice:kurir.test'), 'shared');
});

test('each spelling of the wish for ephemeral events counts; rates are limited unless the file says otherwise', async () => {
  const base = 'id: a\nurl: null\nas_token: b\nhs_token: c\nsender_localpart: d\nnamespaces: {}\n';
  for (const key of ['receive_ephemeral', 'de.sorunome.msc2409.push_ephemeral', 'push_ephemeral']) {
    assert.equal((await readable(`${base}${key}: true\n`)).receivesEphemeral, true, key);
  }
  const { receivesEphemeral, rateLimited } = await readable(base);
  assert.deepEqual([receivesEphemeral, rateLimited], [false, true]);
});

test('what is no registration is refused, with the reason', async () => {
  const without = (key: string) => MAUTRIX.replace(new RegExp(`^${key}: .*$`, 'm'), '');
  const cases: [text: string, reason: RegExp][] = [
    ['', /no list of|not a list/],
    ['[1, 2]', /not a list/],
    ['a: [', /is not YAML/],
    ['a: &x [*x]', /has no sender_localpart/],
    [without('id'), /has no id/],
    [without('as_token'), /has no as_token/],
    [without('hs_token'), /has no hs_token/],
    [without('sender_localpart'), /has no sender_localpart/],
    [
      MAUTRIX.replace('aaaa', '"This value is generated when generating the registration"'),
      /no as_token yet/,
    ],
    [MAUTRIX.replace('http://localhost:29317', 'localhost:29317'), /has a url/],
    [MAUTRIX.replace('http://localhost:29317', 'file:///etc/passwd'), /has a url/],
    [MAUTRIX.replace('rate_limited: false', 'rate_limited: sometimes'), /rate_limited/],
    [MAUTRIX.replace('exclusive: true', 'exclusive: 7'), /exclusive/],
    [MAUTRIX.replace('^@telegram_.*:kurir\\.test$', '"@(?!alice).*"'), /RE2 has no lookarounds/],
    [
      MAUTRIX.replace('^@telegram_.*:kurir\\.test$', '"@((((a{0,90}){0,90}){0,9}){0,9})"'),
      /too large|invalid|repeat/,
    ],
    [MAUTRIX.replace('^@telegram_.*:kurir\\.test$', '"@("'), /namespaces.users/],
    [`${MAUTRIX}kurir: {federate: false}\n`, /there is no "federate"/],
    [`${MAUTRIX}kurir: {max_members: -1}\n`, /max_members/],
    [MAUTRIX + '# '.padEnd(70_000, 'x'), /larger than 64 KiB/],
  ];
  for (const [text, reason] of cases) {
    const read = await readRegistration(text, SERVER);
    assert.equal(read.kind, 'invalid', text.slice(0, 200));
    assert.match(read.kind === 'invalid' ? read.reason : '', reason);
  }
});

test('an expression that would keep a backtracking machine busy for ever takes no time', async () => {
  const { users } = await readable(MAUTRIX.replace('^@telegram_.*:kurir\\.test$', '"@(a+)+b"'));
  assert.equal(users.of(`@${'a'.repeat(240)}:kurir.test`), 'none');
  assert.equal(users.of(`@aaab:kurir.test`), 'exclusive');
});

test('services that are in each other’s way cannot be together', async () => {
  const known = new Appservice(
    await readable(MAUTRIX),
    { file: undefined, policy: FREE },
    {
      serverName: SERVER,
      tokenInQuery: false,
    },
  );
  await using _ = known.caller;
  const other = MAUTRIX.replace('telegram', 'signal').replace('aaaa', 'x').replace('dTGN3sMiRoFm', 'bot');
  const apart = other.replaceAll('telegram', 'signal');
  const cases: [text: string, clash: RegExp | undefined][] = [
    [apart, undefined],
    [apart.replace('id: signal', 'id: telegram'), /there is a service "telegram" already/],
    [apart.replace('as_token: x', 'as_token: aaaa'), /as_token/],
    [apart.replace('sender_localpart: bot', 'sender_localpart: dTGN3sMiRoFm'), /sender_localpart is that of/],
    [apart.replace('sender_localpart: bot', 'sender_localpart: telegram_1'), /sender_localpart for itself/],
    [apart.replace('^@signal_.*:kurir\\.test$', '"@.*"'), /has the sender_localpart of/],
    [other, /for itself/],
  ];
  for (const [text, clash] of cases) {
    const reason = clashOf(await readable(text), [known]);
    if (clash === undefined) assert.equal(reason, undefined);
    else assert.match(reason ?? '', clash);
  }
});

test('of two policies the stricter holds', () => {
  const read = (value: object) => {
    const policy = policyIn(value as Parameters<typeof policyIn>[0]);
    return typeof policy === 'string' ? assert.fail(policy) : policy;
  };
  assert.deepEqual(stricter(read({ max_members: 5 }), read({ federation: false, max_members: 9 })), {
    federation: false,
    publicRooms: true,
    maxMembers: 5,
  });
  assert.deepEqual(stricter(FREE, FREE), FREE);
});

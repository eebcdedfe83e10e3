/** The operator's commands about partners and circles, as processes, beside a server that runs or does not. */

import assert from 'node:assert/strict';
import { writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { test } from 'node:test';
import { createAuthority } from '#test/harness/certificates.ts';
import { register } from '#test/harness/client.ts';
import { inRoom } from '#test/harness/conversation.ts';
import { temporaryFolder } from '#test/harness/databases.ts';
import { type Ended, run, serverEnvironment, startProcess } from '#test/harness/process.ts';

const KEY = 'ed25519:a=Noi6WqcDj0QmPxCNQqgezwTlBKrfqehY1u2FyWP9uYw';

test('partners are added, shown, changed and removed, while the server runs and while it does not', async () => {
  await using folder = await temporaryFolder();
  const ca = join(folder.path, 'ca.pem');
  await writeFile(ca, (await createAuthority()).cert);
  const yaml = join(folder.path, 'kurir.yaml');
  await writeFile(
    yaml,
    'federation_inbound: partners\npartners:\n  - { name: fixed.test, note: for good }\n',
  );
  const env = { ...serverEnvironment(folder.path), KURIR_CONFIG: yaml, KURIR_REGISTRATION: 'open' };
  const kurir = (...words: string[]): Promise<Ended> => run('server/kurir.ts', words, { env });
  const first = await startProcess(env);
  const list = await kurir('partner', 'list');
  assert.equal(
    list.out,
    'Only partners may call us; we call every server.\n\nfixed.test  both  in the configuration  "for good"\n',
  );
  const added = await kurir(
    ...['partner', 'add', 'RC.test', '--profile', 'rocketchat', '--direction', 'inbound'],
    ...['--key', KEY, '--ca', ca, '--note', 'the chat'],
  );
  assert.equal(
    added.out,
    'rc.test  inbound  profile rocketchat  pinned keys  pinned authority  "the chat"\n',
  );
  const shown = await kurir('partner', 'show', 'rc.test');
  assert.match(
    shown.out,
    /^rc\.test may call us; we may call it\.\nPartner rc\.test, direction inbound, added by command\.\n/,
  );
  assert.match(
    shown.out,
    /Pinned key: ed25519:a Noi6W\w+\nPinned authority: CN=Kurir test authority, valid to \d{4}-/,
  );
  assert.match(
    shown.out,
    /Profile rocketchat, as you chose\.\nRoom versions: 10\nEncryption: no; join rules: invite/,
  );
  assert.match(shown.out, /Mind: only invited users can join its rooms/);
  const stranger = await kurir('partner', 'show', 'x.test');
  assert.match(
    stranger.out,
    /^x\.test may not call us; we may call it\.\nIt is no partner\.\nProfile kurir, since nothing/,
  );

  // The running server knows it at once: names that the partner could not invite are refused.
  const available = await fetch(`${first.clientUrl}/_matrix/client/v3/register/available?username=a%2Fb`);
  assert.equal(available.status, 400);
  await first.stop();

  const changed = await kurir(
    'partner',
    'set',
    'rc.test',
    '--profile',
    'auto',
    '--key',
    'none',
    '--ca',
    'none',
  );
  assert.equal(changed.out, 'rc.test  inbound  "the chat"\n');
  assert.match((await kurir('partner', 'list')).out, /fixed\.test .*\nrc\.test {2}inbound {2}"the chat"\n$/);
  for (const words of [
    ['set', 'fixed.test', '--note', 'x'],
    ['remove', 'fixed.test'],
  ]) {
    const { code, err } = await kurir('partner', ...words);
    assert.equal(code, 1);
    assert.match(err, /fixed\.test stands in the configuration file, and is changed there: edit "partners"/);
  }
  assert.equal((await kurir('partner', 'remove', 'rc.test')).out, 'rc.test is no partner any more.\n');
  assert.equal((await kurir('partner', 'list')).out, list.out);
});

test('what cannot be done about a partner is said in one line', async () => {
  await using folder = await temporaryFolder();
  const env = serverEnvironment(folder.path);
  const server = await startProcess(env);
  await server.stop();
  const kurir = (...words: string[]): Promise<Ended> => run('server/kurir.ts', words, { env });
  assert.equal((await kurir('partner', 'add', 'a.test')).code, 0);
  const empty = join(folder.path, 'empty.pem');
  await writeFile(empty, '');
  const cases: [words: string[], code: number, says: RegExp][] = [
    [['add'], 2, /the name of the server is missing: see --help/],
    [['add', 'a b'], 1, /"a b" is not the name of a server, such as example\.org/],
    [['add', '*.'], 1, /"\*\." is not the name of a server/],
    [['add', 'localhost'], 1, /localhost is this server itself/],
    [['add', 'a.test'], 1, /a\.test is a partner already: change it by "partner set"/],
    [
      ['add', 'b.test', '--profile', 'x'],
      1,
      /"x" is no profile: use kurir, synapse, strict, rocketchat, or auto/,
    ],
    [['add', 'b.test', '--direction', 'x'], 1, /"x" is no direction: use both, inbound, outbound/],
    [['add', 'b.test', '--key', 'x'], 1, /a key is ed25519:ID=BASE64/],
    [['add', 'b.test', '--ca', empty], 1, /the file holds no certificate/],
    [['add', 'b.test', '--ca', '/nowhere'], 2, /\/nowhere cannot be read \(ENOENT\)/],
    [['set', 'a.test'], 2, /what to change is missing: see --help/],
    [['set', 'b.test', '--note', 'x'], 1, /b\.test is no partner: see "partner list"/],
    [['remove', 'b.test'], 1, /b\.test is no partner/],
  ];
  for (const [words, code, says] of cases) {
    const ended = await kurir('partner', ...words);
    assert.equal(ended.code, code, words.join(' '));
    assert.match(ended.err, says);
    assert.equal(ended.err.split('\n').length, 2);
  }
  const warned = await kurir('partner', 'add', 'rc.test:8448', '--profile', 'rocketchat');
  assert.match(warned.out, /Note: Rocket\.Chat cannot federate by rc\.test:8448/);
  for (const command of ['partner add', 'partner set', 'circle create', 'room circle']) {
    const help = await kurir(...command.split(' '), '--help');
    assert.ok(help.out.startsWith(`Usage: npm run kurir -- ${command}`), help.out);
  }
});

test('federation check asks no server that may not be called', async () => {
  await using folder = await temporaryFolder();
  const env = { ...serverEnvironment(folder.path), KURIR_FEDERATION_OUTBOUND: 'partners' };
  await using server = await startProcess(env);
  const check = () => run('server/kurir.ts', ['federation', 'check', 'stranger.invalid'], { env });
  const problem = 'kurir: stranger.invalid is no partner, and only partners are called: see "partner add"\n';
  const running = await check();
  assert.deepEqual([running.code, running.err], [1, problem]);
  await server.stop();
  const stopped = await check();
  assert.deepEqual([stopped.code, stopped.err], [1, problem]);
});

test('circles are made and rooms bound to them, while the server runs and while it does not', async () => {
  await using folder = await temporaryFolder();
  const env = { ...serverEnvironment(folder.path), KURIR_REGISTRATION: 'open' };
  const kurir = (...words: string[]): Promise<Ended> => run('server/kurir.ts', words, { env });
  const first = await startProcess(env);
  const alice = await register(first, 'alice');
  const roomId = await alice.createRoom();
  assert.equal((await kurir('circle', 'list')).out, 'No circles yet: make one with "circle create".\n');
  assert.equal((await kurir('circle', 'create', 'north', 'b.test', 'a.test')).out, 'north  a.test b.test\n');
  const bound = await kurir('room', 'circle', roomId, 'north');
  assert.match(bound.out, /is bound to the circle north\.\n.*: the list was sent\.\n$/);
  const acl = await alice.get(`${inRoom(roomId)}/state/m.room.server_acl/`);
  assert.deepEqual(acl.allow, ['a.test', 'b.test', 'localhost']);
  await first.stop();
  const later = await kurir('circle', 'add', 'north', 'c.test');
  assert.equal(later.out, 'north  a.test b.test c.test\nThe rooms get it when the server starts.\n');
  assert.equal((await kurir('circle', 'list')).out, 'north  a.test b.test c.test\n');
  assert.match((await kurir('room', 'circle', roomId, '--none')).out, /is bound to no circle any more/);
  const twice = await kurir('room', 'circle', roomId, '--none');
  assert.deepEqual([twice.code, twice.err], [1, `kurir: ${roomId} is bound to no circle\n`]);
  assert.equal((await kurir('room', 'circle', roomId)).code, 2);
});

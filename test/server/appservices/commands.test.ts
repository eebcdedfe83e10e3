/** The operator's commands about application services, as an operator runs them. */

import assert from 'node:assert/strict';
import { writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { test } from 'node:test';
import { register, request } from '#test/harness/client.ts';
import { type TestFolder, temporaryFolder } from '#test/harness/databases.ts';
import { type Ended, run, serverEnvironment, startProcess } from '#test/harness/process.ts';
import { startService } from '#test/harness/service.ts';
import { until } from '#test/harness/until.ts';

async function kurir(folder: TestFolder, ...words: readonly string[]): Promise<Ended> {
  return await run('server/kurir.ts', words, { env: serverEnvironment(folder.path) });
}

test('services are added, listed, looked at and removed while the server runs, without a restart', async () => {
  await using folder = await temporaryFolder();
  await using service = await startService();
  await using server = await startProcess({ ...serverEnvironment(folder.path), KURIR_REGISTRATION: 'open' });
  const file = join(folder.path, 'bridge.yaml');
  await writeFile(file, service.yaml);
  assert.equal((await kurir(folder, 'appservice', 'list')).out, 'No application services yet.\n');
  const added = await kurir(folder, 'appservice', 'add', file, '--no-federation', '--max-members', '50');
  assert.deepEqual([added.code, added.err], [0, '']);
  assert.match(
    added.out,
    /^"bridge" is added, as @_bridge_bot:\S+\. .* no federation, at most 50 members\.\n$/,
  );
  const twice = await kurir(folder, 'appservice', 'add', file);
  assert.deepEqual(
    [twice.code, twice.err],
    [1, 'kurir: it is not added: there is a service "bridge" already\n'],
  );
  const { room_id: roomId } = await service.do(server, 'POST', '/createRoom', { body: {} });
  await service.untilTold(await service.send(server, roomId, 'hello'));
  const alice = await register(server, 'alice');
  assert.ok(alice.userId);
  const listed = await kurir(folder, 'appservice', 'list');
  assert.match(
    listed.out,
    /^bridge {2}http:\S+ {2}@_bridge_bot:\S+ {2}added by command {2}no federation, at most 50 members\n$/,
  );
  assert.ok(!listed.out.includes(service.asToken) && !listed.out.includes(service.hsToken));
  const good = await kurir(folder, 'appservice', 'status');
  assert.match(good.out, /^bridge: takes what it is told: \d+ transactions since the start\n$/);
  service.answer = () => ({ status: 500 });
  await service.send(server, roomId, 'not taken');
  let bad = good;
  await until(async () => {
    bad = await kurir(folder, 'appservice', 'status', 'bridge');
    return bad.code === 1;
  });
  assert.match(
    `${bad.out}${bad.err}`,
    /bridge: does not take transaction \S+, which waits since \S+: it answers 500 \(\d+ attempts\)/,
  );
  assert.match(
    (await kurir(folder, 'appservice', 'status', 'other')).err,
    /there is no application service "other"/,
  );
  assert.equal((await kurir(folder, 'appservice', 'remove', 'bridge')).code, 0);
  const gone = await service.try(server, 'GET', '/account/whoami');
  assert.deepEqual([gone.status, gone.body.errcode], [401, 'M_UNKNOWN_TOKEN']);
  assert.match(
    (await kurir(folder, 'appservice', 'remove', 'bridge')).err,
    /there is no application service/,
  );
});

test('services are added and removed while no server runs, and are there when it starts', async () => {
  await using folder = await temporaryFolder();
  await using service = await startService();
  const file = join(folder.path, 'bridge.yaml');
  await writeFile(file, service.yaml);
  await using first = await startProcess(serverEnvironment(folder.path));
  await first.stop();
  assert.equal((await kurir(folder, 'appservice', 'add', file)).code, 0);
  assert.match(
    (await kurir(folder, 'appservice', 'status')).out,
    /bridge: has what there was when the server stopped/,
  );
  await using second = await startProcess(serverEnvironment(folder.path));
  const { room_id: roomId } = await service.do(second, 'POST', '/createRoom', { body: {} });
  await service.untilTold(await service.send(second, roomId, 'hello'));
  await second.stop();
  assert.equal((await kurir(folder, 'appservice', 'remove', 'bridge')).code, 0);
  assert.equal((await kurir(folder, 'appservice', 'list')).out, 'No application services yet.\n');
});

test('files of the configuration are services from the start; one that cannot be used stops it', async () => {
  await using folder = await temporaryFolder();
  await using service = await startService();
  const [file, broken] = [join(folder.path, 'bridge.yaml'), join(folder.path, 'broken.yaml')];
  await writeFile(file, service.yaml);
  await writeFile(broken, 'id: x\n');
  const env = (files: string) => ({
    ...serverEnvironment(folder.path),
    KURIR_APP_SERVICE_CONFIG_FILES: files,
  });
  {
    await using server = await startProcess(env(file));
    assert.equal((await service.try(server, 'GET', '/account/whoami')).status, 200);
    const removed = await kurir(folder, 'appservice', 'remove', 'bridge');
    assert.match(removed.err, /is in app_service_config_files/);
    const versions = await request(server, 'GET', '/_matrix/client/versions');
    assert.equal(versions.body.unstable_features['fi.mau.msc2659.stable'], true);
  }
  const cases: [files: string, says: RegExp][] = [
    [broken, /app_service_config_files: \S+broken\.yaml: the file has no sender_localpart/],
    [`${file},${file}`, /there is a service "bridge" already/],
    [join(folder.path, 'none.yaml'), /none\.yaml cannot be read \(ENOENT\)/],
  ];
  for (const [files, says] of cases) {
    const ended = await run('server/main.ts', [], { env: env(files) });
    assert.equal(ended.code, 1, ended.out);
    assert.match(ended.err, says);
  }
});

test('a command that cannot be carried out says why', async () => {
  await using folder = await temporaryFolder();
  await using server = await startProcess(serverEnvironment(folder.path));
  const file = join(folder.path, 'broken.yaml');
  await writeFile(file, 'a: [');
  const cases: [words: string[], code: number, says: RegExp][] = [
    [['add'], 2, /the registration file is missing/],
    [['add', join(folder.path, 'none')], 2, /cannot be read \(ENOENT\)/],
    [['add', file], 1, /it is not added: the file is not YAML/],
    [['add', file, '--max-members', 'many'], 2, /--max-members many is no number/],
    [['remove'], 2, /the id of the service is missing/],
    [['list', 'x'], 2, /"x" is too much/],
  ];
  for (const [words, code, says] of cases) {
    const ended = await kurir(folder, 'appservice', ...words);
    assert.equal(ended.code, code, words.join(' '));
    assert.match(ended.err, says);
  }
  await server.stop();
});

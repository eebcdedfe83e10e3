import assert from 'node:assert/strict';
import { spawnSync } from 'node:child_process';
import { mkdirSync, mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { isBuiltin } from 'node:module';
import { join, relative } from 'node:path';
import { test } from 'node:test';
import { register, request } from '#test/harness/client.ts';
import { temporaryFolder } from '#test/harness/databases.ts';
import { picture, thumbnail, upload } from '#test/harness/media.ts';
import { serverEnvironment, startProcess } from '#test/harness/process.ts';

/** Beside those that are in the bundle. */
const AT_THE_START = ['better-sqlite3', 'tweetnacl', 'uqr'];
const root = join(import.meta.dirname, '..');

test('bundle: the server of a few files serves, and finds its schema, its thread and its programs', async () => {
  using bundle = bundleFolder();
  const made = spawnSync(process.execPath, [join(root, 'bundle.js'), bundle.path], { encoding: 'utf8' });
  assert.equal(made.status, 0, made.stderr);
  const packages = packagesOf(bundle.path, 'main.js');
  assert.deepEqual([...packages].sort(), AT_THE_START, 'the others are loaded at first use: import() them');
  await using folder = await temporaryFolder();
  const env = { ...serverEnvironment(folder.path), KURIR_REGISTRATION: 'open', KURIR_LOG_LEVEL: 'error' };
  await using server = await startProcess(env, relative(root, join(bundle.path, 'main.js')));
  assert.match(server.federationUrl, /^https:/, 'its certificate was made by a program of its own');
  const alice = await register(server);
  const bob = await register(server);
  const found = await bob.post('/_matrix/client/v3/user_directory/search', { search_term: 'user1' });
  assert.equal(found.limited, false);
  const { room_id: roomId } = await alice.post('/createRoom', { invite: [bob.userId] });
  await bob.post(`/join/${encodeURIComponent(roomId)}`);
  const searched = await bob.post('/_matrix/client/v3/search', {
    search_categories: { room_events: { search_term: 'nothing' } },
  });
  assert.equal(searched.search_categories.room_events.count, 0, 'long reads are of a thread');
  const uri = await upload(alice, await picture(640, 480), { type: 'image/png' });
  const small = await thumbnail(alice, uri, { width: 32, height: 32, method: 'crop' });
  assert.equal(small.status, 200, 'small pictures are made by a program of its own');
  assert.equal((await request(server, 'GET', '/_matrix/client/versions')).status, 200);
  assert.equal(await server.stop(), 0);
  assert.equal(server.output.err, '');
});

/** The packages that are loaded with a file of the bundle, and with those that it imports. */
function packagesOf(folder: string, file: string, seen = new Set<string>()): Set<string> {
  const packages = new Set<string>();
  if (seen.has(file)) return packages;
  seen.add(file);
  const text = readFileSync(join(folder, file), 'utf8');
  for (const [, name = ''] of text.matchAll(/^(?:import|export)\b[^"'()]*["']([^"']+)["'];?$/gm)) {
    if (name.startsWith('./'))
      for (const other of packagesOf(folder, name.slice(2), seen)) packages.add(other);
    else if (!isBuiltin(name)) packages.add(name);
  }
  return packages;
}

/** Inside the tree, where the packages are found. */
function bundleFolder(): { readonly path: string } & Disposable {
  const parent = join(root, 'node_modules', '.cache');
  mkdirSync(parent, { recursive: true });
  const path = mkdtempSync(join(parent, 'kurir-bundle-'));
  return { path, [Symbol.dispose]: () => rmSync(path, { recursive: true, force: true }) };
}

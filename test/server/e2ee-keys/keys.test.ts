/** The operator's commands about the signing key, beside a server that runs or does not. */

import assert from 'node:assert/strict';
import { chmod, readFile, rm, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { test } from 'node:test';
import { publicKeyFrom } from '#keys/ed25519.ts';
import type { EventId } from '#keys/ids.ts';
import { isObject, type JsonObject } from '#keys/json.ts';
import { verifyServerKeyDocument } from '#keys/server-key-document.ts';
import { verifyJson } from '#keys/sign-json.ts';
import { loadEvent } from '#rooms/load.ts';
import type { StoredEvent } from '#rooms/stored-event.ts';
import { checkKeys } from '#server/cli/federation-check-command.ts';
import { judgeKeys, type KeyFacts } from '#server/cli/keys-check.ts';
import { listKeys, rotateKeys } from '#server/cli/keys-commands.ts';
import type { Outcome } from '#server/cli/operations.ts';
import { defaultConfig } from '#server/config.ts';
import * as serverKeys from '#storage/server-keys.ts';
import { register } from '#test/harness/client.ts';
import { untilMember, untilMessages } from '#test/harness/conversation.ts';
import { temporaryFolder } from '#test/harness/databases.ts';
import { startFleet } from '#test/harness/fleet.ts';
import { type Ended, run, serverEnvironment, startProcess } from '#test/harness/process.ts';
import type { TestServer } from '#test/harness/server.ts';
import { factsIn } from '../../federation/doctor/world.ts';

function keys(dataDir: string, word: string): Promise<Ended> {
  return run('server/kurir.ts', ['keys', word], { env: serverEnvironment(dataDir) });
}

function linesOf(outcome: Outcome): readonly string[] {
  assert.equal(outcome.kind, 'done', outcome.kind === 'refused' ? outcome.problem : '');
  return outcome.kind === 'done' ? outcome.lines : [];
}

test('keys list and keys rotate, while the server runs and while it does not', async () => {
  await using folder = await temporaryFolder();
  const missing = await keys(folder.path, 'list');
  assert.deepEqual([missing.code, /there is none yet\n$/.test(missing.err)], [1, true]);
  await using first = await startProcess(serverEnvironment(folder.path));
  const [present = ''] = (await keys(folder.path, 'list')).out.split('\n');
  assert.match(present, /^ed25519:a_\w{4} {2}\S{43} {2}signs$/);
  const live = await keys(folder.path, 'rotate');
  assert.match(live.out, /^The server signs with ed25519:a_\w{4} from now on\.\n/, live.err);
  assert.match(live.out, /Rocket\.Chat servers do not read old keys/);
  await first.stop();
  const stopped = await keys(folder.path, 'rotate');
  assert.match(stopped.out, /^The server signs with (ed25519:a_\w{4}) when it starts\.\n/, stopped.err);
  const list = (await keys(folder.path, 'list')).out.trimEnd().split('\n');
  assert.equal(list.length, 3);
  assert.match(list[2] ?? '', /^ed25519:a_\w{4} {2}\S{43} {2}until \d{4}-\d\d-\d\dT\d\d:\d\dZ$/);
  assert.equal(list[2]?.split('  ')[0], present.split('  ')[0], 'the first key is the oldest');
  await using _ = await startProcess(serverEnvironment(folder.path));
  assert.equal((await readFile(join(folder.path, 'signing.key'), 'utf8')).split('\n').length, 4);
});

test('after a rotation both keys are published, and other servers take events of before and after', async () => {
  await using fleet = await startFleet(2);
  const [here, there] = [fleet.at(0), fleet.at(1)];
  const alice = await register(here, 'alice');
  const bob = await register(there, 'bob');
  const roomId = await alice.createRoom({ preset: 'public_chat' });
  const first = (await alice.send(roomId, 'before')) as EventId;
  const before = here.ctx.signingKey.keyPair;
  const { dataDir } = here.ctx.config;
  linesOf(await rotateKeys({ ...defaultConfig(), dataDir }));
  const now = here.ctx.signingKey.keyPair;
  assert.notEqual(now.keyId, before.keyId);
  assert.equal(linesOf(await listKeys({ ...defaultConfig(), dataDir })).length, 2);

  const document = await documentOf(here.federationUrl);
  const published = await verifyServerKeyDocument(document, here.serverName);
  assert.equal(published?.keys.get(now.keyId)?.expiredTs, undefined);
  assert.equal(published?.keys.get(before.keyId)?.publicKey, before.publicKey);
  assert.ok((published?.keys.get(before.keyId)?.expiredTs ?? 0) > Date.now());
  assert.deepEqual(Object.keys((document.signatures as JsonObject)[here.serverName] as JsonObject), [
    now.keyId,
  ]);

  // The other server has never heard of either key: the room's first events are signed by the old one.
  await bob.join(roomId, [here.serverName]);
  await untilMember(alice, roomId, bob.userId, 'join');
  const last = (await alice.send(roomId, 'after')) as EventId;
  await untilMessages(bob, roomId, ['before', 'after']);
  const ids = [first, last].map(async (eventId) =>
    keysOf(await loadEvent(there.ctx, eventId), here.serverName),
  );
  const used = new Set((await Promise.all(ids)).flat());
  assert.deepEqual(used, new Set([before.keyId, now.keyId]));
  assert.ok(publicKeyFrom(now.publicKey));
  assert.ok(await verifyJson(document, here.serverName, now.keyId, publicKeyFrom(now.publicKey) as never));
});

test('a server that knows the key from before learns the new one by the first request that is signed with it', async () => {
  let passed = 0;
  await using fleet = await startFleet(2, { clock: { now: () => Date.now() + passed } });
  const [here, there] = [fleet.at(0), fleet.at(1)];
  const alice = await register(here, 'alice');
  const bob = await register(there, 'bob');
  const roomId = await alice.createRoom({ preset: 'public_chat' });
  await bob.join(roomId, [here.serverName]);
  const before = here.ctx.signingKey.keyPair.keyId;
  linesOf(await rotateKeys(here.ctx.config));
  // Beyond the pause in which no key is asked for again.
  passed += 60_000;
  await alice.send(roomId, 'after');
  await untilMessages(bob, roomId, ['after']);
  const known = await serverKeys.of(there.ctx.db, here.serverName);
  const keyIds = [...(known?.keys ?? [])].map(([keyId, { expiredTs }]) => [keyId, expiredTs !== undefined]);
  assert.deepEqual(
    new Map(keyIds as [string, boolean][]),
    new Map([
      [here.ctx.signingKey.keyPair.keyId, false],
      [before, true],
    ]),
  );
});

function keysOf(stored: StoredEvent | undefined, server: string): string[] {
  const { signatures } = (stored?.event.pdu ?? {}) as { signatures?: Record<string, object> };
  return Object.keys(signatures?.[server] ?? {});
}

async function documentOf(url: string): Promise<JsonObject> {
  const { Agent, request } = await import('undici');
  const dispatcher = new Agent({ connect: { rejectUnauthorized: false } });
  const { body } = await request(`${url}/_matrix/key/v2/server`, { dispatcher });
  const document: unknown = await body.json();
  await dispatcher.close();
  assert.ok(isObject(document));
  return document;
}

/** The key of a fleet's server, as it is checked while the server runs. */
async function checked(server: TestServer): Promise<{ isWrong: boolean; text: string }> {
  const outcome = await checkKeys(server.ctx.config);
  const lines = linesOf(outcome);
  return { isWrong: outcome.kind === 'done' && outcome.isWrong === true, text: lines.join('\n') };
}

test('keys check: a server that is found by its own name with its key, also after a rotation', async () => {
  await using fleet = await startFleet(1);
  const server = fleet.at(0);
  const path = join(server.ctx.config.dataDir, 'signing.key');
  for (const old of ['none', '1 old key']) {
    const { isWrong, text } = await checked(server);
    assert.equal(isWrong, false, text);
    assert.match(
      text,
      new RegExp(`^key file {5}ok {5}${path}, with ${server.ctx.signingKey.keyPair.keyId}`, 'm'),
    );
    assert.match(text, new RegExp(`^old keys {5}ok {5}${old}$`, 'm'));
    assert.match(text, /^clock {8}ok {5}too few servers to compare with$/m);
    if (old === 'none') linesOf(await rotateKeys(server.ctx.config));
  }
});

test('keys check: a file open to others, a draft that was left, another key in the file', async () => {
  await using fleet = await startFleet(1);
  const server = fleet.at(0);
  const path = join(server.ctx.config.dataDir, 'signing.key');
  const text = await readFile(path, 'utf8');
  await chmod(path, 0o644);
  await writeFile(`${path}.new`, '');
  const open = await checked(server);
  assert.equal(open.isWrong, true);
  assert.match(open.text, /^key file {5}FAULT {2}.*open to other users; run chmod 600 on it$/m);
  assert.match(open.text, /^key file {5}note {3}.*signing\.key\.new is left of a rotation/m);
  await rm(path);
  await writeFile(path, text.replace(/^ed25519 \S+ \S+/, `ed25519 other ${'A'.repeat(43)}`), { mode: 0o600 });
  assert.match(
    (await checked(server)).text,
    /^key file {5}FAULT {2}.* holds ed25519:other, and the server signs with/m,
  );
  await rm(path);
  assert.match((await checked(server)).text, /^key file {5}FAULT {2}.* is gone$/m);
});

test('keys check: the clock is wrong here where most of three servers or more have another time', async () => {
  await using fleet = await startFleet(1);
  const { signingKey } = fleet.at(0).ctx;
  const { keyId, publicKey } = signingKey.keyPair;
  const world = { names: {}, serverName: 'here.test' };
  const { ours } = await factsIn(world, 'a.test');
  const file = { path: '/k', content: signingKey, hasDraft: false, isFolderOpen: false };
  const facts: KeyFacts = { file, signingKey, ours: { ...ours, keyId, publicKey }, skews: [] };
  const clockOf = (...skews: number[]) => judgeKeys({ ...facts, skews }).find(({ name }) => name === 'clock');
  assert.equal(clockOf(600_000, 600_000)?.state, 'fine');
  assert.equal(clockOf(-100, 0, 600_000)?.state, 'fine');
  assert.equal(
    clockOf(0, 300_000, 300_100)?.words,
    'the clock of this machine is off by 5 minutes (behind most of 3 servers)',
  );
  const oldKeys = Array.from({ length: 17 }, (_, index) => ({
    keyId: `ed25519:o${index}` as const,
    publicKey,
    expiredTs: 1,
  }));
  const many = judgeKeys({ ...facts, signingKey: { keyPair: signingKey.keyPair, oldKeys } });
  assert.equal(many.find(({ name }) => name === 'old keys')?.state, 'notice');
  const ourFault = many.find(({ name }) => name === 'this server');
  assert.deepEqual([ourFault?.state, ourFault?.fault?.remedy], ['fault', 'publish the name in the DNS']);
});

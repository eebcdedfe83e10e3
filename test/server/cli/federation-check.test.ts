/** The operator's command that goes the way to another server, beside a server that runs or does not. */

import assert from 'node:assert/strict';
import { writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { test } from 'node:test';
import type { JsonObject } from '#keys/json.ts';
import { checkFederation } from '#server/cli/federation-check-command.ts';
import type { Outcome } from '#server/cli/operations.ts';
import { createAuthority } from '#test/harness/certificates.ts';
import { register } from '#test/harness/client.ts';
import { untilMessages } from '#test/harness/conversation.ts';
import { temporaryFolder } from '#test/harness/databases.ts';
import { startFleet } from '#test/harness/fleet.ts';
import { keyDocumentOf, startPeer } from '#test/harness/peer.ts';
import { run, serverEnvironment, startProcess } from '#test/harness/process.ts';
import type { TestServer } from '#test/harness/server.ts';
import { until } from '#test/harness/until.ts';
import { startWitness } from '../../federation/hostile/witness.ts';

async function check(from: TestServer, server: string): Promise<Outcome & { kind: 'done' }> {
  const outcome = await checkFederation(from.ctx.config, server);
  assert.equal(outcome.kind, 'done', outcome.kind === 'refused' ? outcome.problem : '');
  return outcome as Outcome & { kind: 'done' };
}

/** What the report says of a step. */
function said({ lines }: { lines: readonly string[] }, step: string): string {
  return lines.find((line) => line.startsWith(`${step} `))?.replace(/^\S+(?: \S+)?\s{2,}/, '') ?? '';
}

test('two servers that federate: nothing is wrong, each says when the other called', async () => {
  await using fleet = await startFleet(2);
  const [here, there] = [fleet.at(0), fleet.at(1)];
  const alice = await register(here, 'alice');
  const bob = await register(there, 'bob');
  const roomId = await alice.createRoom({ preset: 'public_chat' });
  const before = await check(here, there.serverName);
  assert.deepEqual(
    [before.isWrong, said(before, 'calls us')],
    [undefined, 'ok     not since this server started'],
  );
  await bob.join(roomId, [here.serverName]);
  await alice.send(roomId, 'hello');
  await untilMessages(bob, roomId, ['hello']);
  const after = await check(here, there.serverName);
  assert.equal(after.isWrong, undefined, after.lines.join('\n'));
  assert.match(said(after, 'calls us'), /^ok {5}\d+ seconds? ago$/);
  assert.match(said(after, 'version'), /^ok {5}Kurir \d/);
  assert.equal(said(after, 'rooms'), 'ok     1 shared');
  assert.match(said(after, 'this server'), /^note {3}by its own name, .*certificate ends in/);
  assert.match(after.lines.at(-1) ?? '', /: nothing is wrong \(\d notes\)\.$/);
});

test('a server that was left alone and answers the check is tried again at once', async () => {
  await using fleet = await startFleet(2);
  const [here, there] = [fleet.at(0), fleet.at(1)];
  await here.ctx.backoff.failed(there.serverName, 3_600_000);
  assert.ok((await here.ctx.backoff.remainingMs(there.serverName)) > 3_000_000);
  const outcome = await check(here, there.serverName);
  assert.match(said(outcome, 'delivery'), /^ok {5}it was left alone for a while, and is tried again now$/);
  assert.equal(await here.ctx.backoff.remainingMs(there.serverName), 0);
});

test('a request that the other server cannot verify: it says so here, and that it was refused there', async () => {
  await using fleet = await startFleet(1);
  const here = fleet.at(0);
  await using peer = await startPeer({
    authority: fleet.authority,
    answer: ({ url }, self) =>
      url.startsWith('/_matrix/key') ? { json: keyDocumentOf(self) } : unauthorized('no valid key'),
  });
  const outcome = await check(here, peer.name);
  assert.equal(outcome.isWrong, true);
  assert.match(said(outcome, 'signature'), /^FAULT {2}answers 401: no valid key$/);
  assert.match(said(outcome, 'calls us'), /^note {3}has not called since this server started/);
  here.ctx.callers.refused(peer.name, 'No valid key');
  assert.match((await check(here, peer.name)).lines.join('\n'), /was refused here .*: No valid key/);
});

function unauthorized(error: string): { status: number; json: JsonObject } {
  return { status: 401, json: { errcode: 'M_UNAUTHORIZED', error } };
}

test('a room of the other server whose access control list denies this one', async () => {
  await using witness = await startWitness();
  await using peer = await witness.peerWithGuest();
  const { room } = peer;
  const sound = await check(witness.server, peer.name);
  assert.equal(said(sound, 'rooms'), 'ok     1 shared');
  const mallory = peer.user('mallory');
  const acl = room.state(mallory, 'm.room.server_acl', '', { allow: ['*'], deny: ['localhost'] });
  await peer.send(witness.server, [acl]);
  await until(async () => /denies/.test(said(await check(witness.server, peer.name), 'rooms')));
  const denied = await check(witness.server, peer.name);
  assert.equal(denied.isWrong, true);
  const words = `FAULT  the access control list of 1 of 1 shared denies ${witness.server.serverName}: ${room.roomId}`;
  assert.equal(said(denied, 'rooms'), words);
  assert.match(
    denied.lines.join('\n'),
    /What to do: an administrator of the room must take this server out of deny/,
  );
});

test('federation check as a command: exit code, the same with the server stopped, names that are none', async () => {
  await using folder = await temporaryFolder();
  const authority = await createAuthority();
  await using peer = await startPeer({
    authority,
    answer: ({ url }, self) =>
      url.startsWith('/_matrix/key')
        ? { json: keyDocumentOf(self) }
        : { status: 404, json: { errcode: 'M_NOT_FOUND', error: '' } },
  });
  const ca = join(folder.path, 'ca.pem');
  await writeFile(ca, authority.cert);
  const env = {
    ...serverEnvironment(folder.path),
    KURIR_FEDERATION_ALLOW_PRIVATE: 'on',
    KURIR_FEDERATION_CA: ca,
    KURIR_SERVER_NAME: 'localhost:1',
  };
  const command = (...words: string[]) => run('server/kurir.ts', ['federation', 'check', ...words], { env });
  assert.equal((await command()).code, 2);
  assert.match((await command(peer.name)).err, /there is no database/);
  const server = await startProcess(env);
  const live = await command(peer.name);
  // Its own name leads nowhere in this test; the other server has its key all the same.
  assert.equal(live.code, 0, live.out + live.err);
  assert.match(live.out, /^signature {4}ok {5}it verifies ours, so it has our key$/m);
  assert.match(live.out, /^calls us {5}ok {5}not since this server started$/m);
  await server.stop();
  const stopped = await command(peer.name);
  assert.equal(stopped.code, 0, stopped.out + stopped.err);
  assert.match(stopped.out, /^calls us {5}- {6}known only while this server runs$/m);
  await peer.stop();
  const down = await command(peer.name);
  assert.equal(down.code, 1);
  assert.match(down.out, /^connection {3}FAULT {2}127\.0\.0\.1 port \d+: connection refused$/m);
  assert.match(down.out, /What to do: nothing listens there: their server is down/);
  const none = await command('no name');
  assert.equal(none.code, 1);
  assert.match(none.out, /"no name" is not the name of a server/);
});

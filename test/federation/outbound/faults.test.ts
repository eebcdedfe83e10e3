/** What fails on the way to other servers, F20 to F26: nothing is lost or doubled, and nobody waits for somebody else. */

import assert from 'node:assert/strict';
import type { LookupFunction } from 'node:net';
import { test } from 'node:test';
import { detailLines } from '#federation/outbound/ledger.ts';
import type { ServerName, UserId } from '#keys/ids.ts';
import { createAuthority } from '#test/harness/certificates.ts';
import { isLongRun } from '#test/harness/long-run.ts';
import {
  bodiesOf,
  type ReceivingPeer,
  type SendingServer,
  startReceiving,
  startSending,
} from '#test/harness/outbound.ts';
import { roomOf } from '#test/harness/room-builder.ts';
import { importRoom, sendText } from '#test/harness/rooms.ts';
import { until } from '#test/harness/until.ts';
import { Wire } from '#test/harness/wire.ts';
import { wrongAnswers } from '#test/harness/wrong-answers.ts';

const ALICE: UserId = '@alice:here.test';
const authority = await createAuthority();

/** A peer that is reached by a wire, under the name of that. */
async function wired(peer: ReceivingPeer): Promise<Wire & { readonly name: ServerName }> {
  const wire = await Wire.lay();
  wire.leadTo(peer.port);
  return Object.assign(wire, { name: `localhost:${wire.port}` });
}

/** A room with a user of each server; answers how to say something there. */
async function roomWith(server: SendingServer, names: readonly ServerName[]) {
  const members = names.map((name): UserId => `@bob:${name}`);
  const room = await importRoom(server.ctx, roomOf(ALICE, { members }));
  return (body: string) => sendText(server.ctx, room, ALICE, body);
}

function hasAll(peer: ReceivingPeer, bodies: readonly string[]): () => boolean {
  return () => bodiesOf(peer.events).length >= bodies.length;
}

test('F24: servers that refuse, say nothing or do not answer keep nothing from those that do; afterwards each gets all, once', async () => {
  await using stack = new AsyncDisposableStack();
  const start = async () => stack.use(await startReceiving(authority));
  const healthy = await Promise.all([start(), start(), start()]);
  const slow = await Promise.all([start(), start()]);
  const [refusing, silent] = [await Promise.all([start(), start()]), await Promise.all([start(), start()])];
  const wires = await Promise.all([...refusing, ...silent].map(wired));
  for (const wire of wires) stack.use(wire);
  const server = stack.use(await startSending(authority));
  for (const peer of slow) peer.answers.push('process and hang');
  for (const [index, wire] of wires.entries()) index < refusing.length ? wire.cut() : wire.hush();
  const names = [...healthy, ...slow, ...wires].map(({ name }) => name);
  const say = await roomWith(server, names);
  const bodies = Array.from({ length: 120 }, (_, index) => `${index}`);
  for (const body of bodies) await say(body);
  for (const peer of healthy) await until(hasAll(peer, bodies));
  for (const peer of [...refusing, ...silent]) assert.equal(peer.attempts.length, 0);
  for (const peer of slow) assert.equal(peer.attempts.length, 1, 'one transaction at a time');
  for (const wire of wires) wire.cut();
  for (const wire of wires) wire.mend();
  for (const peer of slow) {
    // Their connections break, as a server's that is restarted.
    await peer.stop();
    await peer.start();
  }
  await until(() => {
    for (const name of names) server.sender.retry(name);
    return [...slow, ...refusing, ...silent].every((peer) => hasAll(peer, bodies)());
  });
  for (const peer of [...healthy, ...slow, ...refusing, ...silent]) {
    assert.deepEqual(bodiesOf(peer.events), bodies);
  }
});

test('F20: a connection that has died without a word is given up, and what was under way arrives once', async () => {
  await using peer = await startReceiving(authority);
  await using other = await startReceiving(authority);
  await using wire = await wired(peer);
  await using server = await startSending(authority);
  const say = await roomWith(server, [wire.name, other.name]);
  await say('before');
  await until(hasAll(peer, ['before']));
  wire.hush();
  await say('into the dark');
  await until(hasAll(other, ['before', 'into the dark']));
  assert.deepEqual(bodiesOf(peer.events), ['before']);
  wire.cut();
  wire.mend();
  await until(() => {
    server.sender.retry(wire.name);
    return hasAll(peer, ['', ''])();
  });
  assert.deepEqual(bodiesOf(peer.events), ['before', 'into the dark']);
});

test('F20: a connection that nobody ever ends is given up by time', {
  skip: isLongRun ? false : 'it takes a minute',
}, async () => {
  await using peer = await startReceiving(authority);
  await using wire = await wired(peer);
  await using server = await startSending(authority);
  const say = await roomWith(server, [wire.name]);
  await say('before');
  await until(hasAll(peer, ['before']));
  wire.hush();
  await say('into the dark');
  wire.mend();
  // Longer than one look lasts.
  for (let look = 0; look < 5 && !hasAll(peer, ['', ''])(); look++) {
    await until(hasAll(peer, ['', ''])).catch(() => undefined);
  }
  assert.deepEqual(bodiesOf(peer.events), ['before', 'into the dark']);
});

test('F23: names that are not found, or that nobody ever answers for, are named, and keep nothing from others', async () => {
  await using peer = await startReceiving(authority);
  const failures: Readonly<Record<string, string>> = {
    'nowhere.test': 'ENOTFOUND',
    'servfail.test': 'EAI_AGAIN',
    'nothing.test': 'ENODATA',
  };
  const lookup: LookupFunction = (hostname, options, callback) => {
    const code = failures[hostname];
    // Never answered.
    if (hostname === 'mute.test') return;
    setImmediate(() => {
      if (code !== undefined)
        callback(Object.assign(new Error(`query ${code} ${hostname}`), { code }), '', 4);
      else if (hostname === 'empty.test') callback(null, [], 4);
      else if (options.all === true) callback(null, [{ address: '127.0.0.1', family: 4 }]);
      else callback(null, '127.0.0.1', 4);
    });
  };
  await using server = await startSending(authority, { lookup });
  const hosts = [...Object.keys(failures), 'empty.test', 'mute.test'];
  const names = hosts.map((host) => `${host}:${peer.port}`);
  const say = await roomWith(server, [...names, peer.name]);
  const bodies = ['1', '2', '3'];
  for (const body of bodies) await say(body);
  await until(hasAll(peer, bodies));
  assert.deepEqual(bodiesOf(peer.events), bodies);
  for (const name of names.slice(0, -1)) {
    await until(async () => {
      const lines = await detailLines(server.ctx.db, name, Date.now());
      return lines?.some((line) => line.startsWith('What to do: ')) === true;
    }, `a fault of ${name}`);
  }
});

test('F23: of a name with a hundred addresses those that are dead do not keep the server from being reached', async () => {
  await using peer = await startReceiving(authority);
  const dead = Array.from({ length: 3 }, (_, index) => ({ address: `127.200.0.${index + 1}`, family: 4 }));
  const lookup: LookupFunction = (hostname, options, callback) => {
    const many = hostname === 'localhost' ? [...dead, { address: '127.0.0.1', family: 4 }] : [];
    setImmediate(() => {
      if (options.all === true) callback(null, many);
      else callback(null, '127.0.0.1', 4);
    });
  };
  await using server = await startSending(authority, { lookup });
  const say = await roomWith(server, [peer.name]);
  await say('hello');
  await until(hasAll(peer, ['hello']));
});

test('F26: whatever else a server answers, its events are not given up, and arrive once it answers as it should', async () => {
  await using peer = await startReceiving(authority);
  await using server = await startSending(authority);
  const say = await roomWith(server, [peer.name]);
  const sent: string[] = [];
  for (const [what, answer] of Object.entries(wrongAnswers)) {
    peer.answers.push(answer);
    await say(what);
    sent.push(what);
    await until(() => {
      server.sender.retry(peer.name);
      return hasAll(peer, sent)();
    }, `${what}: delivered all the same`);
    assert.equal(peer.answers.length, 0);
  }
  assert.deepEqual(bodiesOf(peer.events), sent);
});

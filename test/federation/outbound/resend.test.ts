/** What a server called malformed is set aside, and sent again when the operator says so. */

import assert from 'node:assert/strict';
import { test } from 'node:test';
import { detailLines } from '#federation/outbound/ledger.ts';
import type { UserId } from '#keys/ids.ts';
import { performOnFederation } from '#server/cli/federation-operations.ts';
import * as destinations from '#storage/destinations.ts';
import * as eduOutbox from '#storage/edu-outbox.ts';
import * as events from '#storage/events.ts';
import { createAuthority } from '#test/harness/certificates.ts';
import {
  bodiesOf,
  enqueueNamed,
  namesOf,
  type ReceivedTransaction,
  type ReceivingPeer,
  type SendingServer,
  startReceiving,
  startSending,
} from '#test/harness/outbound.ts';
import { roomOf } from '#test/harness/room-builder.ts';
import { importRoom, sendText } from '#test/harness/rooms.ts';
import { until } from '#test/harness/until.ts';

const ALICE: UserId = '@alice:here.test';
const authority = await createAuthority();

function isBad({ pdus, edus }: ReceivedTransaction): boolean {
  return [...bodiesOf(pdus), ...namesOf(edus)].some((name) => String(name).startsWith('bad'));
}

/** Until nothing waits, with the peer calling all the time. */
async function settled({ ctx }: SendingServer, peer: ReceivingPeer): Promise<void> {
  const signs = setInterval(() => ctx.backoff.succeeded(peer.name), 20);
  await until(async () => {
    const left = [
      ...(await events.outgoing(ctx.db, { after: 0, upto: Number.MAX_SAFE_INTEGER, limit: 1 })),
      ...(await destinations.pendingOf(ctx.db, peer.name, 1)),
      ...(await eduOutbox.pendingOf(ctx.db, peer.name, 1)),
    ];
    return left.length === 0 && (await destinations.of(ctx.db, peer.name))?.transaction === undefined;
  }, 'an empty outbox').finally(() => clearInterval(signs));
}

async function resend({ ctx, sender }: SendingServer, server: string): Promise<string> {
  const retry = (name: string) => sender.retry(name);
  const outcome = await performOnFederation(
    { db: ctx.db, retry },
    { operation: 'federation.resend', server },
  );
  assert.equal(outcome?.kind, 'done');
  return outcome.lines.join();
}

test('what was set aside is kept and named, and sent again: events and EDUs, each once, also after a restart', async () => {
  await using peer = await startReceiving(authority);
  await using server = await startSending(authority);
  const room = await importRoom(server.ctx, roomOf(ALICE, { members: [`@bob:${peer.name}`] }));
  peer.refuses = isBad;
  for (const body of ['good 1', 'bad event', 'good 2']) await sendText(server.ctx, room, ALICE, body);
  await settled(server, peer);
  for (const name of ['good', 'bad edu']) await enqueueNamed(server, peer, name);
  await settled(server, peer);
  assert.deepEqual([bodiesOf(peer.events), namesOf(peer.edus)], [['good 1', 'good 2'], ['good']]);
  await server.restart();
  const lines = await detailLines(server.ctx.db, peer.name, Date.now());
  assert.ok(lines?.includes(`Set aside: 2; once it takes them, "federation resend ${peer.name}".`));
  assert.ok(lines?.includes('Waiting: 0 events, 0 other messages.'));
  peer.refuses = () => false;
  assert.equal(
    await resend(server, peer.name),
    `1 events and 1 other messages are sent to ${peer.name} again now.`,
  );
  await settled(server, peer);
  assert.deepEqual(bodiesOf(peer.events), ['good 1', 'good 2', 'bad event']);
  assert.deepEqual(namesOf(peer.edus), ['good', 'bad edu']);
  assert.equal(await resend(server, peer.name), `Nothing is set aside for ${peer.name}.`);
  const after = await detailLines(server.ctx.db, peer.name, Date.now());
  assert.ok(after?.includes('Delivered: 3 events; refused: 0.'));
});

test('what is still called malformed is set aside again, and nothing waits for it', async () => {
  await using peer = await startReceiving(authority);
  await using server = await startSending(authority);
  const room = await importRoom(server.ctx, roomOf(ALICE, { members: [`@bob:${peer.name}`] }));
  peer.refuses = isBad;
  await sendText(server.ctx, room, ALICE, 'bad event');
  await settled(server, peer);
  await resend(server, peer.name);
  await sendText(server.ctx, room, ALICE, 'good');
  await settled(server, peer);
  assert.deepEqual(bodiesOf(peer.events), ['good']);
  assert.match(await resend(server, peer.name), /^1 events/);
});

test('an EDU that was set aside is not sent again where a later one has its place', async () => {
  await using peer = await startReceiving(authority);
  await using server = await startSending(authority);
  await importRoom(server.ctx, roomOf(ALICE, { members: [`@bob:${peer.name}`] }));
  peer.refuses = isBad;
  await enqueueNamed(server, peer, 'bad: old state', 'state');
  await settled(server, peer);
  await enqueueNamed(server, peer, 'new state', 'state');
  await settled(server, peer);
  peer.refuses = () => false;
  assert.match(await resend(server, peer.name), /^Nothing/);
  assert.deepEqual(namesOf(peer.edus), ['new state']);
});

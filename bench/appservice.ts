/**
 * What a bridge is told: a server that starts with many events which a service has not got yet, as after the bridge was
 * away, until it has them all. In the service a transaction is parsed and counted.
 */

import { once } from 'node:events';
import { createServer } from 'node:http';
import type { AddressInfo } from 'node:net';
import { openRooms, SERVER, userOf } from '#bench/lib/open-rooms.ts';
import { cpuMs, peakResidentBytes } from '#bench/lib/process-tree.ts';
import { type Figures, type Scenario, type ScenarioOptions, temporaryFolder } from '#bench/lib/scenario.ts';
import { megabytes, round } from '#bench/lib/statistics.ts';
import { writeRoom } from '#bench/lib/written-rooms.ts';
import { startKurir } from '#bench/servers/kurir.ts';
import type { UserId } from '#keys/ids.ts';
import * as appservices from '#storage/appservices.ts';
import { cursors } from '#storage/cursors.ts';

const ROOMS = 10;
const EVENTS = 30_000;
const ID = 'bench';
const GHOST: UserId = `@_bench_ghost:${SERVER}`;

export const appservice: Scenario = {
  name: 'appservice',
  about: `${EVENTS} messages of ${ROOMS} rooms that a bridge has missed (--size: another number)`,
  ratios: [],
  limits: { events_per_s: { atLeast: 2_000 }, missed: { atMost: 0 } },
  run,
};

async function run(_: unknown, { size = EVENTS }: ScenarioOptions): Promise<Figures> {
  using folder = temporaryFolder();
  await using bridge = await startBridge(size);
  await write(folder.path, { url: bridge.url, messages: Math.ceil(size / ROOMS) });
  const server = await startKurir(folder.path, { env: { KURIR_SERVER_NAME: SERVER } });
  await bridge.isDone;
  const usedMs = cpuMs(server.pid) ?? Number.NaN;
  const { messages, transactions, elapsedMs } = bridge.seen();
  const figures = {
    messages,
    transactions,
    missed: Math.max(0, size - messages),
    events_per_s: round((messages / elapsedMs) * 1_000, 0),
    // With the start of the server.
    cpu_us_per_event: round((usedMs / messages) * 1_000, 1),
    peak_rss_mb: megabytes(peakResidentBytes(server.pid)),
  };
  console.log(`  ${figures.events_per_s} events/s, CPU ${figures.cpu_us_per_event} us each`);
  await server.stop();
  return figures;
}

interface Bridge extends AsyncDisposable {
  readonly url: string;
  /** Resolves once it has as many messages as it waits for. */
  readonly isDone: Promise<void>;
  /** `elapsedMs`: from the first transaction to the last. */
  seen(): { readonly messages: number; readonly transactions: number; readonly elapsedMs: number };
}

async function startBridge(expected: number): Promise<Bridge> {
  const done = Promise.withResolvers<void>();
  let [messages, transactions, first, last] = [0, 0, 0, 0];
  const server = createServer(async (incoming, response) => {
    first ||= performance.now();
    const chunks: Buffer[] = [];
    for await (const chunk of incoming) chunks.push(chunk);
    const { events } = JSON.parse(Buffer.concat(chunks).toString()) as { events: { type: string }[] };
    messages += events.filter(({ type }) => type === 'm.room.message').length;
    transactions += 1;
    last = performance.now();
    response.end('{}');
    if (messages >= expected) done.resolve();
  });
  server.listen(0, '127.0.0.1');
  await once(server, 'listening');
  return {
    url: `http://127.0.0.1:${(server.address() as AddressInfo).port}`,
    isDone: done.promise,
    seen: () => ({ messages, transactions, elapsedMs: last - first }),
    [Symbol.asyncDispose]: async () => {
      server.close();
      server.closeAllConnections();
    },
  };
}

/** The service first: what comes after its cursor it has missed. */
async function write(
  folder: string,
  { url, messages }: { readonly url: string; readonly messages: number },
): Promise<void> {
  const registration = [
    ...[`id: ${ID}`, `url: ${url}`, 'as_token: as', 'hs_token: hs', 'sender_localpart: _bench_bot'],
    'namespaces: {users: [{regex: "@_bench_.*", exclusive: true}]}',
  ].join('\n');
  await using opened = await openRooms(folder);
  await opened.ctx.db.write('bench.service', async (tx) => {
    await appservices.add(tx, { id: ID, registration, policy: '{}', addedTs: 0 });
    await cursors.set(tx, appservices.cursorOf(ID), 0);
  });
  for (let room = 0; room < ROOMS; room++) {
    await writeRoom(opened.ctx, `!room${room}:${SERVER}`, { members: [userOf(room), GHOST], messages });
  }
}

/**
 * Events of other servers: 20 peers send transactions of 50, each into a room of its own, all into shared rooms too, and
 * one of them alone. Received is what is on disk and has its place in the room. The peers run on the same machine, in a
 * process of their own whose work is not counted.
 */

import fs from 'node:fs';
import path from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { type Account, call, registerAccount } from '#bench/lib/accounts.ts';
import { cpuMs } from '#bench/lib/process-tree.ts';
import { type Figures, type Scenario, temporaryFolder } from '#bench/lib/scenario.ts';
import { type Kind, SendingPeers } from '#bench/lib/sending-peers.ts';
import { percentile, round } from '#bench/lib/statistics.ts';
import { startKurir } from '#bench/servers/kurir.ts';
import { freePort } from '#bench/servers/server.ts';
import type { EventId } from '#keys/ids.ts';
import type { Database, Reader } from '#storage/database.ts';
import * as events from '#storage/events.ts';
import { openSqliteReadOnly } from '#storage/sqlite.ts';
import * as stagedEvents from '#storage/staged-events.ts';
import { createAuthority } from '#test/harness/certificates.ts';

const PEERS = 20;
const EVENTS = 20_000;
const KINDS: readonly Kind[] = ['own', 'mixed', 'one'];
const LOOK_MS = 20;
const LONGEST_MS = 600_000;
const ENOUGH_PER_S = 3_000;

export const fedIn: Scenario = {
  name: 'fed-in',
  about: `events that ${PEERS} servers send, in transactions of 50: received a second, CPU, time of the answers`,
  ratios: [],
  limits: Object.fromEntries(KINDS.map((kind) => [`${kind}_received_per_s`, { atLeast: ENOUGH_PER_S }])),
  run,
};

async function run(_: unknown, { size = EVENTS }: { size?: number | undefined }): Promise<Figures> {
  using folder = temporaryFolder();
  const authority = await createAuthority();
  fs.writeFileSync(path.join(folder.path, 'ca.crt'), authority.cert);
  await using peers = await SendingPeers.start(authority, PEERS);
  const port = await freePort();
  const server = await startKurir(folder.path, {
    env: {
      KURIR_FEDERATION_LISTEN: `127.0.0.1:${port}`,
      KURIR_FEDERATION_CA: path.join(folder.path, 'ca.crt'),
      KURIR_FEDERATION_ALLOW_PRIVATE: 'true',
    },
  });
  const account = await registerAccount(server, 'receiver');
  try {
    await joinAll(account, peers);
    await using db = await openSqliteReadOnly(path.join(folder.path, 'kurir.db'));
    const figures: Record<string, number | null> = {};
    for (const kind of KINDS) {
      const found = await measure(kind, { peers, port, db, pid: server.pid, size });
      for (const [name, value] of Object.entries(found)) figures[`${kind}_${name}`] = value;
      report(kind, found);
    }
    return figures;
  } finally {
    account.connection.close();
    await server.stop();
  }
}

async function joinAll({ connection, token }: Account, { rooms }: SendingPeers): Promise<void> {
  for (const { roomId, server } of rooms) {
    const query = `via=${encodeURIComponent(server)}`;
    const joinPath = `/_matrix/client/v3/join/${encodeURIComponent(roomId)}?${query}`;
    // One after the other: it is not what is measured.
    await call(connection, 'POST', joinPath, { token, body: {} });
  }
}

async function measure(
  kind: Kind,
  on: {
    readonly peers: SendingPeers;
    readonly port: number;
    readonly db: Database;
    readonly pid: number;
    readonly size: number;
  },
): Promise<Record<string, number | null>> {
  const { eventIds } = await on.peers.build(kind, on.size);
  const [cpu, began] = [cpuMs(on.pid), performance.now()];
  const { latencies, busy } = await on.peers.send(on.port);
  const answered = performance.now() - began;
  while ((await stagedEvents.rooms(on.db, '', 1)).length > 0) {
    if (performance.now() - began > LONGEST_MS) throw new Error('events are still waiting');
    await sleep(LOOK_MS);
  }
  const took = performance.now() - began;
  const used = (cpuMs(on.pid) ?? Number.NaN) - (cpu ?? Number.NaN);
  await checkPlaced(on.db, eventIds);
  return {
    received_per_s: round((eventIds.length / took) * 1_000, 0),
    answered_per_s: round((eventIds.length / answered) * 1_000, 0),
    cpu_us_per_pdu: round((used * 1_000) / eventIds.length, 0),
    answer_p50_ms: round(percentile(latencies, 0.5), 0),
    answer_p99_ms: round(percentile(latencies, 0.99), 0),
    sent_again: busy,
  };
}

/** All that was sent is in its room. */
async function checkPlaced(db: Reader, eventIds: readonly EventId[]): Promise<void> {
  const rows = await events.byIds(db, eventIds);
  const placed = rows.filter(({ status, position }) => status === 'accepted' && position !== null);
  if (placed.length !== eventIds.length)
    throw new Error(`${placed.length} of ${eventIds.length} events are in their rooms`);
}

function report(kind: Kind, found: Record<string, number | null>): void {
  console.log(
    `  ${kind}: ${found.received_per_s} received/s (${found.answered_per_s} answered for), ${found.cpu_us_per_pdu} us CPU each,`,
  );
  console.log(
    `  answers within ${found.answer_p50_ms} ms (p50), ${found.answer_p99_ms} ms (p99), ${found.sent_again} to be sent again`,
  );
}

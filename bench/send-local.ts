/**
 * Sends and deliveries inside one server: 40 users, all in 10 rooms; 32 of them send, each the next message when the
 * one before is acknowledged, round all rooms; 10 wait in long polls. Ends when every receiver has seen every
 * message, and fails if one has seen a message twice or never.
 */

import { setTimeout as sleep } from 'node:timers/promises';
import { type Account, call, createRoom, joinRoom, registerAccount } from '#bench/lib/accounts.ts';
import { Connection, lengthOf } from '#bench/lib/connection.ts';
import { cpuMs, peakResidentBytes, residentBytes } from '#bench/lib/process-tree.ts';
import { type Figures, type Scenario, temporaryFolder } from '#bench/lib/scenario.ts';
import { megabytes, percentile, round } from '#bench/lib/statistics.ts';
import { folderBytes, type RunningServer, type ServerKind } from '#bench/servers/server.ts';

const USERS = 40;
const ROOMS = 10;
const SENDERS = 32;
const RECEIVERS = 10;
const WARM_UP_MS = 2_000;
/** How long receivers may go without anything new after the load before the rest counts as missing. */
const DRAIN_STALL_MS = 15_000;
/** Events that a room has before the first message: the creation, its settings and name, and the joins. */
const SETUP_EVENTS = ROOMS * (6 + USERS);

export const sendLocal: Scenario = {
  name: 'send-local',
  about: `${SENDERS} of ${USERS} users send to ${ROOMS} rooms, ${RECEIVERS} long-polling receivers`,
  ratios: ['sends_per_s', 'server_cpu_ms_per_send', 'send_p99_ms'],
  run,
};

interface Load {
  /** Messages are numbered in the order in which they are handed to the server. */
  next: number;
  acknowledged: number;
  /** Milliseconds from the request to its answer, of those acknowledged within the measured time. */
  readonly latencies: number[];
  phase: 'warm-up' | 'measure' | 'end';
}

interface Receiver {
  /** How often each message came, by its number. */
  readonly seen: Map<number, number>;
  /** Timelines that the server cut off. */
  limited: number;
  readonly connection: Connection;
}

async function run(kind: ServerKind, { seconds }: { seconds: number }): Promise<Figures> {
  using folder = temporaryFolder();
  const server = await kind.start(folder.path);
  const { accounts, rooms } = await populate(server);
  const receivers = await Promise.all(
    accounts.slice(-RECEIVERS).map((account) => startReceiver(server, account)),
  );
  const load: Load = { next: 0, acknowledged: 0, latencies: [], phase: 'warm-up' };
  const sending = accounts
    .slice(0, SENDERS)
    .map((account, index) => sendUntilEnd(account, rooms, { load, index }));

  await sleep(WARM_UP_MS);
  load.phase = 'measure';
  const before = load.acknowledged;
  const [started, serverCpu, ownCpu] = [performance.now(), cpuMs(server.pid), ownCpuMs()];
  await Promise.race([sleep(seconds * 1000), Promise.all(sending)]);
  const elapsed = performance.now() - started;
  load.phase = 'end';
  await Promise.all(sending);
  await drain(receivers, load.next);
  // The work for those that were under way at the end is in these figures, so they are in their number too.
  const worked = load.acknowledged - before;
  const serverCpuUsed = (cpuMs(server.pid) ?? Number.NaN) - (serverCpu ?? Number.NaN);
  const ownCpuUsed = ownCpuMs() - ownCpu;
  const [rss, peakRss] = [residentBytes(server.pid), peakResidentBytes(server.pid)];
  for (const { connection } of [...accounts, ...receivers]) connection.close();
  await server.stop();

  const figures = {
    sends: load.latencies.length,
    sends_per_s: round((load.latencies.length / elapsed) * 1000, 1),
    send_p50_ms: round(percentile(load.latencies, 0.5)),
    send_p99_ms: round(percentile(load.latencies, 0.99)),
    server_cpu_ms_per_send: round(serverCpuUsed / worked, 3),
    generator_cpu_ms_per_send: round(ownCpuUsed / worked, 3),
    ...deliveries(receivers, load.next),
    rss_mb: megabytes(rss),
    peak_rss_mb: megabytes(peakRss),
    database_bytes_per_event: round(folderBytes(folder.path) / (SETUP_EVENTS + load.next), 0),
  };
  report(kind, figures);
  return figures;
}

/** The accounts and the rooms, everybody in every room. */
async function populate(server: RunningServer): Promise<{ accounts: Account[]; rooms: string[] }> {
  const started = performance.now();
  const accounts: Account[] = [];
  // One after the other: on a small machine hashing many passwords together only makes each of them late.
  for (let user = 0; user < USERS; user++) accounts.push(await registerAccount(server, `user${user}`));
  const [creator, ...others] = accounts;
  if (creator === undefined) throw new Error('no accounts');
  const rooms: string[] = [];
  for (let room = 0; room < ROOMS; room++) rooms.push(await createRoom(creator, `Room ${room}`));
  // Each account has one connection; the accounts go side by side.
  await Promise.all(
    others.map(async (account) => {
      for (const roomId of rooms) await joinRoom(account, roomId);
    }),
  );
  console.log(
    `  ${USERS} users in ${ROOMS} rooms after ${((performance.now() - started) / 1000).toFixed(1)} s`,
  );
  return { accounts, rooms };
}

/** Sends one message after the other until the load ends; the first room differs between senders. */
async function sendUntilEnd(
  { connection, token }: Account,
  rooms: readonly string[],
  { load, index }: { load: Load; index: number },
): Promise<void> {
  const heads = rooms.map((roomId) => {
    const path = `/_matrix/client/v3/rooms/${encodeURIComponent(roomId)}/send/m.room.message/`;
    const [before = '', after = ''] = connection.head('PUT', `${path}\0`, token).split('\0');
    return { before, after };
  });
  const text = 'The quarterly figures are in the shared folder; please look at the second sheet before noon.';
  for (let round = index; load.phase !== 'end'; round++) {
    const head = heads[round % heads.length];
    if (head === undefined) throw new Error('no rooms');
    const number = load.next++;
    const body = `{"msgtype":"m.text","body":"${text}","number":${number}}`;
    const started = performance.now();
    const answer = await connection.send(`${head.before}${number}${head.after}${lengthOf(body)}`, body);
    if (answer.status !== 200) throw new Error(`a send answered ${answer.status}: ${answer.body}`);
    load.acknowledged++;
    if (load.phase === 'measure') load.latencies.push(performance.now() - started);
  }
}

/** Syncs once, then goes on in the background until its connection closes. */
async function startReceiver(server: RunningServer, { token }: Account): Promise<Receiver> {
  // Two of the receivers also send, on the connection of their account.
  const connection = await Connection.open(server.url);
  const filter = {
    room: { timeline: { limit: 1000 }, state: { lazy_load_members: true } },
    presence: { types: [] },
  };
  const path = `/_matrix/client/v3/sync?filter=${encodeURIComponent(JSON.stringify(filter))}`;
  const first = await call(connection, 'GET', path, { token });
  const receiver: Receiver = { connection, seen: new Map(), limited: 0 };
  const [before = '', after = ''] = connection
    .head('GET', `${path}&timeout=30000&since=\0`, token)
    .split('\0');
  const poll = async () => {
    for (let since = String(first.next_batch); ; ) {
      const { status, body } = await connection.send(`${before}${encodeURIComponent(since)}${after}\r\n`, '');
      if (status !== 200) throw new Error(`a sync answered ${status}: ${body}`);
      since = take(receiver, JSON.parse(body));
    }
  };
  poll().catch((error: Error) => {
    // The scenario closes the connection when it has seen enough; a receiver that ends before then misses the rest.
    if (error.message !== 'the server closed the connection') console.error(error);
  });
  return receiver;
}

interface SyncAnswer {
  readonly next_batch: string;
  readonly rooms?: {
    readonly join?: Readonly<Record<string, { readonly timeline?: Timeline }>>;
  };
}

interface Timeline {
  readonly limited?: boolean;
  readonly events?: readonly { readonly content: { readonly number?: number } }[];
}

/** Counts the messages of one sync answer; answers where the next begins. */
function take(receiver: Receiver, { next_batch, rooms }: SyncAnswer): string {
  for (const { timeline } of Object.values(rooms?.join ?? {})) {
    if (timeline?.limited === true) receiver.limited++;
    for (const { content } of timeline?.events ?? []) {
      if (content.number === undefined) continue;
      receiver.seen.set(content.number, (receiver.seen.get(content.number) ?? 0) + 1);
    }
  }
  return next_batch;
}

/** Waits until every receiver has seen all messages, or nothing new comes any more. */
async function drain(receivers: readonly Receiver[], messages: number): Promise<void> {
  const count = () => receivers.reduce((sum, { seen }) => sum + seen.size, 0);
  let [last, changed] = [count(), performance.now()];
  while (last < receivers.length * messages && performance.now() - changed < DRAIN_STALL_MS) {
    await sleep(20);
    const now = count();
    if (now !== last) [last, changed] = [now, performance.now()];
  }
  // A repetition would come after the last one that is new.
  await sleep(300);
}

function deliveries(receivers: readonly Receiver[], messages: number) {
  const times = receivers.flatMap(({ seen }) => [...seen.values()]);
  return {
    deliveries: times.length,
    deliveries_missing: receivers.length * messages - times.length,
    deliveries_repeated: times.filter((count) => count > 1).length,
    timelines_cut: receivers.reduce((sum, { limited }) => sum + limited, 0),
  };
}

function ownCpuMs(): number {
  const { user, system } = process.cpuUsage();
  return (user + system) / 1000;
}

function report({ name }: ServerKind, figures: Figures): void {
  const { sends_per_s, send_p50_ms, send_p99_ms, server_cpu_ms_per_send, generator_cpu_ms_per_send } =
    figures;
  console.log(`  ${name}: ${sends_per_s} sends/s, p50 ${send_p50_ms} ms, p99 ${send_p99_ms} ms`);
  console.log(`  ${server_cpu_ms_per_send} ms of server CPU a send with its ${RECEIVERS} deliveries`);
  console.log(`  (and ${generator_cpu_ms_per_send} ms in the generator, on the same cores)`);
  console.log(`  ${figures.deliveries} deliveries, ${figures.deliveries_missing} missing,`);
  console.log(`  ${figures.deliveries_repeated} repeated; ${figures.rss_mb} MB resident,`);
  console.log(`  ${figures.database_bytes_per_event} bytes of database an event`);
  if (figures.deliveries_missing !== 0 || figures.deliveries_repeated !== 0) {
    console.log('  FAILED: not every receiver saw every message exactly once');
    process.exitCode = 1;
  }
}

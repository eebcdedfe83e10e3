/**
 * A user joins a room of many members on another server: over TLS, each event with its real signature, each member's
 * server asked for its key. The other servers are another process, whose work is not counted.
 */

import { type ChildProcessByStdio, spawn } from 'node:child_process';
import { once } from 'node:events';
import fs from 'node:fs';
import path from 'node:path';
import { createInterface } from 'node:readline';
import type { Readable, Writable } from 'node:stream';
import { setTimeout as sleep } from 'node:timers/promises';
import type { Resident } from '#bench/fakes/resident.ts';
import { type Account, call, registerAccount } from '#bench/lib/accounts.ts';
import { Connection } from '#bench/lib/connection.ts';
import { cpuMs, peakResidentBytes, residentBytes } from '#bench/lib/process-tree.ts';
import { type Figures, type Scenario, temporaryFolder } from '#bench/lib/scenario.ts';
import { megabytes, round } from '#bench/lib/statistics.ts';
import { type KurirOptions, startKurir } from '#bench/servers/kurir.ts';
import { folderBytes, type RunningServer } from '#bench/servers/server.ts';

const ROOMS = [
  { members: 10_000, servers: 100 },
  { members: 50_000, servers: 200 },
];
/** What a server still has to do when the join is answered belongs to the join. */
const SETTLE_MS = 3_000;
const RSS_MB = 250;

export const joinLargeRoom: Scenario = {
  name: 'join-large-room',
  about:
    'a join of a room of 10,000 and of one of 50,000 members over federation (--size: of one of that size)',
  ratios: [],
  limits: {
    cpu_s_10000: { atMost: 3 },
    cpu_s_50000: { atMost: 15 },
    peak_rss_mb_50000: { atMost: RSS_MB },
  },
  run,
};

type Joiner = Pick<Account, 'token' | 'connection'>;
type Program = ChildProcessByStdio<Writable, Readable, null>;

async function run(_: unknown, { size }: { size?: number | undefined }): Promise<Figures> {
  const rooms = size === undefined ? ROOMS : [{ members: size, servers: Math.min(200, size) }];
  const figures: Record<string, number | null> = {};
  for (const room of rooms) {
    for (const [name, value] of Object.entries(await joinOne(room)))
      figures[`${name}_${room.members}`] = value;
  }
  return figures;
}

async function joinOne({ members, servers }: (typeof ROOMS)[number]): Promise<Figures> {
  using folder = temporaryFolder();
  const { resident, end } = await startResident(members, servers, folder.path);
  const loopFile = path.join(folder.path, 'loop.log');
  const options = {
    preload: path.join(import.meta.dirname, 'lib/loop-watch.ts'),
    env: {
      KURIR_FEDERATION_CA: path.join(folder.path, 'ca.crt'),
      KURIR_FEDERATION_ALLOW_PRIVATE: 'true',
      KURIR_BENCH_LOOP_FILE: loopFile,
    },
  };
  const { token } = await registered(folder.path, options);
  const server = await startKurir(folder.path, options);
  try {
    const account = { token, connection: await Connection.open(server.url) };
    await sleep(SETTLE_MS);
    const figures = await measureJoin(server, account, { resident, loopFile });
    await checkJoined(account, resident, members);
    account.connection.close();
    const events = resident.events;
    const figuresOfAll = { ...figures, database_mb: megabytes(folderBytes(folder.path)), events };
    report(members, servers, resident, figuresOfAll);
    return figuresOfAll;
  } catch (error) {
    console.error(fs.readFileSync(path.join(folder.path, 'bench.log'), 'utf8').slice(-3000));
    throw error;
  } finally {
    await server.stop();
    await end();
  }
}

/** An account that an earlier start has made: its memory, for the password's hash above all, is none of the join's. */
async function registered(folder: string, options: KurirOptions): Promise<Account> {
  const server = await startKurir(folder, options);
  const account = await registerAccount(server, 'joiner');
  account.connection.close();
  await server.stop();
  return account;
}

async function measureJoin(
  server: RunningServer,
  { connection, token }: Joiner,
  { resident, loopFile }: { readonly resident: Resident; readonly loopFile: string },
): Promise<Figures> {
  await longestBlock(server.pid, loopFile);
  const [cpu, started, before] = [cpuMs(server.pid), performance.now(), residentBytes(server.pid)];
  const via = encodeURIComponent(resident.serverName);
  const joinPath = `/_matrix/client/v3/join/${encodeURIComponent(resident.roomId)}?via=${via}`;
  await call(connection, 'POST', joinPath, { token, body: {} });
  const seconds = (performance.now() - started) / 1000;
  await sleep(SETTLE_MS);
  const used = (cpuMs(server.pid) ?? Number.NaN) - (cpu ?? Number.NaN);
  return {
    cpu_s: round(used / 1000),
    wall_s: round(seconds),
    idle_rss_mb: megabytes(before),
    peak_rss_mb: megabytes(peakResidentBytes(server.pid)),
    longest_block_ms: await longestBlock(server.pid, loopFile),
  };
}

/** The members are all there for the user who joined. */
async function checkJoined(
  { connection, token }: Joiner,
  { roomId }: Resident,
  members: number,
): Promise<void> {
  const memberPath = `/_matrix/client/v3/rooms/${encodeURIComponent(roomId)}/joined_members`;
  const { joined } = await call(connection, 'GET', memberPath, { token });
  const count = Object.keys(joined as object).length;
  if (count !== members + 1) throw new Error(`${count} members are joined, not ${members + 1}`);
}

async function longestBlock(pid: number, file: string): Promise<number | null> {
  fs.rmSync(file, { force: true });
  process.kill(pid, 'SIGUSR2');
  for (let waited = 0; waited < 10_000; waited += 20) {
    if (fs.existsSync(file)) return round(Number(fs.readFileSync(file, 'utf8')), 0);
    await sleep(20);
  }
  throw new Error('the server does not say how long its event loop was blocked');
}

/** Starts the other servers. They end with us, since their standard input does. */
async function startResident(
  members: number,
  servers: number,
  folder: string,
): Promise<{ readonly resident: Resident; end(): Promise<void> }> {
  const program = path.join(import.meta.dirname, 'fakes/resident.ts');
  const args = [...process.execArgv, program, String(members), String(servers), folder];
  const child: Program = spawn(process.execPath, args, { stdio: ['pipe', 'pipe', 'inherit'] });
  const ended = once(child, 'exit');
  const lines = createInterface({ input: child.stdout });
  const [line] = await Promise.race([
    once(lines, 'line'),
    ended.then(() => Promise.reject(new Error('the other servers did not start'))),
  ]);
  const resident: Resident = JSON.parse(String(line));
  return {
    resident,
    end: async () => {
      child.stdin.end();
      await ended;
    },
  };
}

function report(members: number, servers: number, resident: Resident, figures: Figures): void {
  console.log(
    `  ${members} members of ${servers} servers, ${resident.events} events, ${megabytes(resident.bytes)} MB:`,
  );
  console.log(`  CPU ${figures.cpu_s} s, joined after ${figures.wall_s} s, event loop blocked for at most`);
  console.log(
    `  ${figures.longest_block_ms} ms, ${figures.peak_rss_mb} MB resident at most (${figures.idle_rss_mb} MB before)`,
  );
}

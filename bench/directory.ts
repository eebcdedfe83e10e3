/**
 * The user directory with many users: half of them have accounts here, the others are of other servers and are met in
 * rooms. A server that has written none of the latter into its directory yet does so; then people search, by what
 * people type. Meanwhile somebody else asks for something small.
 */

import { type Account, call } from '#bench/lib/accounts.ts';
import { Connection } from '#bench/lib/connection.ts';
import { openRooms, SERVER, userOf } from '#bench/lib/open-rooms.ts';
import { askOthers } from '#bench/lib/others.ts';
import { cpuMs, peakResidentBytes } from '#bench/lib/process-tree.ts';
import { type Figures, type Scenario, type ScenarioOptions, temporaryFolder } from '#bench/lib/scenario.ts';
import { settle } from '#bench/lib/settle.ts';
import { median, megabytes, percentile, round } from '#bench/lib/statistics.ts';
import { tokenOf, writeDevices, writeRoom } from '#bench/lib/written-rooms.ts';
import { startKurir } from '#bench/servers/kurir.ts';
import { folderBytes, type RunningServer } from '#bench/servers/server.ts';
import type { RoomId, ServerName, UserId } from '#keys/ids.ts';
import type { RoomsContext } from '#rooms/context.ts';
import { getRoom } from '#rooms/room.ts';
import * as arrivals from '#storage/arrivals.ts';
import { cursors } from '#storage/cursors.ts';
import type { Database } from '#storage/database.ts';
import * as memberships from '#storage/memberships.ts';
import * as profiles from '#storage/profiles.ts';
import * as users from '#storage/users.ts';

const USERS = 100_000;
const MEMBERS = 500;
const ACCOUNTS_AT_ONCE = 500;
/** Who search, and as often each. */
const SEARCHERS = 10;
const ROUNDS = 5;

/** Every user has one of each: a few hundred have the same given name, and a few the same full name. */
const GIVEN = namesOf(
  ['A', 'Be', 'Chri', 'Da', 'E', 'Fran', 'Ka', 'Ma'],
  ['na', 'lia', 'ti', 'ro', 'so'],
  'nsa',
);
const FAMILY = namesOf(
  ['Al', 'Bau', 'Dör', 'Eich', 'Fisch', 'Groß', 'Hu', 'Kö', 'Lang', 'Mey', 'Schu', 'Wei'],
  ['er', 'ber', 'man', 'ning', 'ler', 'mann', 'bach', 'hof', 'stein', 'feld', 'wig', 'dorf'],
  'esn',
);

/** What people type: the first letters, then more of them; names, a name that nobody has, ids. */
const TYPED: Readonly<Record<string, (number: number) => string>> = {
  two_letters: (number) => nameOf(number).slice(0, 2),
  given_name: (number) => givenOf(number),
  name_begun: (number) => nameOf(number).slice(0, -3),
  full_name: (number) => nameOf(number),
  nobody: (number) => `Xaver${number}`,
  id: (number) => (number % 2 === 0 ? userOf(number) : `@their.number${number}`),
};

interface Took {
  readonly kind: string;
  readonly ms: number;
}

export const directory: Scenario = {
  name: 'directory',
  about: `the user directory with ${USERS} users: how it is written, and searches (--size: fewer)`,
  ratios: [],
  limits: {
    search_p99_ms: { atMost: 300 },
    database_bytes_per_user: { atMost: 500 },
    other_p99_ms_writing: { atMost: 100 },
    other_p99_ms_searching: { atMost: 100 },
  },
  run,
};

async function run(_: unknown, { size = USERS }: ScenarioOptions): Promise<Figures> {
  using folder = temporaryFolder();
  await write(folder.path, size);
  const bytes = folderBytes(folder.path);
  const start = () =>
    startKurir(folder.path, { env: { KURIR_SERVER_NAME: SERVER, KURIR_USER_DIRECTORY: 'everyone' } });
  const written = await whileOthersAsk(await start(), (server) => settle(server));
  // The second start has nothing to write.
  const ofTheirs = size / 2;
  const bytesPerUser = (folderBytes(folder.path) - bytes) / ofTheirs;
  const took: Took[] = [];
  const searched = await whileOthersAsk(await start(), async (server) => {
    await settle(server);
    await search(server, size, took);
  });
  const all = took.map(({ ms }) => ms);
  const figures = {
    users: size,
    // With what else a start looks through.
    written_cpu_us_per_user: round((written.usedMs / size) * 1_000, 0),
    database_bytes_per_user: round(bytesPerUser, 0),
    ...Object.fromEntries(
      Object.keys(TYPED).map((kind) => [
        `search_p50_ms_${kind}`,
        round(median(took.filter((one) => one.kind === kind).map(({ ms }) => ms)), 1),
      ]),
    ),
    search_p99_ms: round(percentile(all, 0.99), 1),
    search_cpu_ms: round(searched.usedMs / all.length, 1),
    other_p99_ms_writing: round(percentile(written.latencies, 0.99), 1),
    other_p99_ms_searching: round(percentile(searched.latencies, 0.99), 1),
    peak_rss_mb: megabytes(searched.peakBytes),
  };
  for (const [name, value] of Object.entries(figures)) console.log(`  ${name}: ${value}`);
  return figures;
}

/** Stops the server at the end. */
async function whileOthersAsk(
  server: RunningServer,
  work: (server: RunningServer) => Promise<void>,
): Promise<{ usedMs: number; latencies: readonly number[]; peakBytes: number | undefined }> {
  const asking = new AbortController();
  const token = tokenOf(userOf(0));
  const others = askOthers({ connection: await Connection.open(server.url), token }, asking.signal);
  const before = cpuMs(server.pid) ?? Number.NaN;
  await work(server);
  const usedMs = (cpuMs(server.pid) ?? Number.NaN) - before;
  asking.abort();
  const latencies = await others;
  const peakBytes = peakResidentBytes(server.pid);
  await server.stop();
  return { usedMs, latencies, peakBytes };
}

/** Several people at once, each of them one thing after the other. */
async function search(server: RunningServer, size: number, took: Took[]): Promise<void> {
  const searchers = Array.from({ length: SEARCHERS }, (_, number) => 2 * number);
  await Promise.all(
    searchers.map(async (searcher) => {
      const connection = await Connection.open(server.url);
      const account = { connection, token: tokenOf(userOf(searcher)) };
      for (let round = 0; round < ROUNDS; round++) {
        for (const [kind, typed] of Object.entries(TYPED)) {
          const sought = (1 + searcher * 7_919 + round * 104_729) % size;
          const started = performance.now();
          const found = await searchFor(account, typed(sought));
          took.push({ kind, ms: performance.now() - started });
          if (found.length === 0 && kind !== 'nobody')
            throw new Error(`nobody was found by ${typed(sought)}`);
        }
      }
      connection.close();
    }),
  );
}

async function searchFor(
  { connection, token }: Pick<Account, 'connection' | 'token'>,
  term: string,
): Promise<readonly unknown[]> {
  const path = '/_matrix/client/v3/user_directory/search';
  const { results } = await call(connection, 'POST', path, { token, body: { search_term: term, limit: 10 } });
  if (!Array.isArray(results)) throw new Error('the answer has no results');
  return results;
}

/** The even ones are ours. Each room has some of the others, and the ones of us who search. */
async function write(folder: string, size: number): Promise<void> {
  const started = performance.now();
  await using opened = await openRooms(folder);
  const { ctx } = opened;
  const numbers = Array.from({ length: size }, (_, number) => number);
  const ours = numbers.filter((number) => number % 2 === 0);
  const searchers = ours.slice(0, SEARCHERS).map(userOf);
  await writeDevices(ctx.db, searchers);
  await writeAccounts(ctx.db, ours);
  const others = numbers.filter((number) => number % 2 === 1);
  for (let from = 0; from < others.length; from += MEMBERS) {
    const roomId: RoomId = `!r${from}:${SERVER}`;
    // One after the other: this is not what is measured.
    await writeRoom(ctx, roomId, { members: searchers });
    await writeMembers(ctx, roomId, others.slice(from, from + MEMBERS));
  }
  await ctx.db.write('bench.cursor', (tx) => cursors.set(tx, 'user_directory', arrivals.BEFORE_ALL));
  console.log(`  ${size} users written after ${round((performance.now() - started) / 1_000, 0)} s`);
}

/** Users of other servers, without the events by which they came: the directory reads who is in a room from its members. */
async function writeMembers(ctx: RoomsContext, roomId: RoomId, numbers: readonly number[]): Promise<void> {
  const room = await getRoom(ctx, roomId);
  if (room === undefined) throw new Error('the room was not written');
  const { roomNid } = room;
  const position = ctx.streams.upto();
  await ctx.db.write('bench.members', async (tx) => {
    for (const number of numbers) {
      const userId = theirUserOf(number);
      const of = { roomNid, userId, serverName: serverOf(number), eventNid: 0, position };
      await memberships.set(tx, { ...of, membership: 'join', displayName: nameOf(number), avatarUrl: null });
    }
  });
}

async function writeAccounts(db: Database, numbers: readonly number[]): Promise<void> {
  for (let from = 0; from < numbers.length; from += ACCOUNTS_AT_ONCE) {
    const some = numbers.slice(from, from + ACCOUNTS_AT_ONCE);
    await db.write('bench.accounts', async (tx) => {
      for (const number of some) {
        const userId = userOf(number);
        await users.create(tx, { userId, passwordHash: undefined, isAdmin: false, now: 0 });
        await profiles.set(tx, userId, 'displayname', nameOf(number));
      }
    });
  }
}

function theirUserOf(number: number): UserId {
  return `@their.number${number}:${serverOf(number)}`;
}

function serverOf(number: number): ServerName {
  return `server${number % 40}.example.com`;
}

function nameOf(number: number): string {
  return `${givenOf(number)} ${FAMILY[Math.floor(number / 3) % FAMILY.length]}`;
}

function givenOf(number: number): string {
  return GIVEN[(number * 31) % GIVEN.length] ?? '';
}

/** Every first part with every second one, and each of these with every letter at its end. */
function namesOf(firsts: readonly string[], seconds: readonly string[], ends: string): readonly string[] {
  return firsts.flatMap((first) =>
    seconds.flatMap((second) => [`${first}${second}`, ...[...ends].map((end) => `${first}${second}${end}`)]),
  );
}

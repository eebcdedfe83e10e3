/**
 * Many sign in by password at once, while others go on sending and reading: what they notice of it. Who is told to come
 * back later, since too many wait already, does so.
 */

import { setTimeout as sleep } from 'node:timers/promises';
import { type Account, createRoom, registerAccount } from '#bench/lib/accounts.ts';
import { Connection } from '#bench/lib/connection.ts';
import { cpuMs, peakResidentBytes, residentBytes } from '#bench/lib/process-tree.ts';
import { type Figures, type Scenario, type ScenarioOptions, temporaryFolder } from '#bench/lib/scenario.ts';
import { megabytes, percentile, round } from '#bench/lib/statistics.ts';
import type { RunningServer, ServerKind } from '#bench/servers/server.ts';

const SIGNING_IN = 100;
const ACCOUNTS = 10;
const OTHERS = 4;
/** Between two requests of one of the others. */
const PAUSE_MS = 20;
const V3 = '/_matrix/client/v3';

export const loginStorm: Scenario = {
  name: 'login-storm',
  about: `${SIGNING_IN} sign in by password again and again, while others send and read (--size: other than ${SIGNING_IN})`,
  ratios: [],
  limits: { errors: { atMost: 0 } },
  run,
};

interface Load {
  isOver: boolean;
  signedIn: number;
  toldToWait: number;
  errors: number;
  readonly took: number[];
}

async function run(kind: ServerKind, { seconds, size = SIGNING_IN }: ScenarioOptions): Promise<Figures> {
  using folder = temporaryFolder();
  const server = await kind.start(folder.path);
  const accounts: Account[] = [];
  // One after the other: on a small machine hashing many passwords together only makes each of them late.
  for (let number = 0; number < ACCOUNTS; number++)
    accounts.push(await registerAccount(server, `user${number}`));
  const rooms = await Promise.all(accounts.slice(0, OTHERS).map((account) => createRoom(account, 'A room')));
  const others = () => Promise.all(rooms.map((roomId, at) => goOn(accounts[at % ACCOUNTS], roomId, seconds)));
  const quiet = (await others()).flat();
  const rss = residentBytes(server.pid);
  const load: Load = { isOver: false, signedIn: 0, toldToWait: 0, errors: 0, took: [] };
  const before = cpuMs(server.pid) ?? Number.NaN;
  const signingIn = Array.from({ length: size }, (_, at) =>
    signInUntilEnd(server, `user${at % ACCOUNTS}`, load),
  );
  const meanwhile = (await others()).flat();
  const { signedIn, toldToWait, errors } = load;
  const used = (cpuMs(server.pid) ?? Number.NaN) - before;
  load.isOver = true;
  await Promise.all(signingIn);
  const figures = {
    sign_ins_per_s: round(signedIn / seconds, 1),
    told_to_wait_per_s: round(toldToWait / seconds, 1),
    errors,
    sign_in_p50_ms: round(percentile(load.took, 0.5), 0),
    cpu_ms_per_sign_in: round(used / signedIn, 1),
    others_p50_ms_before: round(percentile(quiet, 0.5), 1),
    others_p50_ms_meanwhile: round(percentile(meanwhile, 0.5), 1),
    others_p99_ms_before: round(percentile(quiet, 0.99), 1),
    others_p99_ms_meanwhile: round(percentile(meanwhile, 0.99), 1),
    rss_mb_before: megabytes(rss),
    peak_rss_mb: megabytes(peakResidentBytes(server.pid)),
  };
  report(figures);
  for (const { connection } of accounts) connection.close();
  await server.stop();
  return figures;
}

/** Sends and reads in turn; how long each took, in milliseconds. */
async function goOn(account: Account | undefined, roomId: string, seconds: number): Promise<number[]> {
  if (account === undefined) throw new Error('no account');
  const { connection, token } = account;
  const room = `${V3}/rooms/${encodeURIComponent(roomId)}`;
  const took: number[] = [];
  const until = performance.now() + seconds * 1_000;
  for (let number = 0; performance.now() < until; number++) {
    const began = performance.now();
    const { status } =
      number % 2 === 0
        ? await connection.request('PUT', `${room}/send/m.room.message/${began}`, {
            token,
            body: { msgtype: 'm.text', body: 'Please look at the second sheet.' },
          })
        : await connection.request('GET', `${room}/messages?dir=b&limit=20`, { token });
    if (status !== 200) throw new Error(`another request was answered with ${status}`);
    took.push(performance.now() - began);
    await sleep(PAUSE_MS);
  }
  return took;
}

async function signInUntilEnd(server: RunningServer, name: string, load: Load): Promise<void> {
  const connection = await Connection.open(server.url);
  const body = {
    type: 'm.login.password',
    identifier: { type: 'm.id.user', user: name },
    password: `password of ${name}`,
    device_id: 'STORM',
  };
  while (!load.isOver) {
    const began = performance.now();
    const answer = await connection.request('POST', `${V3}/login`, { body });
    if (answer.status === 200) {
      load.signedIn += 1;
      load.took.push(performance.now() - began);
    } else if (answer.status === 429) {
      load.toldToWait += 1;
      const { retry_after_ms: wait } = JSON.parse(answer.body);
      await sleep(typeof wait === 'number' ? wait : 1_000);
    } else load.errors += 1;
  }
  connection.close();
}

function report(figures: Figures): void {
  console.log(`  ${figures.sign_ins_per_s} sign-ins/s, CPU ${figures.cpu_ms_per_sign_in} ms each,`);
  console.log(`  ${figures.told_to_wait_per_s}/s told to come back later, ${figures.errors} errors;`);
  console.log(
    `  others: p50 ${figures.others_p50_ms_before} ms before, ${figures.others_p50_ms_meanwhile} meanwhile,`,
  );
  console.log(
    `  p99 ${figures.others_p99_ms_before} ms before, ${figures.others_p99_ms_meanwhile} meanwhile;`,
  );
  console.log(`  ${figures.rss_mb_before} MB resident before, ${figures.peak_rss_mb} at most`);
}

/**
 * Time from the start of the process to the first 200 of /_matrix/client/versions: with an empty folder, and with
 * the folder of a server that `kill -9` ended while it worked; and with an empty folder as the image starts it.
 */

import { createRoom, registerAccount } from '#bench/lib/accounts.ts';
import { type Figures, type Scenario, temporaryFolder } from '#bench/lib/scenario.ts';
import { median, round } from '#bench/lib/statistics.ts';
import { bundle } from '#bench/servers/bundle.ts';
import type { ServerKind } from '#bench/servers/server.ts';

const STARTS = 11;
const MESSAGES_BEFORE_KILL = 100;

export const coldStart: Scenario = {
  name: 'cold-start',
  about: `time to the first answer, ${STARTS} starts on an empty folder and ${STARTS} after kill -9`,
  ratios: ['empty_ms', 'after_kill_ms'],
  // Of the second that `docker run` may take, the container itself takes a third.
  limits: { bundle_ms: { atMost: 650 } },
  run,
};

async function run(kind: ServerKind): Promise<Figures> {
  const first = await startOnEmptyFolder(kind);
  const empty: number[] = [];
  for (let start = 0; start < STARTS; start++) empty.push(await startOnEmptyFolder(kind));
  const afterKill = await startsAfterKill(kind);
  const figures = {
    first_ms: round(first, 0),
    empty_ms: round(median(empty), 0),
    empty_max_ms: round(Math.max(...empty), 0),
    after_kill_ms: round(median(afterKill), 0),
    after_kill_max_ms: round(Math.max(...afterKill), 0),
    ...(kind.name === 'kurir' && (await startsOfBundle())),
  };
  console.log(`  ${kind.name}: first answer after ${figures.empty_ms} ms (at most ${figures.empty_max_ms}),`);
  console.log(
    `  after kill -9 ${figures.after_kill_ms} ms (at most ${figures.after_kill_max_ms}); medians of ${STARTS}`,
  );
  return figures;
}

async function startsOfBundle(): Promise<Figures> {
  await bundle.prepare();
  await startOnEmptyFolder(bundle);
  const times: number[] = [];
  for (let start = 0; start < STARTS; start++) times.push(await startOnEmptyFolder(bundle));
  console.log(`  as the image starts: ${round(median(times), 0)} ms`);
  return { bundle_ms: round(median(times), 0), bundle_max_ms: round(Math.max(...times), 0) };
}

async function startOnEmptyFolder(kind: ServerKind): Promise<number> {
  using folder = temporaryFolder();
  const server = await kind.start(folder.path);
  await server.stop();
  return server.readyMs;
}

/** Each start but the first is on what the kill of the one before has left. */
async function startsAfterKill(kind: ServerKind): Promise<number[]> {
  using folder = temporaryFolder();
  const times: number[] = [];
  for (let start = 0; start <= STARTS; start++) {
    const server = await kind.start(folder.path);
    if (start > 0) times.push(server.readyMs);
    const account = await registerAccount(server, `user${start}`);
    const roomId = encodeURIComponent(await createRoom(account, 'Room'));
    const { connection, token } = account;
    for (let number = 0; number < MESSAGES_BEFORE_KILL; number++) {
      const path = `/_matrix/client/v3/rooms/${roomId}/send/m.room.message/${number}`;
      await connection.request('PUT', path, {
        token,
        body: { msgtype: 'm.text', body: `Message ${number}` },
      });
    }
    await server.kill();
    connection.close();
  }
  return times;
}

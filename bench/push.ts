/**
 * A push gateway that is told of messages for all members of a room, each of whom has a pusher, while somebody asks the
 * server something else again and again. The gateway is a process of its own; it counts what it is told, by pusher.
 */

import { fork } from 'node:child_process';
import { once } from 'node:events';
import { writeFileSync } from 'node:fs';
import path from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { call } from '#bench/lib/accounts.ts';
import { Connection } from '#bench/lib/connection.ts';
import { openRooms, SERVER, userOf } from '#bench/lib/open-rooms.ts';
import { askOthers } from '#bench/lib/others.ts';
import { cpuMs, peakResidentBytes } from '#bench/lib/process-tree.ts';
import type { Told } from '#bench/lib/push-gateway-program.ts';
import { type Figures, type Scenario, type ScenarioOptions, temporaryFolder } from '#bench/lib/scenario.ts';
import { megabytes, percentile, round } from '#bench/lib/statistics.ts';
import { tokenOf, writeDevices, writeRoom } from '#bench/lib/written-rooms.ts';
import { startKurir } from '#bench/servers/kurir.ts';
import type { RoomId, UserId } from '#keys/ids.ts';
import * as pushers from '#storage/pushers.ts';
import { createAuthority } from '#test/harness/certificates.ts';

const PUSHERS = 10_000;
const MEMBERS = 500;
const MESSAGES = 3;
const POLL_MS = 50;
const LONGEST_MS = 180_000;

export const push: Scenario = {
  name: 'push',
  about: `messages of rooms of ${MEMBERS} members to ${PUSHERS} pushers of one gateway (--size: fewer)`,
  ratios: [],
  limits: { pushes_per_s: { atLeast: 1_000 }, missed: { atMost: 0 }, other_p99_ms: { atMost: 100 } },
  run,
};

async function run(_: unknown, { size = PUSHERS }: ScenarioOptions): Promise<Figures> {
  using folder = temporaryFolder();
  const authority = await createAuthority();
  const ca = path.join(folder.path, 'ca.pem');
  writeFileSync(ca, authority.cert);
  await using gateway = await startGateway(await authority.issue(['localhost', '127.0.0.1']));
  const rooms = await write(folder.path, { size, port: gateway.port });
  const server = await startKurir(folder.path, {
    env: { KURIR_SERVER_NAME: SERVER, KURIR_PRIVATE_PUSH_GATEWAYS: 'localhost', KURIR_PUSH_CA: ca },
  });
  const connection = await Connection.open(server.url);
  const asking = new AbortController();
  const others = askOthers(
    { connection: await Connection.open(server.url), token: tokenOf(userOf(0)) },
    asking.signal,
  );
  const expected = size * MESSAGES;
  const before = cpuMs(server.pid) ?? Number.NaN;
  const started = performance.now();
  for (let message = 0; message < MESSAGES; message++) {
    for (const { roomId, sender } of rooms) {
      const target = `/_matrix/client/v3/rooms/${encodeURIComponent(roomId)}/send/m.room.message/${message}`;
      await call(connection, 'PUT', target, {
        ...{ token: tokenOf(sender), body: { msgtype: 'm.text', body: `message ${message}` } },
      });
    }
  }
  const sentMs = performance.now() - started;
  const told = await untilTold(gateway, expected);
  const elapsedMs = performance.now() - started;
  const usedMs = (cpuMs(server.pid) ?? Number.NaN) - before;
  asking.abort();
  const latencies = await others;
  const figures = {
    pushers: size,
    told: told.notifications,
    missed: Math.max(0, expected - told.different),
    again: told.notifications - told.different,
    sends_ms: round(sentMs, 0),
    pushes_per_s: round((told.notifications / elapsedMs) * 1_000, 0),
    cpu_us_per_push: round((usedMs / told.notifications) * 1_000, 1),
    other_p50_ms: round(percentile(latencies, 0.5), 1),
    other_p99_ms: round(percentile(latencies, 0.99), 1),
    peak_rss_mb: megabytes(peakResidentBytes(server.pid)),
  };
  console.log(`  ${figures.pushes_per_s} pushes/s, CPU ${figures.cpu_us_per_push} us each`);
  console.log(`  meanwhile others: p50 ${figures.other_p50_ms} ms, p99 ${figures.other_p99_ms} ms`);
  connection.close();
  await server.stop();
  return figures;
}

interface Gateway extends AsyncDisposable {
  readonly port: number;
  told(): Promise<Told>;
}

async function untilTold(gateway: Gateway, expected: number): Promise<Told> {
  const deadline = performance.now() + LONGEST_MS;
  for (;;) {
    const told = await gateway.told();
    if (told.different >= expected || performance.now() > deadline) return told;
    await sleep(POLL_MS);
  }
}

async function startGateway(certificate: { readonly key: string; readonly cert: string }): Promise<Gateway> {
  const program = path.join(import.meta.dirname, 'lib/push-gateway-program.ts');
  const child = fork(program, {
    env: { ...process.env, GATEWAY_KEY: certificate.key, GATEWAY_CERT: certificate.cert },
  });
  const [{ port }] = (await once(child, 'message')) as [{ port: number }];
  return {
    port,
    told: async () => {
      const answer = once(child, 'message');
      child.send('told');
      return ((await answer) as [Told])[0];
    },
    [Symbol.asyncDispose]: async () => {
      const exited = once(child, 'exit');
      child.kill();
      await exited;
    },
  };
}

/** Rooms of members with pushers, each with one more who sends. */
async function write(
  folder: string,
  { size, port }: { readonly size: number; readonly port: number },
): Promise<{ readonly roomId: RoomId; readonly sender: UserId }[]> {
  await using opened = await openRooms(folder);
  const rooms: { readonly roomId: RoomId; readonly sender: UserId }[] = [];
  let number = 0;
  const next = (): UserId => userOf(number++);
  for (let left = size; left > 0; left -= MEMBERS) {
    const sender = next();
    const members = Array.from({ length: Math.min(left, MEMBERS) }, next);
    const roomId: RoomId = `!room${rooms.length}:${SERVER}`;
    await writeRoom(opened.ctx, roomId, { members: [sender, ...members] });
    await writeDevices(opened.ctx.db, [sender, ...members]);
    await opened.ctx.db.write('bench.pushers', async (tx) => {
      for (const userId of members) {
        await pushers.set(tx, {
          ...{
            userId,
            appId: 'org.example.app',
            pushkey: userId,
            deviceId: 'BENCH',
            kind: 'http',
            lang: 'en',
          },
          ...{ appDisplayName: 'App', deviceDisplayName: 'Phone', profileTag: undefined, createdTs: 0 },
          ...{ delivered: 0, enabled: true, activated: true, ack: undefined },
          data: { url: `https://localhost:${port}/_matrix/push/v1/notify` },
        });
      }
    });
    rooms.push({ roomId, sender });
  }
  return rooms;
}

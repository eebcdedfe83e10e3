/**
 * Keys of devices: every user uploads some, one asks for those of all, claims one of each, and sends each a message;
 * then the keys of many sessions are backed up and fetched. Fails where a one-time key is given out twice.
 */

import { randomBytes } from 'node:crypto';
import { type Account, call, registerAccount } from '#bench/lib/accounts.ts';
import { cpuMs, residentBytes } from '#bench/lib/process-tree.ts';
import { type Figures, type Scenario, type ScenarioOptions, temporaryFolder } from '#bench/lib/scenario.ts';
import { megabytes, percentile, round } from '#bench/lib/statistics.ts';
import type { RunningServer, ServerKind } from '#bench/servers/server.ts';

const USERS = 300;
const UPLOADS = 4;
const ONE_TIME_KEYS = 25;
const QUERIES = 50;
const CLAIMS = 50;
const SENDS = 20;
const SESSIONS = 10_000;
const PORTION = 200;
const V3 = '/_matrix/client/v3';
const ALGORITHM = 'signed_curve25519';

export const e2eeKeys: Scenario = {
  name: 'e2ee-keys',
  about: `keys of ${USERS} devices uploaded, queried and claimed, messages to them, and ${SESSIONS} keys backed up`,
  ratios: ['upload_cpu_us', 'query_cpu_ms', 'claimed_key_cpu_us', 'to_device_cpu_us'],
  run,
};

interface User extends Account {
  readonly deviceId: string;
}

async function run(kind: ServerKind, { size = USERS }: ScenarioOptions): Promise<Figures> {
  using folder = temporaryFolder();
  const server = await kind.start(folder.path);
  const users: User[] = [];
  // One after the other: on a small machine hashing many passwords together only makes each of them late.
  for (let user = 0; user < size; user++) users.push(await userOf(server, `user${user}`));
  const [first] = users;
  if (first === undefined) throw new Error('no users');
  try {
    const upload = await timed(server, users.length * UPLOADS, () => uploadAll(users));
    const query = await timed(server, QUERIES, () => times(QUERIES, () => queryAll(first, users)));
    const seen = new Set<string>();
    const claim = await timed(server, CLAIMS, () => times(CLAIMS, () => claimAll(first, users, seen)));
    const send = await timed(server, SENDS, () => times(SENDS, (at) => sendAll(first, users, at)));
    const backup = await timed(server, SESSIONS / PORTION, () => backUp(first));
    const restore = await timed(server, 1, () => times(1, () => restoreAll(server, first)));
    const figures = {
      upload_cpu_us: round(upload.cpuMs * 1_000, 0),
      upload_p50_ms: upload.p50,
      query_cpu_ms: round(query.cpuMs, 2),
      query_p50_ms: query.p50,
      claimed_key_cpu_us: round((claim.cpuMs / size) * 1_000, 1),
      claim_p50_ms: claim.p50,
      to_device_cpu_us: round((send.cpuMs / size) * 1_000, 1),
      to_device_p50_ms: send.p50,
      backed_up_key_cpu_us: round((backup.cpuMs / PORTION) * 1_000, 1),
      restored_key_cpu_us: round((restore.cpuMs / SESSIONS) * 1_000, 1),
      restore_ms: restore.p50,
      rss_mb: megabytes(residentBytes(server.pid)),
    };
    report(figures, size);
    return figures;
  } finally {
    for (const { connection } of users) connection.close();
    await server.stop();
  }
}

async function userOf(server: RunningServer, name: string): Promise<User> {
  const account = await registerAccount(server, name);
  const { device_id } = await call(account.connection, 'GET', `${V3}/account/whoami`, account);
  return { ...account, deviceId: String(device_id) };
}

/** How long each of some operations took, and the CPU of the server for one. */
async function timed(
  server: RunningServer,
  count: number,
  work: () => Promise<number[]>,
): Promise<{ readonly cpuMs: number; readonly p50: number | null }> {
  const before = cpuMs(server.pid) ?? Number.NaN;
  const took = await work();
  const used = (cpuMs(server.pid) ?? Number.NaN) - before;
  return { cpuMs: used / count, p50: round(percentile(took, 0.5), 1) };
}

async function times(count: number, operation: (at: number) => Promise<void>): Promise<number[]> {
  const took: number[] = [];
  for (let at = 0; at < count; at++) {
    const began = performance.now();
    // One after the other: it is the cost of one that is asked for.
    await operation(at);
    took.push(performance.now() - began);
  }
  return took;
}

/** Each user the keys of the device, and several times one-time keys. */
async function uploadAll(users: readonly User[]): Promise<number[]> {
  const took: number[] = [];
  for (let upload = 0; upload < UPLOADS; upload++) {
    for (const user of users) {
      const began = performance.now();
      await call(user.connection, 'POST', `${V3}/keys/upload`, {
        token: user.token,
        body: keysOf(user, upload),
      });
      took.push(performance.now() - began);
    }
  }
  return took;
}

function keysOf({ userId, deviceId }: User, upload: number): object {
  const signatures = { [userId]: { [`ed25519:${deviceId}`]: base64(64) } };
  const oneTimeKeys = Array.from({ length: ONE_TIME_KEYS }, (_, at) => [
    `${ALGORITHM}:${upload}K${at}`,
    { key: base64(32), signatures },
  ]);
  if (upload > 0) return { one_time_keys: Object.fromEntries(oneTimeKeys) };
  const device_keys = {
    user_id: userId,
    device_id: deviceId,
    algorithms: ['m.olm.v1.curve25519-aes-sha2', 'm.megolm.v1.aes-sha2'],
    keys: { [`curve25519:${deviceId}`]: base64(32), [`ed25519:${deviceId}`]: base64(32) },
    signatures,
  };
  return { device_keys, one_time_keys: Object.fromEntries(oneTimeKeys) };
}

async function queryAll({ connection, token }: User, users: readonly User[]): Promise<void> {
  const device_keys = Object.fromEntries(users.map(({ userId }) => [userId, []]));
  const answer = await call(connection, 'POST', `${V3}/keys/query`, { token, body: { device_keys } });
  if (Object.keys(answer.device_keys ?? {}).length !== users.length) throw new Error('keys are missing');
}

async function claimAll(
  { connection, token }: User,
  users: readonly User[],
  seen: Set<string>,
): Promise<void> {
  const one_time_keys = Object.fromEntries(
    users.map(({ userId, deviceId }) => [userId, { [deviceId]: ALGORITHM }]),
  );
  const answer = await call(connection, 'POST', `${V3}/keys/claim`, { token, body: { one_time_keys } });
  for (const [userId, devices] of Object.entries(answer.one_time_keys ?? {})) {
    const name = `${userId} ${JSON.stringify(devices)}`;
    if (seen.has(name)) throw new Error(`${name} was given out twice`);
    seen.add(name);
  }
}

async function sendAll({ connection, token }: User, users: readonly User[], at: number): Promise<void> {
  const content = { algorithm: 'm.olm.v1.curve25519-aes-sha2', ciphertext: base64(500) };
  const messages = Object.fromEntries(users.map(({ userId, deviceId }) => [userId, { [deviceId]: content }]));
  await call(connection, 'PUT', `${V3}/sendToDevice/m.room.encrypted/t${at}`, { token, body: { messages } });
}

async function backUp({ connection, token }: User): Promise<number[]> {
  const backup = {
    algorithm: 'm.megolm_backup.v1.curve25519-aes-sha2',
    auth_data: { public_key: base64(32) },
  };
  const { version } = await call(connection, 'POST', `${V3}/room_keys/version`, { token, body: backup });
  return times(SESSIONS / PORTION, async (at) => {
    const sessions = Array.from({ length: PORTION }, (_, index) => [
      `${at}S${index}`,
      {
        first_message_index: 0,
        forwarded_count: 0,
        is_verified: true,
        session_data: { ephemeral: base64(32), ciphertext: base64(700), mac: base64(8) },
      },
    ]);
    const rooms = { [`!room${at}:example.org`]: { sessions: Object.fromEntries(sessions) } };
    await call(connection, 'PUT', `${V3}/room_keys/keys?version=${version}`, { token, body: { rooms } });
  });
}

async function restoreAll({ url }: RunningServer, { connection, token }: User): Promise<void> {
  const { version, count } = await call(connection, 'GET', `${V3}/room_keys/version`, { token });
  if (count !== SESSIONS) throw new Error(`${count} of ${SESSIONS} keys are backed up`);
  // Of 10 MB in pieces the connection of the load generator would be the slower side.
  const answer = await fetch(`${url}${V3}/room_keys/keys?version=${version}`, {
    headers: { authorization: `Bearer ${token}` },
  });
  await answer.arrayBuffer();
  if (answer.status !== 200) throw new Error(`the keys were answered with ${answer.status}`);
}

function base64(bytes: number): string {
  return randomBytes(bytes).toString('base64').replaceAll('=', '');
}

function report(figures: Record<string, number | null>, size: number): void {
  console.log(
    `  upload: CPU ${figures.upload_cpu_us} us (${ONE_TIME_KEYS} one-time keys), ${figures.upload_p50_ms} ms;`,
  );
  console.log(`  query of ${size} users: CPU ${figures.query_cpu_ms} ms, ${figures.query_p50_ms} ms;`);
  console.log(`  claim: CPU ${figures.claimed_key_cpu_us} us a key, ${figures.claim_p50_ms} ms for ${size};`);
  console.log(
    `  to devices: CPU ${figures.to_device_cpu_us} us a message, ${figures.to_device_p50_ms} ms for ${size};`,
  );
  console.log(
    `  backup: CPU ${figures.backed_up_key_cpu_us} us a key in, ${figures.restored_key_cpu_us} us out (${figures.restore_ms} ms for ${SESSIONS})`,
  );
}

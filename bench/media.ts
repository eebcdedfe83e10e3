/**
 * Files of 100 KB, 5 MB and 100 MB up and down, parts of a file, and a thumbnail of a picture of 12 megapixels, while
 * somebody asks the server something else again and again. Memory is what is resident of the server and of the process
 * that makes thumbnails; what both have of the same file, Node above all, is counted once.
 */

import { randomBytes } from 'node:crypto';
import sharp from 'sharp';
import { type Account, registerAccount } from '#bench/lib/accounts.ts';
import { askOthers } from '#bench/lib/others.ts';
import { cpuMs, distinctResidentBytes } from '#bench/lib/process-tree.ts';
import { type Figures, type Scenario, temporaryFolder } from '#bench/lib/scenario.ts';
import { settle } from '#bench/lib/settle.ts';
import { median, megabytes, percentile, round } from '#bench/lib/statistics.ts';
import { startKurir } from '#bench/servers/kurir.ts';
import type { RunningServer } from '#bench/servers/server.ts';

const SIZES = [
  { name: '100_kb', bytes: 100_000, count: 100 },
  { name: '5_mb', bytes: 5_000_000, count: 10 },
  { name: '100_mb', bytes: 100_000_000, count: 2 },
] as const;
const RANGES = 50;
const RANGE_BYTES = 64 * 1_024;
const PIECE_BYTES = 64 * 1_024;
const SAMPLE_MS = 20;
const PICTURE = { width: 4_000, height: 3_000 };
const THUMBNAIL = 'width=800&height=600&method=scale';

export const media: Scenario = {
  name: 'media',
  about:
    'files up and down, parts of them, and a thumbnail of 12 megapixels, while others ask something else',
  ratios: [],
  limits: { rss_above_idle_mb: { atMost: 60 }, other_p99_ms: { atMost: 100 } },
  run,
};

interface Client {
  readonly server: RunningServer;
  readonly account: Account;
}

async function run(): Promise<Figures> {
  using folder = temporaryFolder();
  const picture = await sharp(randomBytes(PICTURE.width * PICTURE.height * 3), {
    raw: { ...PICTURE, channels: 3 },
  })
    .jpeg()
    .toBuffer();
  const server = await startKurir(folder.path, { env: { KURIR_MAX_UPLOAD_SIZE: '200M' } });
  const client = { server, account: await registerAccount(server, 'anna') };
  const other = await registerAccount(server, 'ben');
  await settle(server);
  const idle = distinctResidentBytes(server.pid) ?? Number.NaN;
  const ending = new AbortController();
  const others = askOthers(other, ending.signal);
  const cpuBefore = cpuMs(server.pid) ?? Number.NaN;
  const figures: Record<string, number | null> = {};
  const ofFiles = await peakDuring(server.pid, async () => {
    for (const size of SIZES) Object.assign(figures, await upAndDown(client, size));
    figures.range_ms = round(await ranges(client), 2);
  });
  const ofThumbnail = await peakDuring(server.pid, async () => {
    figures.thumbnail_ms = round(await thumbnail(client, picture), 0);
  });
  ending.abort();
  const latencies = await others;
  Object.assign(figures, {
    cpu_ms: round((cpuMs(server.pid) ?? Number.NaN) - cpuBefore, 0),
    idle_rss_mb: megabytes(idle),
    files_above_idle_mb: megabytes(ofFiles - idle),
    rss_above_idle_mb: megabytes(Math.max(ofFiles, ofThumbnail) - idle),
    other_p50_ms: round(percentile(latencies, 0.5), 1),
    other_p99_ms: round(percentile(latencies, 0.99), 1),
  });
  for (const [name, value] of Object.entries(figures)) console.log(`  ${name}: ${value}`);
  client.account.connection.close();
  await server.stop();
  return figures;
}

/** Each way so many times; MB a second. */
async function upAndDown(
  client: Client,
  { name, bytes, count }: (typeof SIZES)[number],
): Promise<Record<string, number | null>> {
  const paths: string[] = [];
  const up = await timed(async () => {
    for (let number = 0; number < count; number++) paths.push(await upload(client, bytes));
  });
  const down = await timed(async () => {
    for (const path of paths) {
      const got = await download(client, path);
      if (got !== bytes) throw new Error(`of ${bytes} bytes ${got} came`);
    }
  });
  const perSecond = (ms: number) => round((bytes * count) / 1e3 / ms, 1);
  return { [`up_${name}_mb_per_s`]: perSecond(up), [`down_${name}_mb_per_s`]: perSecond(down) };
}

/** Parts of a large file; the median of what each takes, in ms. */
async function ranges(client: Client): Promise<number | undefined> {
  const { bytes } = SIZES[1];
  const path = await upload(client, bytes);
  const times: number[] = [];
  for (let number = 0; number < RANGES; number++) {
    const first = Math.floor((number / RANGES) * (bytes - RANGE_BYTES));
    const range = `bytes=${first}-${first + RANGE_BYTES - 1}`;
    times.push(
      await timed(async () => {
        const got = await download(client, path, { range });
        if (got !== RANGE_BYTES) throw new Error(`of ${range} ${got} bytes came`);
      }),
    );
  }
  return median(times);
}

/** From the request for a thumbnail that nobody has asked for to its last byte, in ms. */
async function thumbnail(client: Client, picture: Buffer): Promise<number> {
  const path = await send(client, picture, 'image/jpeg');
  return timed(() => download(client, `${path.replace('/download/', '/thumbnail/')}?${THUMBNAIL}`));
}

function upload(client: Client, bytes: number): Promise<string> {
  return send(client, pieces(bytes), 'application/octet-stream', bytes);
}

/** The path of the download. */
async function send(
  { server, account }: Client,
  body: Buffer | AsyncIterable<Uint8Array>,
  type: string,
  length?: number,
): Promise<string> {
  const answer = await fetch(`${server.url}/_matrix/media/v3/upload`, {
    method: 'POST',
    headers: {
      authorization: `Bearer ${account.token}`,
      'content-type': type,
      ...(length !== undefined && { 'content-length': `${length}` }),
    },
    body,
    duplex: 'half',
  } as RequestInit);
  const text = await answer.text();
  if (answer.status !== 200) throw new Error(`an upload was answered ${answer.status}: ${text}`);
  const { content_uri: uri } = JSON.parse(text) as { content_uri: string };
  return `/_matrix/client/v1/media/download/${uri.slice('mxc://'.length)}`;
}

/** How many bytes came. */
async function download(
  { server, account }: Client,
  path: string,
  headers: Readonly<Record<string, string>> = {},
): Promise<number> {
  const answer = await fetch(`${server.url}${path}`, {
    headers: { authorization: `Bearer ${account.token}`, ...headers },
  });
  if (!answer.ok || answer.body === null) throw new Error(`${path} was answered ${answer.status}`);
  let bytes = 0;
  for await (const piece of answer.body) bytes += piece.length;
  return bytes;
}

/** Bytes at random, so that no two files are the same: only the first piece is a new one. */
async function* pieces(bytes: number): AsyncGenerator<Uint8Array> {
  const piece = randomBytes(PIECE_BYTES);
  for (let left = bytes; left > 0; left -= PIECE_BYTES) yield piece.subarray(0, Math.min(left, PIECE_BYTES));
}

async function timed(work: () => Promise<unknown>): Promise<number> {
  const from = performance.now();
  await work();
  return performance.now() - from;
}

/** The most memory while something is done, in bytes. */
async function peakDuring(pid: number, work: () => Promise<void>): Promise<number> {
  let peak = 0;
  const timer = setInterval(() => {
    peak = Math.max(peak, distinctResidentBytes(pid) ?? 0);
  }, SAMPLE_MS);
  await work().finally(() => clearInterval(timer));
  return peak;
}

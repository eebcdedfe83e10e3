/**
 * How the operator's command and the running server talk: a Unix socket in the data folder, which only its owner
 * can open. One line of JSON each way, then the connection ends.
 */

import { createHash } from 'node:crypto';
import { constants, lstat, mkdir, realpath } from 'node:fs/promises';
import { createConnection, type Socket } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import type { JsonObject } from '#keys/json.ts';
import { ConfigError } from '../config/config-file.ts';
import { isOutcome, type Outcome } from './operations.ts';

const MAX_LINE_BYTES = 64 * 1024;
const TIMEOUT_MS = 30_000;
/** The longest path that every operating system takes for a socket. */
const MAX_PATH_BYTES = 100;

/** Asks the server that serves `dataDir` to do something, in milliseconds; undefined where none is running. */
export async function askServer(
  dataDir: string,
  operation: JsonObject,
  withinMs = TIMEOUT_MS,
): Promise<Outcome | undefined> {
  const socket = await connect(await socketPath(dataDir));
  if (socket === undefined) return undefined;
  socket.setTimeout(withinMs, () => socket.destroy(new Error('the server does not answer')));
  socket.write(`${JSON.stringify(operation)}\n`);
  const line = await readLine(socket);
  socket.end();
  if (line === undefined) throw new Error('the server ended the connection without an answer');
  const outcome: unknown = JSON.parse(line);
  if (!isOutcome(outcome)) throw new Error(`the server answers ${line}`);
  return outcome;
}

/** The first line that arrives; undefined where none does. */
export async function readLine(socket: Socket): Promise<string | undefined> {
  let text = '';
  socket.setEncoding('utf8');
  for await (const chunk of socket.iterator({ destroyOnReturn: false })) {
    text += chunk;
    const end = text.indexOf('\n');
    if (end >= 0) return text.slice(0, end);
    if (text.length > MAX_LINE_BYTES) break;
  }
  return undefined;
}

function connect(path: string): Promise<Socket | undefined> {
  return new Promise((resolve, reject) => {
    const socket = createConnection(path);
    socket.once('connect', () => resolve(socket));
    socket.once('error', (error: NodeJS.ErrnoException) => {
      if (error.code === 'ENOENT' || error.code === 'ECONNREFUSED') resolve(undefined);
      else reject(error);
    });
  });
}

/**
 * Where the socket is: in the data folder; where that has too long a path, in a folder of the user's own for
 * temporary files. Throws `ConfigError` where that folder is not the user's own.
 */
export async function socketPath(dataDir: string): Promise<string> {
  const path = join(dataDir, 'kurir.sock');
  if (Buffer.byteLength(path) <= MAX_PATH_BYTES) return path;
  const place = createHash('sha256')
    .update(await realpath(dataDir).catch(() => dataDir))
    .digest('hex');
  const folder = join(tmpdir(), `kurir-${process.getuid?.() ?? 0}`);
  await mkdir(folder, { recursive: true, mode: 0o700 });
  // Anybody can make a folder of that name first, and would then be asked in the place of the server.
  const { uid, mode } = await lstat(folder);
  if (uid !== process.getuid?.() || (mode & constants.S_IFMT) !== constants.S_IFDIR || (mode & 0o077) !== 0) {
    throw new ConfigError(
      `${folder} is not a folder of this user's alone: remove it, or set data_dir (KURIR_DATA_DIR) to a shorter path`,
    );
  }
  return join(folder, `${place.slice(0, 16)}.sock`);
}

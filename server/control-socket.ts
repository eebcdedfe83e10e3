/**
 * How the operator's command talks to the running server: a Unix socket in the data folder, which only its owner
 * can open. One line of JSON each way, then the connection ends.
 */

import { createHash } from 'node:crypto';
import { chmod, mkdir, realpath, rm } from 'node:fs/promises';
import { createConnection, createServer, type Server, type Socket } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { parseLoose } from '#keys/canonical-json.ts';
import type { UserId } from '#keys/ids.ts';
import { isObject, type JsonObject } from '#keys/json.ts';
import { leaveRooms } from './auth/leave-rooms.ts';
import { type Outcome, perform } from './cli/operations.ts';
import type { ServerContext } from './context.ts';

const MAX_LINE_BYTES = 64 * 1024;
const TIMEOUT_MS = 30_000;
/** The longest path that every operating system takes for a socket. */
const MAX_PATH_BYTES = 100;

/** The server's end. */
export class ControlSocket {
  readonly #server: Server;
  readonly #path: string;

  /** Takes the place of a socket that a killed server left: this one holds the lock of the folder. */
  static async listen(ctx: ServerContext): Promise<ControlSocket> {
    const path = await socketPath(ctx.config.dataDir);
    await rm(path, { force: true });
    const server = createServer((socket) => {
      const work = answer(ctx, socket);
      ctx.background.run(work, 'an operation failed');
    });
    await new Promise<void>((resolve, reject) => {
      server.once('error', reject).listen(path, () => resolve());
    });
    await chmod(path, 0o600);
    return new ControlSocket(server, path);
  }

  private constructor(server: Server, path: string) {
    this.#server = server;
    this.#path = path;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await new Promise<void>((resolve) => this.#server.close(() => resolve()));
    await rm(this.#path, { force: true });
  }
}

/** Asks the server that serves `dataDir` to do something; undefined where none is running. */
export async function askServer(dataDir: string, operation: JsonObject): Promise<Outcome | undefined> {
  const socket = await connect(await socketPath(dataDir));
  if (socket === undefined) return undefined;
  socket.setTimeout(TIMEOUT_MS, () => socket.destroy(new Error('the server does not answer')));
  socket.write(`${JSON.stringify(operation)}\n`);
  const line = await readLine(socket);
  socket.end();
  return JSON.parse(line) as Outcome;
}

async function answer(ctx: ServerContext, socket: Socket): Promise<void> {
  socket.setTimeout(TIMEOUT_MS, () => socket.destroy());
  const line = await readLine(socket);
  const operation = parseLoose(line);
  const outcome: Outcome =
    operation.kind === 'ok' && isObject(operation.value)
      ? await perform({ ...ctx, leaveRooms: leaveRoomsLater(ctx) }, operation.value)
      : { kind: 'refused', problem: 'the command is not understood' };
  await new Promise<void>((resolve) => socket.end(`${JSON.stringify(outcome)}\n`, resolve));
}

function leaveRoomsLater(ctx: ServerContext): (userId: UserId) => void {
  return (userId) => {
    ctx.background.run(leaveRooms(ctx, userId), 'a deactivated user could not leave all rooms');
  };
}

async function readLine(socket: Socket): Promise<string> {
  let text = '';
  socket.setEncoding('utf8');
  for await (const chunk of socket.iterator({ destroyOnReturn: false })) {
    text += chunk;
    const end = text.indexOf('\n');
    if (end >= 0) return text.slice(0, end);
    if (text.length > MAX_LINE_BYTES) break;
  }
  throw new Error('the other end of the control socket sent no line');
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

/** In the data folder; where that has too long a path, in a folder of the user's own for temporary files. */
async function socketPath(dataDir: string): Promise<string> {
  const path = join(dataDir, 'kurir.sock');
  if (Buffer.byteLength(path) <= MAX_PATH_BYTES) return path;
  const place = createHash('sha256')
    .update(await realpath(dataDir).catch(() => dataDir))
    .digest('hex');
  const folder = join(tmpdir(), `kurir-${process.getuid?.() ?? 0}`);
  await mkdir(folder, { recursive: true, mode: 0o700 });
  return join(folder, `${place.slice(0, 16)}.sock`);
}

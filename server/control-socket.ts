import { chmod, rm } from 'node:fs/promises';
import { createServer, type Server, type Socket } from 'node:net';
import { parseLoose } from '#keys/canonical-json.ts';
import type { UserId } from '#keys/ids.ts';
import { isObject, type JsonObject } from '#keys/json.ts';
import { leaveRooms } from './auth/leave-rooms.ts';
import { performOnAppservices } from './cli/appservice-operations.ts';
import { type CircleOperationContext, performOnCircles } from './cli/circle-operations.ts';
import { readLine, socketPath } from './cli/control-line.ts';
import { performChecks } from './cli/federation-check.ts';
import { type FederationOperationContext, performOnFederation } from './cli/federation-operations.ts';
import { performOnGroups } from './cli/group-operations.ts';
import { performOnKeys } from './cli/keys-operations.ts';
import { performOnLinks } from './cli/link-operations.ts';
import { performOnMedia } from './cli/media-operations.ts';
import { performOnNotices } from './cli/notice-operations.ts';
import { type Outcome, perform } from './cli/operations.ts';
import { performOnPartners } from './cli/partner-operations.ts';
import { performOnReports } from './cli/report-operations.ts';
import { performOnRooms, type RoomOperationContext } from './cli/room-operations.ts';
import { performOnScans } from './cli/scan-operations.ts';
import { performOnSearch } from './cli/search-commands.ts';
import { performOnTokens } from './cli/token-operations.ts';
import type { ServerContext } from './context.ts';
import { shutDownRoom } from './rooms/room-shutdown.ts';

const TIMEOUT_MS = 30_000;
/** Longer than any operation takes that its caller waits for. */
const OPERATION_MS = 120_000;
const ANSWER_WITHIN_MS = 10_000;

/** The server's end of the control socket (see `cli/control-line.ts`). */
export class ControlSocket {
  readonly #server: Server;
  readonly #path: string;
  readonly #open: ReadonlySet<Socket>;

  /** Takes the place of a socket that a killed server left: this one holds the lock of the folder. */
  static async listen(ctx: ServerContext): Promise<ControlSocket> {
    const path = await socketPath(ctx.config.dataDir);
    await rm(path, { force: true });
    const open = new Set<Socket>();
    const server = createServer((socket) => {
      open.add(socket);
      socket.once('close', () => open.delete(socket));
      ctx.background.run(answer(ctx, socket), 'an operation failed');
    });
    await new Promise<void>((resolve, reject) => {
      server.once('error', reject).listen(path, () => resolve());
    });
    await chmod(path, 0o600);
    return new ControlSocket(server, path, open);
  }

  private constructor(server: Server, path: string, open: ReadonlySet<Socket>) {
    this.#server = server;
    this.#path = path;
    this.#open = open;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    const closed = new Promise<void>((resolve) => this.#server.close(() => resolve()));
    for (const socket of this.#open) socket.destroySoon();
    await closed;
    await rm(this.#path, { force: true });
  }
}

async function answer(ctx: ServerContext, socket: Socket): Promise<void> {
  socket.setTimeout(TIMEOUT_MS, () => socket.destroy());
  // Whoever has gone away needs no answer; what was asked for is done all the same.
  socket.on('error', () => socket.destroy());
  const closed = new Promise<void>((resolve) => socket.once('close', () => resolve()));
  const line = await readLine(socket);
  if (line === undefined) return;
  socket.setTimeout(OPERATION_MS);
  const operation = parseLoose(line);
  const outcome: Outcome =
    operation.kind === 'ok' && isObject(operation.value)
      ? await outcomeOf(ctx, operation.value)
      : { kind: 'refused', problem: 'the command is not understood' };
  socket.end(`${JSON.stringify(outcome)}\n`);
  await closed;
}

async function outcomeOf(ctx: ServerContext, operation: JsonObject): Promise<Outcome> {
  return (
    (await performOnRooms(roomOperations(ctx), operation)) ??
    (await performOnMedia({ ...ctx, inTime }, operation)) ??
    (await performOnScans({ ...ctx, inTime }, operation)) ??
    (await performOnNotices({ ...ctx, inTime }, operation)) ??
    (await performOnReports(ctx, operation)) ??
    (await performOnSearch(ctx, operation)) ??
    (await performOnKeys(ctx, operation)) ??
    (await performOnTokens(ctx, operation)) ??
    (await performOnAppservices(ctx, operation)) ??
    (await performOnLinks(ctx, operation)) ??
    (await performOnPartners(ctx, operation)) ??
    (await performOnCircles(circleOperations(ctx), operation)) ??
    (await performOnGroups(ctx, operation)) ??
    (await performOnFederation(federationOperations(ctx), operation)) ??
    (await performChecks({ ...ctx, live: ctx }, operation, ctx.shutdown)) ??
    (await perform({ ...ctx, leaveRooms: leaveRoomsLater(ctx) }, operation))
  );
}

function federationOperations({ db, sender }: ServerContext): FederationOperationContext {
  return { db, retry: (server) => sender.retry(server) };
}

function roomOperations(ctx: ServerContext): RoomOperationContext {
  return {
    ...ctx,
    runPurge: (roomNid) => inTime(ctx.purges.run(roomNid)),
    shutDown: (shutdown) => {
      const work = shutDownRoom(ctx, shutdown);
      ctx.background.run(
        work.then(() => undefined),
        'a room was not shut down',
      );
      return inTime(work);
    },
  };
}

function circleOperations(ctx: ServerContext): CircleOperationContext {
  const { db, rooms, serverName, clock, circles } = ctx;
  return { db, rooms, serverName, clock, keeper: { circles, ctx } };
}

/** The operator is not kept waiting for what takes long: it goes on by itself. */
function inTime<T>(work: Promise<T>): Promise<T | 'running'> {
  return new Promise((resolve, reject) => {
    const timer = setTimeout(() => resolve('running'), ANSWER_WITHIN_MS);
    work.then(resolve, reject).finally(() => clearTimeout(timer));
  });
}

function leaveRoomsLater(ctx: ServerContext): (userId: UserId) => void {
  return (userId) => {
    ctx.background.run(leaveRooms(ctx, userId), 'a deactivated user could not leave all rooms');
  };
}

/** The rooms of one server in this process, without a network, on a real database: for what HTTP would hide. */

import { createHash } from 'node:crypto';
import path from 'node:path';
import { keyPairFromSeed } from '#keys/ed25519.ts';
import type { ServerName, UserId } from '#keys/ids.ts';
import { KeyRing } from '#keys/key-ring.ts';
import type { RoomsContext } from '#rooms/context.ts';
import { createRoomCache } from '#rooms/room-cache.ts';
import { type Draft, sendEvent } from '#rooms/send.ts';
import type { Database, Reader, SqlValue, Statement, Tx } from '#storage/database.ts';
import { KeyedQueue } from '#storage/locks.ts';
import { migrate } from '#storage/migrate.ts';
import { openSqlite } from '#storage/sqlite.ts';
import { Streams } from '#storage/streams.ts';
import { keyPairOf } from '#test/harness/room-builder.ts';

export interface OpenRooms extends AsyncDisposable {
  readonly ctx: RoomsContext;
  readonly counted: Counted;
  /** The same database with nothing in memory but what SQLite and the system keep. */
  cold(): RoomsContext;
}

export interface Counted {
  statements: number;
  writes: number;
}

export const SERVER: ServerName = 'bench.example.org';
const silent = { debug() {}, info() {}, warn() {}, error() {} };

/** Opens `kurir.db` in a folder. Other servers' keys are those of the harness's room builder. */
export async function openRooms(folder: string): Promise<OpenRooms> {
  const db = await openSqlite({ path: path.join(folder, 'kurir.db') });
  await migrate(db);
  const streams = await Streams.open(db);
  const counted: Counted = { statements: 0, writes: 0 };
  const clock = { now: () => Date.now() };
  const seed = createHash('sha256').update('bench').digest();
  const signingKey = { keyPair: keyPairFromSeed('bench', seed), oldKeys: [] };
  const keyRing = new KeyRing({
    own: { serverName: SERVER, signingKey },
    clock,
    load: async (server) => {
      const { keyId, publicKey } = keyPairOf(server);
      const validUntilTs = clock.now() + 24 * 60 * 60_000;
      const keys = new Map([[keyId, { publicKey }]]);
      return { serverName: server, validUntilTs, keys, document: {}, fetchedTs: clock.now() };
    },
    fetch: async () => undefined,
    store: async () => {},
  });
  const contextOn = (): RoomsContext => ({
    ...{ serverName: SERVER, signingKey, keyRing, streams, clock, log: silent },
    db: counting(db, counted),
    roomLocks: new KeyedQueue(),
    rooms: createRoomCache(),
  });
  return {
    ctx: contextOn(),
    counted,
    cold: contextOn,
    [Symbol.asyncDispose]: async () => {
      await streams[Symbol.asyncDispose]();
      await db.close();
    },
  };
}

/** Sends an event, or throws why it was refused. */
export async function send(ctx: RoomsContext, draft: Draft): Promise<void> {
  const sent = await sendEvent(ctx, draft);
  if (sent.kind !== 'sent') throw new Error(`not sent: ${JSON.stringify(sent)}`);
}

export function userOf(number: number): UserId {
  return `@user.number${number}:${SERVER}`;
}

function counting(db: Database, counted: Counted): Database {
  return {
    dialect: db.dialect,
    ...countingReader(db, counted),
    write: (name, body) => {
      counted.writes += 1;
      return db.write(name, (tx) => body(countingTx(tx, counted)));
    },
    scan: (statement, ...params) => {
      counted.statements += 1;
      return db.scan(statement, ...params);
    },
    close: () => db.close(),
    [Symbol.asyncDispose]: () => db[Symbol.asyncDispose](),
  };
}

function countingReader(reader: Reader, counted: Counted): Reader {
  return {
    get: (statement, ...params) => {
      counted.statements += 1;
      return reader.get(statement, ...params);
    },
    all: (statement, ...params) => {
      counted.statements += 1;
      return reader.all(statement, ...params);
    },
  };
}

function countingTx(tx: Tx, counted: Counted): Tx {
  return {
    ...countingReader(tx, counted),
    run: <P extends readonly SqlValue[], R>(statement: Statement<P, R>, ...params: P) => {
      counted.statements += 1;
      return tx.run(statement, ...params);
    },
    afterCommit: (hook) => tx.afterCommit(hook),
    afterRollback: (hook) => tx.afterRollback(hook),
  };
}

/** One request and its answer on a connection of their own. */

import type { Socket } from 'node:net';
import { ScannerFailed } from './engine.ts';

export interface Exchange<T> {
  /** Opens the connection. */
  readonly open: () => Socket;
  readonly send: AsyncIterable<Buffer>;
  /** Takes what comes; answers the whole answer once it is here. What it throws ends the exchange. */
  readonly take: (piece: Buffer) => T | undefined;
  /** The answer where the other side has ended without saying more. */
  readonly atEnd?: () => T | undefined;
  readonly signal: AbortSignal;
}

/**
 * The answer. It may come before all is sent: then no more is. The connection is gone afterwards, whatever happens.
 *
 * @throws ScannerFailed, and what `send` throws
 */
export async function exchange<T>({ open, send, take, atEnd, signal }: Exchange<T>): Promise<T> {
  if (signal.aborted) throw new ScannerFailed('given up');
  const socket = open();
  const answer = Promise.withResolvers<T>();
  const fail = (reason: string, cause?: unknown): void => answer.reject(new ScannerFailed(reason, { cause }));
  const attempt = (find: () => T | undefined): void => {
    try {
      const found = find();
      if (found !== undefined) answer.resolve(found);
    } catch (error) {
      answer.reject(error);
    }
  };
  const giveUp = (): void => fail('it does not answer in time');
  signal.addEventListener('abort', giveUp, { once: true });
  // Read at once, however the writing goes: who refuses in the middle says why before closing.
  socket.on('data', (piece: Buffer) => attempt(() => take(piece)));
  socket.on('error', (error) => fail(error.message, error));
  socket.on('close', () => {
    attempt(() => atEnd?.());
    fail('it closes the connection without an answer');
  });
  const sending = write(socket, send);
  // What the file fails with; a connection that fails says so by itself.
  sending.catch((error: unknown) => answer.reject(error));
  try {
    return await answer.promise;
  } finally {
    signal.removeEventListener('abort', giveUp);
    socket.destroy();
  }
}

/** Piece by piece, as fast as the other side takes them; ends where the connection does. */
async function write(socket: Socket, pieces: AsyncIterable<Buffer>): Promise<void> {
  for await (const piece of pieces) {
    if (socket.destroyed) return;
    if (!socket.write(piece)) await drained(socket);
  }
}

function drained(socket: Socket): Promise<void> {
  return new Promise((resolve) => {
    if (socket.destroyed) return resolve();
    const done = (): void => {
      socket.off('drain', done).off('close', done);
      resolve();
    };
    socket.on('drain', done).on('close', done);
  });
}

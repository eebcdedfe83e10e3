import type { IncomingMessage } from 'node:http';
import { notJson, tooLarge, unknown } from '#federation/errors.ts';

const FIRST_BYTES = 4 * 1_024;
/**
 * Of a body that is too large, so much more is read and thrown away before it is refused: who is still sending when
 * the connection is closed does not get to read the answer.
 */
export const MOST_DISCARDED = 8 * 1_024 * 1_024;
const TIMEOUT_MS = 60_000;

/**
 * The body of a request, of at most `maxBytes`. It takes no more memory than twice its bytes, in however small pieces
 * it comes: an object for each piece of one byte would be hundreds of times as much. Rejects with a `MatrixError` for
 * one that is too large, too slow, or cut off.
 */
export function readBody(request: IncomingMessage, maxBytes: number): Promise<Buffer> {
  const announced = Number(request.headers['content-length'] ?? 0);
  if (announced > maxBytes + MOST_DISCARDED) return Promise.reject(tooLarge());
  return new Promise((resolve, reject) => {
    let bytes: Buffer = Buffer.allocUnsafe(Math.min(Math.max(announced, FIRST_BYTES), 16 * FIRST_BYTES));
    let length = 0;
    const end = (error?: Error): void => {
      clearTimeout(timer);
      request.off('data', take).off('end', finish).off('error', cutOff).off('close', cutOff);
      if (error === undefined) resolve(bytes.subarray(0, length));
      else reject(error);
    };
    const take = (piece: Buffer): void => {
      if (length + piece.length <= maxBytes) {
        bytes = withRoomFor(bytes, length, piece.length);
        piece.copy(bytes, length);
      }
      length += piece.length;
      if (length > maxBytes + MOST_DISCARDED) end(tooLarge());
    };
    const finish = (): void => end(length > maxBytes ? tooLarge() : undefined);
    const cutOff = (): void => end(notJson('The request ends early'));
    const timer = setTimeout(() => end(unknown(408, 'The request took too long')), TIMEOUT_MS).unref();
    request.on('data', take).once('end', finish).once('error', cutOff).once('close', cutOff);
  });
}

/**
 * The same, where all of it has come and nobody has begun to read it, as with most small ones as soon as whoever got
 * their head is done with it: then nothing has to be waited for.
 */
export function bodyNow(request: IncomingMessage, maxBytes: number): Buffer | undefined {
  const announced = Number(request.headers['content-length'] ?? 0);
  if (announced === 0 || announced > maxBytes || request.readableLength !== announced) return undefined;
  const bytes: Buffer | null = request.read();
  // So that it ends, when Node has seen that nothing follows.
  request.resume();
  return bytes ?? undefined;
}

/** The same bytes, in a buffer of at least twice the size where it is full. */
function withRoomFor(bytes: Buffer, length: number, more: number): Buffer {
  if (length + more <= bytes.length) return bytes;
  const larger = Buffer.allocUnsafe(Math.max(2 * bytes.length, length + more));
  bytes.copy(larger, 0, 0, length);
  return larger;
}

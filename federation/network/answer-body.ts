/** The body of an answer while it arrives: no more of it than is allowed, and no faster than it is taken. */

import type { Readable } from 'node:stream';

/** Takes a body. Where the body fails it should let that error pass. */
export type Consume<T> = (body: AsyncIterable<Buffer>) => Promise<T>;

/** What `consume` threw by itself, as the cause: neither the network's doing nor the peer's. */
export class ConsumerFailed extends Error {
  override readonly name = 'ConsumerFailed';
}

class TooLong extends Error {
  override readonly name = 'TooLong';
}

/**
 * Hands a body on; undefined where it is longer than `maxBytes`. Closes the connection where the body is not read to
 * its end. Rejects with the body's own error, or with `ConsumerFailed`.
 */
export async function consumeUpTo<T>(
  body: AsyncIterable<unknown> & Pick<Readable, 'once' | 'destroy'>,
  maxBytes: number,
  consume: Consume<T>,
): Promise<{ readonly value: T } | undefined> {
  let failure: unknown;
  let isWhole = false;
  async function* limited(): AsyncGenerator<Buffer> {
    let length = 0;
    try {
      for await (const chunk of body) {
        if (!Buffer.isBuffer(chunk)) continue;
        length += chunk.length;
        if (length > maxBytes) throw new TooLong();
        yield chunk;
      }
      isWhole = true;
    } catch (error) {
      failure = error;
      throw error;
    }
  }
  try {
    return { value: await consume(limited()) };
  } catch (error) {
    if (error !== failure) throw new ConsumerFailed('an answer could not be taken', { cause: error });
    if (error instanceof TooLong) return undefined;
    throw error;
  } finally {
    if (!isWhole) {
      // Where `consume` has read nothing of it, nobody else hears of the end that this is.
      body.once('error', () => undefined);
      body.destroy();
    }
  }
}

/** The whole body. */
export async function collect(body: AsyncIterable<Buffer>): Promise<Buffer> {
  return Buffer.concat(await Array.fromAsync(body));
}

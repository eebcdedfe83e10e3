/** ClamAV's daemon: https://docs.clamav.net/manual/Usage/Scanning.html#clamd */

import { connect, type NetConnectOpts } from 'node:net';
import { cleanName, type EngineAnswer, type ScanEngine, type ScannedBytes, ScannerFailed } from './engine.ts';
import { type Exchange, exchange } from './exchange.ts';

const MOST_ANSWER_BYTES = 4_096;
const LENGTH_BYTES = 4;
const NUL = 0;
const FOUND = /^stream: (.+) FOUND$/;
const TOO_LARGE = /size limit exceeded/i;

export class Clamd implements ScanEngine {
  readonly #where: NetConnectOpts;

  constructor(where: { readonly path: string } | { readonly host: string; readonly port: number }) {
    this.#where = where;
  }

  /** `ClamAV 1.4.3/27800/Fri Oct 31 ...`: the program, its database, and when that was made. */
  async version(signal: AbortSignal): Promise<string> {
    const answer = await this.#ask(one('zVERSION\0'), signal);
    if (!/^ClamAV /.test(answer)) throw new ScannerFailed(`it answers "${cleanName(answer)}"`);
    return cleanName(answer);
  }

  async scan(bytes: ScannedBytes, signal: AbortSignal): Promise<EngineAnswer> {
    const answer = await this.#ask(inStream(bytes.pieces), signal);
    if (answer === 'stream: OK') return { kind: 'clean' };
    const found = FOUND.exec(answer)?.[1];
    if (found !== undefined) return { kind: 'infected', signature: cleanName(found) };
    if (TOO_LARGE.test(answer)) return { kind: 'too_large' };
    throw new ScannerFailed(`it answers "${cleanName(answer)}"`);
  }

  #ask(send: AsyncIterable<Buffer>, signal: AbortSignal): Promise<string> {
    return exchange({
      open: () => connect({ ...this.#where, noDelay: true }),
      send,
      signal,
      ...lineReader(),
    });
  }
}

/** "The format of the chunk is: `<length><data>`", the length in network byte order; a length of 0 ends them. */
async function* inStream(pieces: AsyncIterable<Buffer>): AsyncGenerator<Buffer> {
  yield Buffer.from('zINSTREAM\0');
  for await (const piece of pieces) {
    if (piece.length === 0) continue;
    yield lengthOf(piece.length);
    yield piece;
  }
  yield lengthOf(0);
}

function lengthOf(bytes: number): Buffer {
  const length = Buffer.alloc(LENGTH_BYTES);
  length.writeUInt32BE(bytes);
  return length;
}

async function* one(text: string): AsyncGenerator<Buffer> {
  yield Buffer.from(text);
}

/** "Clamd replies will honour the requested terminator": up to a zero byte. */
function lineReader(): Pick<Exchange<string>, 'take'> {
  const pieces: Buffer[] = [];
  let length = 0;
  return {
    take: (piece) => {
      const end = piece.indexOf(NUL);
      const part = end === -1 ? piece : piece.subarray(0, end);
      length += part.length;
      if (length > MOST_ANSWER_BYTES) throw new ScannerFailed('its answer is too long');
      pieces.push(part);
      return end === -1 ? undefined : Buffer.concat(pieces).toString('latin1').trim();
    },
  };
}

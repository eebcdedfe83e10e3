/** Files in a bucket that is reached by the S3 protocol, under the same names as on the disk. */

import { createReadStream } from 'node:fs';
import { Readable } from 'node:stream';
import { sha256 } from '#keys/hash.ts';
import {
  type BlobPlace,
  type ByteRange,
  blobKey,
  isBlobName,
  type LocalFile,
  PlaceUnavailable,
} from '#storage/blob-place.ts';
import { collect, consumeUpTo } from '../network/answer-body.ts';
import { S3Client, type S3Options, type S3Request } from './s3-client.ts';

export interface BucketOptions extends S3Options {
  /** What the names of all files begin with, such as `media/`; may be empty. */
  readonly prefix: string;
  /** Of this server. */
  readonly serverName: string;
}

/** Says whose files they are: another server would take them for its own leavings, and remove them. */
const OWNER = 'kurir-server-name';
const NAMES_AT_ONCE = 1_000;
const MOST_LIST_BYTES = 4 * 1024 * 1024;
const MOST_OWNER_BYTES = 1_024;
const KEY = /<Key>([^<]{1,2000})<\/Key>/g;

export class BucketPlace implements BlobPlace, AsyncDisposable {
  readonly #client: S3Client;
  readonly #prefix: string;
  readonly #serverName: string;
  #isOwned = false;

  constructor(options: BucketOptions) {
    this.#client = new S3Client(options);
    this.#prefix = options.prefix;
    this.#serverName = options.serverName;
  }

  /** Where this resolves the bucket is there, and this server's. @throws PlaceUnavailable */
  async check(): Promise<void> {
    const key = `${this.#prefix}${OWNER}`;
    const known = await this.#client.ask({ method: 'GET', key });
    const owner = known.kind === 'found' ? await textOf(known.body, MOST_OWNER_BYTES) : undefined;
    if (owner === undefined) await this.#claim(key);
    else if (owner !== this.#serverName) {
      throw new PlaceUnavailable(
        `the bucket has the files of ${owner}: give each server a prefix of its own`,
      );
    }
    this.#isOwned = true;
  }

  async put({ sha256, size, path }: LocalFile): Promise<void> {
    await this.#beOwner();
    const body = { sha256, size, open: () => createReadStream(path) };
    await this.#put(this.#keyOf(sha256), body);
  }

  async read(sha256: string, range?: ByteRange): Promise<Readable | undefined> {
    const headers = range === undefined ? {} : { range: `bytes=${range.start}-${range.end}` };
    const answer = await this.#client.ask({ method: 'GET', key: this.#keyOf(sha256), headers });
    if (answer.kind === 'missing') return undefined;
    if (answer.kind !== 'found') throw new PlaceUnavailable('a file in the bucket is too short');
    // Where a part was asked for, the whole is something else.
    if (range === undefined || answer.headers['content-range'] !== undefined) return answer.body;
    answer.body.destroy();
    throw new PlaceUnavailable('the bucket does not give parts of files');
  }

  async sizeOf(sha256: string): Promise<number | undefined> {
    const headers = await this.#client.tell({ method: 'HEAD', key: this.#keyOf(sha256) });
    return headers && Number(headers['content-length']);
  }

  async remove(sha256: string): Promise<void> {
    await this.#beOwner();
    await this.#client.tell({ method: 'DELETE', key: this.#keyOf(sha256) });
  }

  async *names(): AsyncGenerator<readonly string[]> {
    // Anew: of two that have begun with an empty bucket at the same time one must not remove what the other has.
    await this.check();
    for (let after = ''; ; ) {
      // Page by page: each says where the next one begins.
      const keys = await this.#keysAfter(after);
      const names = keys.map((key) => key.slice(this.#prefix.length));
      yield names
        .map((name) => name.slice(name.lastIndexOf('/') + 1))
        .filter((name, index) => isBlobName(name) && names[index] === blobKey(name));
      const last = keys.at(-1);
      if (last === undefined || last <= after) return;
      after = last;
    }
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.#client[Symbol.asyncDispose]();
  }

  async #keysAfter(after: string): Promise<string[]> {
    const query = {
      'list-type': '2',
      'max-keys': String(NAMES_AT_ONCE),
      prefix: this.#prefix,
      ...(after !== '' && { 'start-after': after }),
    };
    const answer = await this.#client.ask({ method: 'GET', key: '', query });
    if (answer.kind !== 'found') throw new PlaceUnavailable('the bucket does not list its files');
    const text = await textOf(answer.body, MOST_LIST_BYTES);
    return [...text.matchAll(KEY)].flatMap(([, key]) => (key === undefined ? [] : [key]));
  }

  /** Nothing is written or removed before it is known whose files are there. */
  async #beOwner(): Promise<void> {
    if (!this.#isOwned) await this.check();
  }

  async #claim(key: string): Promise<void> {
    const bytes = Buffer.from(this.#serverName);
    const body = {
      sha256: sha256(bytes).toString('hex'),
      size: bytes.length,
      open: () => Readable.from([bytes]),
    };
    await this.#put(key, body);
  }

  async #put(key: string, body: NonNullable<S3Request['body']>): Promise<void> {
    const isKept = await this.#client.tell({ method: 'PUT', key, body });
    if (isKept === undefined) throw new PlaceUnavailable('the bucket takes no files');
  }

  #keyOf(name: string): string {
    return `${this.#prefix}${blobKey(name)}`;
  }
}

async function textOf(body: Readable, maxBytes: number): Promise<string> {
  try {
    const read = await consumeUpTo(body, maxBytes, collect);
    if (read !== undefined) return read.value.toString();
  } catch (cause) {
    throw new PlaceUnavailable('the answer of the bucket breaks off', { cause });
  }
  throw new PlaceUnavailable('the bucket answers too much');
}

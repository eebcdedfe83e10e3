/** A store that speaks the S3 protocol, as the test wishes: it keeps objects in memory, and can be away or broken. */

import { createHash, createHmac } from 'node:crypto';
import { once } from 'node:events';
import { createServer, type IncomingMessage, type Server, type ServerResponse } from 'node:http';
import type { Config } from '#server/config-options.ts';
import { freePort } from './free-port.ts';

export const S3_KEY = 'AKIDEXAMPLE';
export const S3_SECRET = 'wJalrXUtnFEMI/K7MDENG+bPxRfiCYEXAMPLEKEY';

/** What is asked, before it is answered; true where the test has answered by itself. */
export type S3Fault = (request: IncomingMessage, response: ServerResponse) => boolean;

type MediaBucket = NonNullable<Config['mediaBucket']>;

export class S3Server {
  readonly objects = new Map<string, Buffer>();
  /** Method and key of all that was asked. */
  readonly asked: string[] = [];
  fault: S3Fault = () => false;
  /** How many keys a list has at most. */
  pageSize = 1_000;
  readonly #server: Server;
  readonly #port: number;

  static async start(): Promise<S3Server> {
    const store = new S3Server(await freePort());
    await store.listen();
    return store;
  }

  private constructor(port: number) {
    this.#port = port;
    this.#server = createServer((request, response) => {
      this.#answer(request, response).catch(() => response.destroy());
    });
  }

  /** Begins to listen (again), at the same port. */
  async listen(): Promise<void> {
    this.#server.listen(this.#port, '127.0.0.1');
    await once(this.#server, 'listening');
  }

  /** Nobody reaches it any more. */
  async stop(): Promise<void> {
    if (!this.#server.listening) return;
    this.#server.closeAllConnections();
    this.#server.close();
    await once(this.#server, 'close');
  }

  option(more: Partial<MediaBucket> = {}): MediaBucket {
    return {
      url: `http://127.0.0.1:${this.#port}/bucket`,
      region: 'us-east-1',
      accessKeyId: S3_KEY,
      secretAccessKey: { value: S3_SECRET },
      prefix: '',
      ca: undefined,
      newFiles: 'bucket',
      ...more,
    };
  }

  /** The names of the files that are there. */
  get files(): string[] {
    return [...this.objects.keys()].map((key) => key.slice(key.lastIndexOf('/') + 1)).filter(isName);
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.stop();
  }

  async #answer(request: IncomingMessage, response: ServerResponse): Promise<void> {
    const { method = '', url = '' } = request;
    const { pathname, searchParams } = new URL(url, 'http://x');
    const [, bucket, key = ''] = /^\/([^/]*)\/?(.*)$/.exec(pathname) ?? [];
    this.asked.push(`${method} ${key}`);
    if (this.fault(request, response)) return;
    const body = Buffer.concat(await Array.fromAsync(request));
    if (bucket !== 'bucket') return refuse(response, 404, 'NoSuchBucket');
    if (!isSigned(request, url)) return refuse(response, 403, 'SignatureDoesNotMatch');
    const hash = createHash('sha256').update(body).digest('hex');
    if (request.headers['x-amz-content-sha256'] !== hash) {
      return refuse(response, 400, 'XAmzContentSHA256Mismatch');
    }
    if (method === 'PUT') this.objects.set(key, body);
    if (method === 'DELETE') this.objects.delete(key);
    if (method === 'PUT' || method === 'DELETE')
      return void response.writeHead(method === 'PUT' ? 200 : 204).end();
    if (key === '') return void response.end(this.#list(searchParams));
    const found = this.objects.get(key);
    if (found === undefined) return refuse(response, 404, 'NoSuchKey');
    give(request, response, found);
  }

  #list(query: URLSearchParams): string {
    const [prefix, after] = [query.get('prefix') ?? '', query.get('start-after') ?? ''];
    const keys = [...this.objects.keys()].filter((key) => key.startsWith(prefix) && key > after).sort();
    const some = keys.slice(0, Math.min(this.pageSize, Number(query.get('max-keys'))));
    const contents = some.map((key) => `<Contents><Key>${key}</Key></Contents>`);
    return `<?xml version="1.0"?><ListBucketResult><Prefix>${prefix}</Prefix>${contents.join('')}</ListBucketResult>`;
  }
}

function give(request: IncomingMessage, response: ServerResponse, found: Buffer): void {
  const [, first, last] = /^bytes=(\d+)-(\d+)$/.exec(request.headers.range ?? '') ?? [];
  if (first === undefined) {
    response.writeHead(200, { 'content-length': found.length });
    response.end(request.method === 'HEAD' ? undefined : found);
    return;
  }
  if (Number(first) >= found.length) {
    refuse(response, 416, 'InvalidRange');
    return;
  }
  const part = found.subarray(Number(first), Number(last) + 1);
  const range = `bytes ${first}-${Number(first) + part.length - 1}/${found.length}`;
  response.writeHead(206, { 'content-length': part.length, 'content-range': range }).end(part);
}

function refuse(response: ServerResponse, status: number, code: string): void {
  response.writeHead(status).end(`<?xml version="1.0"?><Error><Code>${code}</Code></Error>`);
}

/** https://docs.aws.amazon.com/AmazonS3/latest/API/sig-v4-header-based-auth.html */
function isSigned({ method = '', headers }: IncomingMessage, url: string): boolean {
  const { authorization = '' } = headers;
  const [, scope = '', names = '', signature] =
    /Credential=AKIDEXAMPLE\/([^,]+), SignedHeaders=([^,]+), Signature=([0-9a-f]{64})$/.exec(authorization) ??
    [];
  const [path = '', query = ''] = url.split('?');
  const canonical = [
    ...[method, path, query.split('&').sort().join('&')],
    ...names.split(';').map((name) => `${name}:${headers[name]}`),
    ...['', names, headers['x-amz-content-sha256']],
  ].join('\n');
  const digest = createHash('sha256').update(canonical).digest('hex');
  const text = ['AWS4-HMAC-SHA256', headers['x-amz-date'], scope, digest].join('\n');
  const hmac = (key: Buffer | string, data: string) => createHmac('sha256', key).update(data).digest();
  const key = scope.split('/').reduce<Buffer | string>(hmac, `AWS4${S3_SECRET}`);
  return hmac(key, text).toString('hex') === signature;
}

function isName(name: string): boolean {
  return /^[0-9a-f]{64}$/.test(name);
}

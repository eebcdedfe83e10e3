/** Scanners for malware on loopback, by the protocols of ClamAV and of ICAP, which the test makes fail. */

import { once } from 'node:events';
import { connect, createServer, type Server, type Socket } from 'node:net';
import { createServer as createTlsServer, type SecureVersion } from 'node:tls';
import type { Config } from '#server/config-options.ts';
import type { TestCertificate } from './certificates.ts';

/** A file with this text in it is malware to these scanners. */
export const MALWARE = 'this-is-malware-to-the-scanners-of-the-tests';
/** What they call it. */
export const SIGNATURE = 'Kurir.Test.Malware';

/** How a scanner answers to files. What is about its signatures it answers in any case, but for `silent` and `gone`. */
export type Behaviour =
  | 'right'
  /** Nothing ever comes, to whatever is asked. */
  | 'silent'
  /** It closes at once, whatever is asked. */
  | 'gone'
  /** Files get no answer. */
  | 'hangs'
  | 'garbage'
  /** More than an answer can be. */
  | 'endless'
  /** It closes in the middle of the file. */
  | 'cut'
  | 'too_large';

export interface TestScanner extends AsyncDisposable {
  readonly port: number;
  /** The files that came whole. */
  readonly files: readonly Buffer[];
  /** How many files are being looked at, at most. */
  readonly mostAtOnce: number;
  behaviour: Behaviour;
  /** Names its signatures. */
  version: string;
  /** Besides `MALWARE`. */
  alsoMalware: string;
}

interface State {
  behaviour: Behaviour;
  version: string;
  alsoMalware: string;
  mostAtOnce: number;
  atOnce: number;
  readonly files: Buffer[];
}

/** The options of a server that has its files scanned. */
export function clamdOptions({ port }: TestScanner): Partial<Config> {
  return { scanner: { protocol: 'clamd', host: '127.0.0.1', port } };
}

/** ClamAV's daemon, as far as it is used. */
export function startClamd(): Promise<TestScanner> {
  return startScanner(async (socket, state) => {
    const take = reader(socket);
    const command = (await take((bytes) => upTo(bytes, '\0'))).toString();
    if (command === 'zVERSION\0') {
      socket.end(`${state.version}\0`);
      return;
    }
    const pieces: Buffer[] = [];
    for (;;) {
      const length = (await take((bytes) => (bytes.length < 4 ? 0 : 4))).readUInt32BE();
      if (length === 0) break;
      pieces.push(await take((bytes) => (bytes.length < length ? 0 : length)));
      if (state.behaviour === 'cut') return void socket.destroy();
      if (state.behaviour === 'too_large') return void socket.end('INSTREAM size limit exceeded. ERROR\0');
    }
    const file = Buffer.concat(pieces);
    state.files.push(file);
    if (state.behaviour === 'hangs') return;
    if (state.behaviour === 'garbage') return void socket.end('\u0001\u0002 what?\0');
    if (state.behaviour === 'endless') return void socket.write('x'.repeat(100_000));
    socket.end(isMalware(file, state) ? `stream: ${SIGNATURE} FOUND\0` : 'stream: OK\0');
  });
}

export interface IcapOptions {
  readonly methods?: string;
  /** How many bytes it wants to see first. */
  readonly preview?: number;
  /** Sends clean files back in place of a 204. */
  readonly echoes?: boolean;
  /** How it tells of malware: by a header, or by another page only. */
  readonly tells?: 'header' | 'page';
}

/** A service by ICAP. `version` is its ISTag. */
export function startIcap({
  methods = 'RESPMOD',
  preview,
  echoes = false,
  tells = 'header',
}: IcapOptions = {}): Promise<TestScanner> {
  return startScanner(async (socket, state) => {
    const take = reader(socket);
    const head = (await take((bytes) => upTo(bytes, '\r\n\r\n'))).toString();
    if (head.startsWith('OPTIONS ')) {
      const wanted = preview === undefined ? '' : `Preview: ${preview}\r\n`;
      socket.end(
        `ICAP/1.0 200 OK\r\nMethods: ${methods}\r\nISTag: "${state.version}"\r\nAllow: 204\r\n${wanted}` +
          'Encapsulated: null-body=0\r\n\r\n',
      );
      return;
    }
    const headerBytes = Number(/^Encapsulated:.*-body=(\d+)/m.exec(head)?.[1]);
    await take((bytes) => (bytes.length < headerBytes ? 0 : headerBytes));
    const pieces: Buffer[] = [];
    let isPreview = /^Preview: /m.test(head);
    for (;;) {
      const line = (await take((bytes) => upTo(bytes, '\r\n'))).toString();
      const size = Number.parseInt(line, 16);
      if (size > 0)
        pieces.push((await take((bytes) => (bytes.length < size + 2 ? 0 : size + 2))).subarray(0, size));
      if (size > 0 && state.behaviour === 'cut') return void socket.destroy();
      if (size > 0) continue;
      await take((bytes) => upTo(bytes, '\r\n'));
      if (!isPreview || line.includes('ieof')) break;
      isPreview = false;
      socket.write('ICAP/1.0 100 Continue\r\n\r\n');
    }
    const file = Buffer.concat(pieces);
    state.files.push(file);
    if (state.behaviour === 'hangs') return;
    if (state.behaviour === 'garbage') return void socket.end('HTTP/1.1 200 OK\r\n\r\n');
    if (state.behaviour === 'endless')
      return void socket.write(`ICAP/1.0 200 OK\r\nX: ${'x'.repeat(200_000)}`);
    if (!isMalware(file, state)) {
      socket.end(echoes ? answerWith(file, 'HTTP/1.1 200 OK\r\n\r\n') : 'ICAP/1.0 204 No Content\r\n\r\n');
      return;
    }
    const header =
      tells === 'header' ? `X-Infection-Found: Type=0; Resolution=2; Threat=${SIGNATURE};\r\n` : '';
    socket.end(answerWith(Buffer.from('<p>Blocked'), 'HTTP/1.1 403 Forbidden\r\n\r\n', header));
  });
}

function answerWith(body: Buffer, http: string, header = ''): Buffer {
  const chunks: Buffer[] = [];
  for (let at = 0; at < body.length; at += 50_000) {
    const part = body.subarray(at, at + 50_000);
    chunks.push(Buffer.from(`${part.length.toString(16)}\r\n`), part, Buffer.from('\r\n'));
  }
  const head = `ICAP/1.0 200 OK\r\n${header}Encapsulated: res-hdr=0, res-body=${http.length}\r\n\r\n${http}`;
  return Buffer.concat([Buffer.from(head), ...chunks, Buffer.from('0\r\n\r\n')]);
}

export interface TlsFront extends AsyncDisposable {
  readonly port: number;
  /** What came through to it in the clear. */
  readonly bytes: number;
}

/** TLS in front of a scanner, as `stunnel` makes it. */
export async function startTlsFront(
  behind: { readonly port: number },
  certificate: TestCertificate,
  options: { readonly minVersion?: SecureVersion; readonly maxVersion?: SecureVersion } = {},
): Promise<TlsFront> {
  const open = new Set<Socket>();
  const state = { bytes: 0 };
  const server = createTlsServer({ ...certificate, ...options }, (socket) => {
    const inner = connect(behind.port, '127.0.0.1');
    for (const end of [socket, inner]) end.on('error', () => socket.destroy());
    socket.on('data', (piece) => {
      state.bytes += piece.length;
    });
    socket.pipe(inner).pipe(socket);
    socket.once('close', () => inner.destroy());
  });
  server.on('connection', (socket: Socket) => {
    open.add(socket);
    socket.once('close', () => open.delete(socket));
  });
  return Object.assign(state, await listening(server, open));
}

async function startScanner(serve: (socket: Socket, state: State) => Promise<void>): Promise<TestScanner> {
  const state: State = {
    behaviour: 'right',
    version: 'ClamAV 1.0.0/1/Thu Jan  1 00:00:00 2026',
    alsoMalware: MALWARE,
    mostAtOnce: 0,
    atOnce: 0,
    files: [],
  };
  const open = new Set<Socket>();
  const server: Server = createServer({ noDelay: true }, (socket) => {
    open.add(socket);
    socket.once('close', () => open.delete(socket)).on('error', () => undefined);
    if (state.behaviour === 'gone') socket.destroy();
    if (state.behaviour === 'gone' || state.behaviour === 'silent') return;
    state.atOnce += 1;
    socket.once('close', () => {
      state.atOnce -= 1;
    });
    state.mostAtOnce = Math.max(state.mostAtOnce, state.atOnce);
    // The other side may go at any point.
    serve(socket, state).catch(() => socket.destroy());
  });
  return Object.assign(state, await listening(server, open));
}

function isMalware(file: Buffer, { alsoMalware }: State): boolean {
  return file.includes(MALWARE) || file.includes(alsoMalware);
}

/** How many bytes end with `mark`; 0 where it is not there yet. */
function upTo(bytes: Buffer, mark: string): number {
  const at = bytes.indexOf(mark);
  return at === -1 ? 0 : at + mark.length;
}

/** Takes so many bytes as `count` says once it says something. */
function reader(socket: Socket): (count: (bytes: Buffer) => number) => Promise<Buffer> {
  const pieces = socket.iterator({ destroyOnReturn: false });
  let kept: Buffer = Buffer.alloc(0);
  return async (count) => {
    for (;;) {
      const size = count(kept);
      if (size > 0) {
        const taken = kept.subarray(0, size);
        kept = kept.subarray(size);
        return taken;
      }
      const next = await pieces.next();
      if (next.done === true) throw new Error('the other side has ended');
      kept = Buffer.concat([kept, next.value]);
    }
  };
}

/** Listens on a port of its own; ends with all connections that are open then. */
async function listening(
  server: Server,
  open: ReadonlySet<Socket>,
): Promise<AsyncDisposable & { readonly port: number }> {
  server.listen(0, '127.0.0.1');
  await once(server, 'listening');
  const address = server.address();
  if (address === null || typeof address === 'string') throw new Error('no port');
  return {
    port: address.port,
    [Symbol.asyncDispose]: async () => {
      const closed = once(server, 'close');
      server.close();
      for (const socket of open) socket.destroy();
      await closed;
    },
  };
}

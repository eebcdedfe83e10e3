/** A real Sydent for tests: the identity server that the Matrix foundation wrote, behind TLS on loopback. */

import type { ChildProcess } from 'node:child_process';
import { once } from 'node:events';
import { mkdir, readFile, writeFile } from 'node:fs/promises';
import { request as httpRequest } from 'node:http';
import { createServer, type Server } from 'node:https';
import path from 'node:path';
import type { TestAuthority } from '#test/harness/certificates.ts';
import type { Answer } from '#test/harness/client.ts';
import { freePort } from '#test/harness/free-port.ts';
import { pythonWith } from '#test/harness/installed.ts';
import { startPython } from '#test/harness/python.ts';
import { askedByTest } from '#test/harness/spec/watch.ts';
import { until } from '#test/harness/until.ts';

const VERSION = '2.6.1';
/** What Sydent asks for without saying so, and the last canonicaljson that takes bytes, with which it verifies us. */
const PACKAGES = [`matrix-sydent[prometheus,sentry]==${VERSION}`, 'canonicaljson==1.4.0'];
const START_MS = 180_000;
const STOP_MS = 60_000;
const BRAND = 'kurir';
const LETTER = `From: %(from)s
To: %(to)s
Subject: a test

`;

export interface SydentOptions {
  /** An empty folder. */
  readonly folder: string;
  readonly authority: TestAuthority;
  /** Of the mail server that takes its letters. */
  readonly smtpPort: number;
}

export class Sydent {
  readonly name: string;
  readonly #port: number;
  readonly #child: ChildProcess;
  readonly #front: Server;

  static async start({ folder, authority, smtpPort }: SydentOptions): Promise<Sydent> {
    const python = await sydentPython();
    const [port, frontPort] = [await freePort(), await freePort()];
    const name = `localhost:${frontPort}`;
    await configure(folder, { name, port, smtpPort });
    const output = path.join(folder, 'output.log');
    const program = { module: 'sydent.sydent' };
    // It reads the file that the environment names.
    process.env.SYDENT_CONF = path.join(folder, 'sydent.conf');
    const child = await startPython({ python, program, args: [], cwd: folder, output });
    const front = createServer(await authority.issue(['localhost']), (incoming, response) => {
      const { method, url, headers } = incoming;
      const inner = httpRequest({ host: '127.0.0.1', port, method, path: url, headers }, (answer) => {
        response.writeHead(answer.statusCode ?? 502, answer.headers);
        answer.pipe(response);
      });
      inner.on('error', () => response.destroy());
      incoming.pipe(inner);
    });
    front.listen(frontPort, '127.0.0.1');
    await once(front, 'listening');
    const sydent = new Sydent({ name, port, child, front });
    try {
      const isUp = async () => child.exitCode !== null || (await sydent.#isUp());
      await until(isUp, 'that Sydent answers', { longestMs: START_MS });
      if (child.exitCode !== null) throw new Error('Sydent has ended');
    } catch (cause) {
      await sydent[Symbol.asyncDispose]();
      const log = await readFile(output, 'utf8');
      throw new Error(`Sydent did not start:\n${log.slice(-4_000)}`, { cause });
    }
    return sydent;
  }

  private constructor(parts: { name: string; port: number; child: ChildProcess; front: Server }) {
    this.name = parts.name;
    this.#port = parts.port;
    this.#child = parts.child;
    this.#front = parts.front;
  }

  /** As a client asks it. */
  async ask(
    method: 'GET' | 'POST',
    at: string,
    body?: object,
    token?: string,
  ): Promise<Omit<Answer, 'headers'>> {
    const url = `http://127.0.0.1:${this.#port}/_matrix/identity${at}`;
    const options = {
      method,
      headers: {
        'content-type': 'application/json',
        ...(token !== undefined && { authorization: `Bearer ${token}` }),
      },
      ...(body !== undefined && { body: JSON.stringify(body) }),
    };
    const response = await askedByTest(() => fetch(url, options));
    return { status: response.status, body: await response.json() };
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.#front.closeAllConnections();
    this.#front.close();
    if (this.#child.exitCode !== null) return;
    const ended = once(this.#child, 'exit', { signal: AbortSignal.timeout(STOP_MS) });
    this.#child.kill();
    await ended;
  }

  #isUp(): Promise<boolean> {
    return this.ask('GET', '/v2').then(
      ({ status }) => status === 200,
      () => false,
    );
  }
}

async function configure(
  folder: string,
  { name, port, smtpPort }: { name: string; port: number; smtpPort: number },
): Promise<void> {
  const templates = path.join(folder, 'templates');
  await mkdir(path.join(templates, BRAND), { recursive: true });
  const write = (file: string, text: string) => writeFile(path.join(templates, BRAND, file), text);
  await write('invite_template.eml', `${LETTER}%(sender_display_name)s invites you to %(room_name)s\n`);
  await write('verification_template.eml', `${LETTER}The token is %(token)s.\n`);
  await write('verify_response_template.html', '%(message)s\n');
  const sections = {
    general: {
      'server.name': name,
      'templates.path': templates,
      'brand.default': BRAND,
      'pidfile.path': path.join(folder, 'sydent.pid'),
      'ip.blacklist': '192.0.2.0/24',
    },
    db: { 'db.file': path.join(folder, 'sydent.db') },
    http: {
      'clientapi.http.bind_address': '127.0.0.1',
      'clientapi.http.port': String(port),
      client_http_base: `https://${name}`,
      'federation.verifycerts': 'False',
    },
    email: {
      'email.from': 'noreply@identity.test',
      'email.smtphost': '127.0.0.1',
      'email.smtpport': String(smtpPort),
      'email.hostname': 'localhost',
    },
  };
  const lines = Object.entries(sections).flatMap(([section, options]) => [
    `[${section}]`,
    ...Object.entries(options).map(([key, value]) => `${key} = ${value}`),
  ]);
  await writeFile(path.join(folder, 'sydent.conf'), `${lines.join('\n')}\n`);
}

/** The Python that has Sydent, installed at first use. */
function sydentPython(): Promise<string> {
  return pythonWith({ what: 'Sydent', version: VERSION, folder: 'sydent', packages: PACKAGES });
}

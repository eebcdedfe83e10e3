/**
 * A server that means harm: with a key, a room and a certificate of its own, that answers Kurir and asks it with any
 * bytes, at any speed. What it does well is what `RoomPeer` does; what it does badly are the methods here.
 */

import { once } from 'node:events';
import { connect as connectTcp, type Socket } from 'node:net';
import { type ConnectionOptions, connect as connectTls } from 'node:tls';
import { formatXMatrix } from '#federation/x-matrix.ts';
import { encodeCanonical } from '#keys/canonical-json.ts';
import type { JsonObject } from '#keys/json.ts';
import { type Event, eventFrom } from '#rooms/event.ts';
import { signEvent } from '#rooms/sign-event.ts';
import { rulesOf } from '#rooms/versions.ts';
import { createAuthority, type TestAuthority } from './certificates.ts';
import type { PeerAnswer } from './peer.ts';
import { keyPairOf } from './room-builder.ts';
import { RoomPeer } from './room-peer.ts';
import type { TestServer } from './server.ts';

const NAMES = ['localhost', '127.0.0.1'];

/** Certificates, and ways of TLS, that nobody is to trust. */
export const wrongTls: Readonly<
  Record<string, (authority: TestAuthority) => Promise<Parameters<RoomPeer['start']>[0]>>
> = {
  'a certificate that has expired': (authority) => authority.issue(NAMES, { expired: true }),
  'a certificate for another name': (authority) => authority.issue(['other.test']),
  'a certificate of an unknown authority': async () => (await createAuthority()).issue(NAMES),
  'a certificate that is its own authority': () => createAuthority(),
  'no TLS newer than 1.1': async (authority) => ({
    ...(await authority.issue(NAMES)),
    minVersion: 'TLSv1',
    maxVersion: 'TLSv1.1',
    ciphers: 'DEFAULT@SECLEVEL=0',
  }),
};

/** What a signature is over; of a good `GET` to the server, unless it is said otherwise. */
export interface Signed {
  readonly uri: string;
  readonly method?: string;
  readonly destination?: string;
  readonly origin?: string;
  readonly content?: JsonObject;
}

export class HostileServer extends RoomPeer {
  /** Answers everything so, but for its own key. */
  answerAll(answer: PeerAnswer): void {
    this.script = ({ url }) => (url.includes('/_matrix/key/') ? undefined : answer);
  }

  /** A template of Kurir's as an event that this server signs. */
  signed(template: JsonObject, version: string): Event {
    const rules = rulesOf(version);
    if (rules === undefined) throw new Error(`there is no room version ${version}`);
    return eventFrom(signEvent(template, rules, this.name, keyPairOf(this.name)), rules);
  }

  /** The signature of a request, to be sent with that request or with another. */
  signature(server: TestServer, signed: Signed): string {
    const { destination = server.serverName, origin = this.name, method = 'GET', uri, content } = signed;
    const object = { uri, destination, method, origin, ...(content !== undefined && { content }) };
    return keyPairOf(this.name).sign(encodeCanonical(object));
  }

  /** The `Authorization` header with a signature, whatever that is of. */
  header(server: TestServer, sig: string, destination: string = server.serverName): string {
    return formatXMatrix({ origin: this.name, destination, key: keyPairOf(this.name).keyId, sig });
  }
}

/** A connection of bytes to one of the listeners of a server. */
export class RawConnection implements Disposable {
  readonly socket: Socket;
  /** All that has come back. */
  received = '';
  /** Resolves once the connection is gone, whoever ended it. */
  readonly closed: Promise<void>;

  /** To the listener for servers, after the handshake. */
  static async federation(
    server: Pick<TestServer, 'federationUrl'>,
    options: ConnectionOptions = {},
  ): Promise<RawConnection> {
    const port = Number(new URL(server.federationUrl).port);
    const tls = { host: '127.0.0.1', port, servername: 'localhost', rejectUnauthorized: false, ...options };
    const socket = connectTls(tls);
    await once(socket, 'secureConnect');
    return new RawConnection(socket);
  }

  /** To the listener for clients; or, without a handshake, to that for servers. */
  static async tcp(url: string): Promise<RawConnection> {
    const socket = connectTcp(Number(new URL(url).port), '127.0.0.1');
    await once(socket, 'connect');
    return new RawConnection(socket);
  }

  private constructor(socket: Socket) {
    this.socket = socket;
    socket.on('data', (chunk) => {
      this.received += chunk;
    });
    socket.on('error', () => undefined);
    this.closed = new Promise((resolve) => socket.once('close', () => resolve()));
  }

  write(data: string | Buffer): void {
    if (this.socket.writable) this.socket.write(data);
  }

  /** Writes the same again and again until the connection is gone. */
  drip(data: string, everyMs: number): void {
    const timer = setInterval(() => this.write(data), everyMs);
    void this.closed.then(() => clearInterval(timer));
  }

  [Symbol.dispose](): void {
    this.socket.destroy();
  }
}

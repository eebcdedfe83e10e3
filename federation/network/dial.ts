/** The one way in which Kurir opens a connection to another server: guarded, over TLS, with a time limit. */

import { connect as connectTcp, isIP, type Socket } from 'node:net';
import {
  connect as connectTls,
  createSecureContext,
  getCACertificates,
  type PeerCertificate,
  type SecureContext,
  type TLSSocket,
} from 'node:tls';
import { Lanes } from '#keys/lanes.ts';
import { Lru } from '#storage/lru.ts';
import type { CertificateFacts } from '../fault.ts';
import { AddressDenied, type AddressGuard } from './address-guard.ts';
import { TimeLimit } from './time-limit.ts';

/** The certificate of the other side was not accepted; `code` says why (`CERT_HAS_EXPIRED`). */
export class CertificateRefused extends Error {
  override readonly name = 'CertificateRefused';
  readonly code: string;
  readonly certificate: CertificateFacts;

  constructor(error: Error, certificate: CertificateFacts) {
    super(error.message, { cause: error });
    this.code = 'code' in error && typeof error.code === 'string' ? error.code : '';
    this.certificate = certificate;
  }
}

/** An attempt that took too long, or that the other side ended; `code` says which. */
class ConnectionEnded extends Error {
  override readonly name = 'ConnectionEnded';
  readonly code: string;

  constructor(code: 'KURIR_TIMEOUT' | 'KURIR_CLOSED', message: string) {
    super(message);
    this.code = code;
  }
}

export interface Endpoint {
  /** A host name, or an IP address without brackets. */
  readonly host: string;
  readonly port: number;
}

export interface DialOptions {
  /** Where to connect to, in the order of preference. Never empty. */
  readonly endpoints: readonly Endpoint[];
  /** The name, or the IP address, that the certificate must be for. */
  readonly tlsName: string;
  /** PEM certificates of the only authorities whose word counts here; unless given, the usual ones. */
  readonly ca?: string;
  /** Ends the attempt, at any stage. */
  readonly signal?: AbortSignal;
  /** Called when an endpoint has accepted a connection, before TLS. */
  readonly onConnected?: () => void;
}

const CONNECT_TIMEOUT_MS = 10_000;
const MOST_PINNED = 100;
/** A handshake costs CPU on both sides: after a restart, hundreds of destinations are dialled at once. */
const MOST_HANDSHAKES = 64;
/** One that takes longer waits for the other side and costs nothing meanwhile: the next may begin. */
const HANDSHAKE_TURN_MS = 100;

export class Dialer {
  readonly #guard: AddressGuard;
  readonly #extraCa: string | undefined;
  #secureContext: SecureContext | undefined;
  readonly #pinned = new Lru<string, SecureContext>({ maxEntries: MOST_PINNED });
  readonly #handshakes = new Lanes(MOST_HANDSHAKES, Number.POSITIVE_INFINITY);

  /** `extraCa`: PEM certificates that are trusted as roots besides those of the platform. */
  constructor(options: { readonly guard: AddressGuard; readonly extraCa?: string | undefined }) {
    this.#guard = options.guard;
    this.#extraCa = options.extraCa;
  }

  /** An authenticated TLS connection to the first endpoint that accepts one. Rejects with the last error. */
  async dial(options: DialOptions): Promise<TLSSocket> {
    let failure: unknown = new Error('no endpoint to connect to');
    // One after the other: an SRV record's later targets are for when the earlier ones fail (RFC 2782).
    for (const endpoint of options.endpoints) {
      try {
        return await this.#dialOne(endpoint, options);
      } catch (error) {
        failure = error;
        if (options.signal?.aborted) break;
      }
    }
    throw failure;
  }

  /** A connection without TLS, for what anybody may see: a page of the web. */
  async connect(endpoint: Endpoint, signal?: AbortSignal): Promise<Socket> {
    using time = new TimeLimit(CONNECT_TIMEOUT_MS, [signal]);
    return await this.#connect(endpoint, time.signal);
  }

  async #dialOne(endpoint: Endpoint, { tlsName, ca, signal, onConnected }: DialOptions): Promise<TLSSocket> {
    using time = new TimeLimit(CONNECT_TIMEOUT_MS, [signal]);
    try {
      const tcp = await this.#connect(endpoint, time.signal);
      onConnected?.();
      return await this.#inTurn(() => this.#handshake(tcp, { tlsName, ca }, time.signal));
    } catch (error) {
      throw time.isOver ? new ConnectionEnded('KURIR_TIMEOUT', 'no connection in time') : error;
    }
  }

  /** Those who wait are bounded by the requests that dial, and each by its own limit. */
  async #inTurn(handshake: () => Promise<TLSSocket>): Promise<TLSSocket> {
    const { promise, resolve } = Promise.withResolvers<{ outcome: Promise<TLSSocket> }>();
    await this.#handshakes.run(async () => {
      const outcome = handshake();
      // In an object, as the promise would else wait for it.
      resolve({ outcome });
      await settledWithin(outcome, HANDSHAKE_TURN_MS);
    });
    return (await promise).outcome;
  }

  async #handshake(
    tcp: Socket,
    { tlsName, ca }: { readonly tlsName: string; readonly ca: string | undefined },
    limit: AbortSignal,
  ): Promise<TLSSocket> {
    const tls = connectTls({
      socket: tcp,
      secureContext: ca === undefined ? this.#trusted() : this.#trustedOnly(ca),
      host: tlsName,
      // "in which case SNI is not supported and should not be sent"
      ...(isIP(tlsName) === 0 && { servername: tlsName }),
      ALPNProtocols: ['http/1.1'],
      minVersion: 'TLSv1.2',
    });
    // Read before the refusal, which closes the connection and forgets the certificate.
    let certificate: PeerCertificate | undefined;
    tls.prependOnceListener('secure', () => {
      certificate = tls.getPeerCertificate();
    });
    try {
      await settled(tls, 'secureConnect', limit);
      return tls;
    } catch (error) {
      const facts = certificate === undefined ? undefined : certificateFactsOf(certificate);
      throw facts !== undefined && error instanceof Error ? new CertificateRefused(error, facts) : error;
    }
  }

  async #connect(endpoint: Endpoint, limit: AbortSignal): Promise<Socket> {
    const { host, port } = endpoint;
    // A lookup is not made for an IP address, so it is checked here.
    if (isIP(host) !== 0 && !this.#guard.allows(host)) throw new AddressDenied(`${host} is not allowed`);
    const socket = connectTcp({ host, port, lookup: this.#guard.lookup, noDelay: true, keepAlive: true });
    await settled(socket, 'connect', limit);
    if (this.#guard.allows(socket.remoteAddress ?? '')) return socket;
    socket.destroy();
    throw new AddressDenied(`${host} led to an address that is not allowed`);
  }

  /** Made once: reading the platform's roots takes milliseconds and megabytes. */
  #trusted(): SecureContext {
    this.#secureContext ??= createSecureContext(
      this.#extraCa === undefined ? {} : { ca: [...getCACertificates('default'), this.#extraCa] },
    );
    return this.#secureContext;
  }

  #trustedOnly(ca: string): SecureContext {
    const known = this.#pinned.get(ca);
    if (known !== undefined) return known;
    const context = createSecureContext({ ca });
    this.#pinned.set(ca, context);
    return context;
  }
}

/** What the certificate of a connection says; undefined where the other side has shown none. */
export function certificateFactsOf(certificate: PeerCertificate): CertificateFacts | undefined {
  // An empty object stands for none, whatever the type says.
  const {
    valid_from: from,
    valid_to: to,
    subjectaltname: names = '',
    issuer,
  }: Partial<PeerCertificate> = certificate;
  if (from === undefined || to === undefined) return undefined;
  const issuerName = issuer?.CN ?? issuer?.O ?? '';
  return {
    validFromTs: Date.parse(from),
    validToTs: Date.parse(to),
    names,
    issuer: Array.isArray(issuerName) ? issuerName.join(', ') : issuerName,
  };
}

/** Resolves when the promise has settled, or after `ms`. */
function settledWithin(promise: Promise<unknown>, ms: number): Promise<void> {
  return new Promise((resolve) => {
    const timer = setTimeout(resolve, ms);
    const end = (): void => {
      clearTimeout(timer);
      resolve();
    };
    promise.then(end, end);
  });
}

/** Waits for the event; destroys the socket where an error, the end or the limit comes first. */
function settled(socket: Socket, event: 'connect' | 'secureConnect', limit: AbortSignal): Promise<void> {
  return new Promise((resolve, reject) => {
    const end = (error?: unknown): void => {
      socket.off(event, succeed).off('error', end).off('close', close);
      limit.removeEventListener('abort', abort);
      if (error === undefined) {
        resolve();
        return;
      }
      // An error may follow the one that is reported; without a listener it would end the process.
      socket.on('error', () => undefined);
      socket.destroy();
      reject(error);
    };
    const succeed = (): void => end();
    const close = (): void => end(new ConnectionEnded('KURIR_CLOSED', 'the connection was closed'));
    const abort = (): void => end(limit.reason);
    socket.once(event, succeed).once('error', end).once('close', close);
    limit.addEventListener('abort', abort, { once: true });
    if (limit.aborted) abort();
  });
}

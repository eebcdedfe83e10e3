/**
 * Why another server cannot be talked to, in words for the operator: one table, from what a request failed with to
 * what to say and what to do about it. Pure.
 */

import type { KeyId } from '#keys/ids.ts';
import type { FederationFailure } from './client.ts';

export interface Fault {
  readonly cause: FaultCause;
  /** What is wrong, as the end of a sentence about the server: `certificate expired on 2026-01-31`. */
  readonly words: string;
  /** What to do, and who is to do it. */
  readonly remedy: string;
}

/** What a certificate says of itself. Times in milliseconds since 1970. */
export interface CertificateFacts {
  readonly validFromTs: number;
  readonly validToTs: number;
  /** The names that it is for, such as `DNS:matrix.example.org`. */
  readonly names: string;
  readonly issuer: string;
}

export type FaultCause = keyof typeof remedies;

/** What to do, by cause. The names of the causes are for programs and tests. */
const remedies = {
  name_not_found: 'check how the server name is written; its administrator must publish it in the DNS',
  name_lookup_failed: 'check the resolver of this machine, and the name servers of theirs',
  connection_refused: 'nothing listens there: their server is down, or its port is another than they publish',
  no_route: 'check the network and the firewalls on both sides',
  no_answer: 'their server hangs, or a firewall drops the packets without a word',
  connection_cut: 'their server or a proxy before it closes connections: its log says why',
  address_denied: 'the name leads to a private address: federation_allow_private permits those',
  certificate_expired: 'their administrator must renew the certificate',
  certificate_not_yet_valid: 'check the clock of this machine; else their administrator must replace it',
  certificate_name:
    'their certificate must be for the name that they publish, and be sent for that name (SNI)',
  certificate_untrusted:
    'add their authority to federation_ca, or they must send the whole chain of certificates',
  certificate_incomplete:
    'they must send the whole chain of certificates (fullchain.pem); or add their authority to federation_ca if it ' +
    'is one of your own network',
  certificate_self_signed:
    'they must use a certificate of an authority; or add theirs to federation_ca, where you got it from them in person',
  certificate_ending: 'their administrator should renew the certificate now',
  srv_certificate:
    'the certificate must be for the server name itself where only an SRV record leads to their server: they must ' +
    'add that name to it, or publish .well-known/matrix/server instead',
  srv_only:
    'nothing for Kurir; Rocket.Chat does not reach a server so: they should publish .well-known/matrix/server with a port',
  ipv6_only: 'give this machine IPv6, or they must publish an IPv4 address too',
  not_tls: 'their port speaks plain HTTP: they must publish the port that speaks TLS',
  tls_version: 'their server offers no TLS 1.2 or later',
  tls_failed: 'their TLS listener is not set up as it should be',
  delegation_broken: 'their .well-known/matrix/server must be JSON with "m.server"',
  name_differs: 'check where their name leads: their delegation, their proxy or their server_name is wrong',
  not_matrix: 'what answers is no Matrix server: check the port and the proxy before it',
  gateway_error: 'their proxy runs and the Matrix server behind it does not',
  server_error: 'their server fails: its log says why',
  rate_limited: 'nothing: it is tried again when they allow it',
  refuses_us: 'their administrator must permit this server, by its name',
  signature_refused:
    'their server cannot verify ours: check that it reaches our keys, that no proxy rewrites the path, and the clocks',
  request_refused: 'their server finds the request wrong: compare the versions of both',
  clock_off: 'set the clock of whichever machine is wrong by a time server',
  key_changed: 'ask their administrator whether that was meant: it may be another server under their name',
  key_expired: 'their server must publish its key anew: it does so while it runs',
  key_unsigned: 'their server is broken, or something on the way changes its answers',
  key_unlisted:
    'they should list the earlier key under old_verify_keys: without it, only who knows it can verify older events',
  key_missing: 'their server must answer /_matrix/key/v2/server without a signature',
  answer_too_large: 'their server answers with more than is taken',
  not_a_server: 'this is no name of another server',
  acl_denies_us:
    'an administrator of the room must take this server out of deny, or into allow, of its m.room.server_acl',
  stale_address: 'restart this server, or wait: it asks again where the name leads within two days',
  own_clock_off: 'set the clock by a time server, and see that it is kept so',
  key_file: 'mend it as it says, or put the backup of the file in its place',
  key_file_differs: 'find out who changed the file: at its next start the server signs with what is in it',
  key_draft: 'remove it while no rotation runs: no key can be made before',
  folder_open: 'run chmod 700 on it',
  many_old_keys: 'remove the oldest lines that begin with "old" from signing.key, and restart the server',
  own_key_differs: 'find out which server answers under this name',
  refused_here:
    'where all else is well somebody else used its name, or its clock or its key was wrong then: check again when it calls',
  unproven: 'have a user of theirs write to a user of this server, and check again',
  not_a_partner: 'add it with "partner add", if it is to get what happens here',
  given_up: 'nothing: it is tried again',
  unknown: 'the message is all that is known',
} as const;

/** By the code that a connection fails with: of the system, of TLS, or our own. */
const byCode = new Map<string, FaultCause>([
  ['ENOTFOUND', 'name_not_found'],
  ['EAI_AGAIN', 'name_lookup_failed'],
  ['ESERVFAIL', 'name_lookup_failed'],
  ['EAI_FAIL', 'name_lookup_failed'],
  ['ECONNREFUSED', 'connection_refused'],
  ['EHOSTUNREACH', 'no_route'],
  ['ENETUNREACH', 'no_route'],
  ['EADDRNOTAVAIL', 'no_route'],
  ['ETIMEDOUT', 'no_answer'],
  ['KURIR_TIMEOUT', 'no_answer'],
  ['ECONNRESET', 'connection_cut'],
  ['EPIPE', 'connection_cut'],
  ['KURIR_CLOSED', 'connection_cut'],
  ['KURIR_ADDRESS_DENIED', 'address_denied'],
  ['CERT_HAS_EXPIRED', 'certificate_expired'],
  ['CERT_NOT_YET_VALID', 'certificate_not_yet_valid'],
  ['ERR_TLS_CERT_ALTNAME_INVALID', 'certificate_name'],
  ['DEPTH_ZERO_SELF_SIGNED_CERT', 'certificate_self_signed'],
  ['SELF_SIGNED_CERT_IN_CHAIN', 'certificate_untrusted'],
  // "no signatures could be verified because the chain contains only one certificate and it is not self signed"
  ['UNABLE_TO_VERIFY_LEAF_SIGNATURE', 'certificate_incomplete'],
  ['UNABLE_TO_GET_ISSUER_CERT', 'certificate_untrusted'],
  ['UNABLE_TO_GET_ISSUER_CERT_LOCALLY', 'certificate_untrusted'],
  ['CERT_UNTRUSTED', 'certificate_untrusted'],
  ['CERT_REJECTED', 'certificate_untrusted'],
  ['CERT_CHAIN_TOO_LONG', 'certificate_untrusted'],
  ['CERT_SIGNATURE_FAILURE', 'certificate_untrusted'],
  ['INVALID_CA', 'certificate_untrusted'],
  ['INVALID_PURPOSE', 'certificate_untrusted'],
  ['CERT_REVOKED', 'certificate_untrusted'],
  ['ERR_SSL_WRONG_VERSION_NUMBER', 'not_tls'],
  ['ERR_SSL_PACKET_LENGTH_TOO_LONG', 'not_tls'],
  ['ERR_SSL_HTTP_REQUEST', 'not_tls'],
  ['ERR_SSL_TLSV1_ALERT_PROTOCOL_VERSION', 'tls_version'],
  ['ERR_SSL_UNSUPPORTED_PROTOCOL', 'tls_version'],
  ['EPROTO', 'tls_failed'],
]);

/** A clock that is off by less cannot be told from a slow network, and does no harm. */
const CLOCK_TOLERANCE_MS = 60_000;
const MAX_SAID = 200;

/** The fault behind a request that failed. `nowTs` is our time, in milliseconds since 1970. */
export function faultOf(failure: FederationFailure, nowTs: number): Fault {
  const { message, retryAfterMs } = failure;
  switch (failure.reason) {
    case 'backoff':
      return fault('given_up', `left alone for another ${duration(retryAfterMs ?? 0)}`);
    case 'invalid_server':
      return fault('not_a_server', message);
    case 'not_a_partner':
      return fault('not_a_partner', 'not a partner: nothing is sent to it');
    case 'timeout':
      return fault('no_answer', 'no answer in time');
    case 'aborted':
      return fault('given_up', 'the request was given up');
    case 'too_large':
      return fault('answer_too_large', message);
    case 'bad_answer':
      return fault('not_matrix', `what answers is no Matrix server: ${said(message)}`);
    case 'unreachable':
      return connectionFault(failure);
    case 'refused':
      return refusalFault(failure, nowTs);
  }
}

/** The fault of a clock that is ahead of ours by `skewMs` (behind where negative); undefined where that is little. */
export function clockFault(skewMs: number): Fault | undefined {
  if (Math.abs(skewMs) < CLOCK_TOLERANCE_MS) return undefined;
  const way = skewMs > 0 ? 'ahead' : 'behind';
  return fault(
    'clock_off',
    `its clock is off by ${duration(Math.abs(skewMs))} (${way === 'ahead' ? 'ahead of' : 'behind'} ours)`,
  );
}

/**
 * The fault of a server that publishes another key under an id that it had before. Keys are unpadded Base64 by id.
 * A new id is a rotation, and no fault.
 */
export function keyFault(
  known: ReadonlyMap<KeyId, string>,
  published: ReadonlyMap<KeyId, string>,
): Fault | undefined {
  for (const [keyId, key] of published) {
    const before = known.get(keyId);
    if (before !== undefined && before !== key)
      return fault('key_changed', `its signing key ${keyId} changed and kept its id`);
  }
  return undefined;
}

/** A fault with the remedy of its cause. */
export function fault(cause: FaultCause, words: string): Fault {
  return { cause, words, remedy: remedies[cause] };
}

/** True for the name of a cause, as it was stored. */
export function isFaultCause(value: string): value is FaultCause {
  return Object.hasOwn(remedies, value);
}

/** A length of time in one unit: `4 minutes`, `1 hour`. */
export function duration(ms: number): string {
  const seconds = Math.round(ms / 1000);
  for (const [unit, length] of UNITS) {
    if (seconds >= length || length === 1) {
      const count = Math.round(seconds / length);
      return `${count} ${unit}${count === 1 ? '' : 's'}`;
    }
  }
  return `${seconds} seconds`;
}

const UNITS = [
  ['day', 86_400],
  ['hour', 3_600],
  ['minute', 60],
  ['second', 1],
] as const;

/** The fault of a connection that was not made, by the code that it failed with. */
export function connectionFault({
  code,
  certificate,
  message,
}: Pick<FederationFailure, 'code' | 'certificate' | 'message'>): Fault {
  const cause = byCode.get(code ?? '') ?? (code?.startsWith('ERR_SSL_') ? 'tls_failed' : 'unknown');
  switch (cause) {
    case 'name_not_found':
      return fault(cause, 'name not found');
    case 'name_lookup_failed':
      return fault(cause, 'the name could not be looked up');
    case 'connection_refused':
      return fault(cause, 'connection refused');
    case 'no_route':
      return fault(cause, 'no way through the network');
    case 'no_answer':
      return fault(cause, 'no connection in time');
    case 'connection_cut':
      return fault(cause, 'connection closed without an answer');
    case 'certificate_expired':
      return fault(cause, `certificate expired${onDay(certificate?.validToTs)}`);
    case 'certificate_not_yet_valid':
      return fault(cause, `certificate not valid before${onDay(certificate?.validFromTs, '')}`);
    case 'certificate_name':
      return fault(cause, `certificate is for another name${of(certificate?.names)}`);
    case 'certificate_untrusted':
      return fault(
        cause,
        `certificate is from an authority that is not trusted here${of(certificate?.issuer)}`,
      );
    case 'certificate_incomplete':
      return fault(
        cause,
        `certificate comes without that of the authority which issued it${of(certificate?.issuer)}`,
      );
    case 'certificate_self_signed':
      return fault(cause, `certificate is signed by itself${of(certificate?.names)}`);
    case 'not_tls':
      return fault(cause, 'what listens there does not speak TLS');
    default:
      return fault(cause, said(message));
  }
}

function refusalFault(
  { status = 0, message, retryAfterMs, serverTs }: FederationFailure,
  nowTs: number,
): Fault {
  const answers = `answers ${status}: ${said(message)}`;
  if (status === 401) {
    // Keys are valid for a time: who has another time refuses what is right.
    const clock = serverTs === undefined ? undefined : clockFault(serverTs - nowTs);
    return clock ?? fault('signature_refused', answers);
  }
  if (status === 403) return fault('refuses_us', answers);
  if (status === 429) {
    const wait = retryAfterMs === undefined ? '' : ` for ${duration(retryAfterMs)}`;
    return fault('rate_limited', `asks to be left alone${wait}`);
  }
  if (status >= 502 && status <= 504) return fault('gateway_error', answers);
  return fault(status >= 500 ? 'server_error' : 'request_refused', answers);
}

function onDay(ts: number | undefined, word = ' on'): string {
  return ts === undefined || Number.isNaN(ts) ? '' : `${word} ${new Date(ts).toISOString().slice(0, 10)}`;
}

function of(what: string | undefined): string {
  return what === undefined || what === '' ? '' : ` (${said(what)})`;
}

/** What the other side says is shown on a terminal: on one line, and no more than a line. */
export function said(text: string): string {
  return oneLine(text).slice(0, MAX_SAID);
}

/** The text without what would end the line, or tell the terminal to do something. */
export function oneLine(text: string): string {
  return text.replaceAll(/[\p{Cc}\u2028\u2029]+/gu, ' ');
}

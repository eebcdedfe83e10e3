/**
 * Matrix identifiers: https://spec.matrix.org/v1.19/appendices/#identifier-grammar
 *
 * Each kind has a type of its own, so that a room id never passes for a user id. `serverNameOf` is the only
 * place that splits on a colon.
 */

import { isIPv4, isIPv6 } from 'node:net';

export type ServerName = string;
export type UserId = `@${string}`;
export type RoomId = `!${string}`;
export type EventId = `$${string}`;
export type RoomAlias = `#${string}`;
/** `algorithm:version`, as in `ed25519:a_1`. */
export type KeyId = `${string}:${string}`;

/** "The length of a user ID, room ID, room alias or event ID, including the sigil and the domain, MUST NOT exceed 255 bytes." */
export const MAX_ID_BYTES = 255;

const HOSTNAME = /^[A-Za-z0-9.-]{1,255}$/;
const DOTTED_QUAD = /^\d{1,3}\.\d{1,3}\.\d{1,3}\.\d{1,3}$/;
const BRACKETED = /^\[([0-9A-Fa-f:.]{2,45})\]$/;
const PORT = /^\d{1,5}$/;
const VISIBLE_ASCII = /^[\x21-\x7E]+$/;
const LOCALPART = /^[a-z0-9._=/+-]+$/;
/** Each event names its sender's server several times, and most are of few servers. */
const RECENT_NAMES = 1_000;
const DOMAINLESS_ROOM_ID = /^![A-Za-z0-9_-]{43}$/;

/** Valid ones; begun anew when they are too many. */
const recentNames = new Set<ServerName>();

/** Splits a server name into its host (IPv6 with brackets) and its port; undefined where it is not one. */
export function parseServerName(name: string): { host: string; port: number | undefined } | undefined {
  const match = /^(\[[^\]]*\]|[^:[\]]*)(?::(\d+))?$/.exec(name);
  if (match === null || name.length > 255) return undefined;
  const [, host = '', port] = match;
  // "IPv4 literals must be a sequence of four decimal numbers in the range 0 to 255."
  const isHost = DOTTED_QUAD.test(host) || host.startsWith('[') ? isIpLiteral(host) : HOSTNAME.test(host);
  if (!isHost) return undefined;
  if (port === undefined) return { host, port: undefined };
  if (!PORT.test(port) || Number(port) > 65535) return undefined;
  return { host, port: Number(port) };
}

/** True for a valid server name: https://spec.matrix.org/v1.19/appendices/#server-name */
export function isServerName(name: unknown): name is ServerName {
  if (typeof name !== 'string') return false;
  if (recentNames.has(name)) return true;
  if (parseServerName(name) === undefined) return false;
  if (recentNames.size >= RECENT_NAMES) recentNames.clear();
  recentNames.add(name);
  return true;
}

/** True where the host of a server name is an IPv4 or (bracketed) IPv6 address. */
export function isIpLiteral(host: string): boolean {
  const inBrackets = BRACKETED.exec(host)?.[1];
  return inBrackets === undefined ? isIPv4(host) : isIPv6(inBrackets);
}

/**
 * The server name of an id: all after its first colon. Undefined for an id without one (room versions 12 and
 * later have room ids, versions 3 and later event ids, without a server name).
 */
export function serverNameOf(id: string): ServerName | undefined {
  const colon = id.indexOf(':');
  if (colon < 0) return undefined;
  const name = id.slice(colon + 1);
  return isServerName(name) ? name : undefined;
}

/** What stands between the sigil and the server name. */
export function localpartOf(id: string): string {
  const colon = id.indexOf(':');
  return id.slice(1, colon < 0 ? undefined : colon);
}

/**
 * True for a user id that an event may name: "servers MUST accept user IDs with localparts consisting of any
 * legal non-surrogate Unicode code points except for `:` and `NUL`, including [...] the empty string."
 */
export function isUserId(value: unknown): value is UserId {
  return typeof value === 'string' && value.startsWith('@') && isQualified(value);
}

/**
 * True for a user id whose localpart is visible ASCII. Others "SHOULD NOT [be forwarded] to clients when
 * referenced outside the context of an event".
 */
export function isCompliantUserId(value: unknown): value is UserId {
  return isUserId(value) && VISIBLE_ASCII.test(localpartOf(value));
}

/** True for a localpart that a new account of ours may have. */
export function isNewLocalpart(localpart: string): boolean {
  return LOCALPART.test(localpart);
}

/** True for a room id, with a server name (versions 1 to 11) or without (version 12 and later). */
export function isRoomId(value: unknown): value is RoomId {
  if (typeof value !== 'string' || !value.startsWith('!')) return false;
  return DOMAINLESS_ROOM_ID.test(value) || isQualified(value);
}

/** True for a room alias. */
export function isRoomAlias(value: unknown): value is RoomAlias {
  return typeof value === 'string' && value.startsWith('#') && isQualified(value);
}

/** True for an event id of any room version. */
export function isEventId(value: unknown): value is EventId {
  return (
    typeof value === 'string' &&
    value.length > 1 &&
    value.startsWith('$') &&
    !value.includes('\0') &&
    value.isWellFormed() &&
    fits(value)
  );
}

/** True where the id belongs to `serverName`. */
export function belongsTo(id: string, serverName: ServerName): boolean {
  return serverNameOf(id) === serverName;
}

/** Sigil, localpart without `:` and NUL, and server name, in 255 bytes. */
function isQualified(id: string): boolean {
  return fits(id) && id.isWellFormed() && !id.includes('\0') && serverNameOf(id) !== undefined;
}

function fits(id: string): boolean {
  return id.length <= MAX_ID_BYTES && Buffer.byteLength(id) <= MAX_ID_BYTES;
}

/**
 * The `Authorization: X-Matrix` header of federation requests.
 * https://spec.matrix.org/v1.19/server-server-api/#request-authentication
 */

import { isServerName, type KeyId, type ServerName } from '#keys/ids.ts';

export interface XMatrix {
  readonly origin: ServerName;
  /** Absent where an old server (before v1.3 of the specification) does not say it. */
  readonly destination: ServerName | undefined;
  readonly key: KeyId;
  /** Unpadded base64. */
  readonly sig: string;
}

/** Longer than any header of two names of 255 bytes, a key id and a signature with room for unknown parameters. */
const LONGEST_HEADER = 4096;

/**
 * The header, in the form that every server reads: one space after the scheme, lower-case names, each value
 * quoted, no space around commas. None of the values can contain a quote or a backslash.
 */
export function formatXMatrix(auth: XMatrix & { readonly destination: ServerName }): string {
  const { origin, destination, key, sig } = auth;
  return `X-Matrix origin="${origin}",destination="${destination}",key="${key}",sig="${sig}"`;
}

/** Reads the header by the grammar of RFC 9110; undefined where it is not one. Takes time linear in its length. */
export function parseXMatrix(header: string): XMatrix | undefined {
  if (header.length > LONGEST_HEADER) return undefined;
  const scheme = /^x-matrix +/i.exec(header);
  if (scheme === null) return undefined;
  const params = readParameters(header, scheme[0].length);
  const origin = params?.get('origin');
  const destination = params?.get('destination');
  const key = params?.get('key');
  const sig = params?.get('sig');
  if (!isServerName(origin) || !isKeyId(key) || sig === undefined || sig === '') return undefined;
  if (destination !== undefined && !isServerName(destination)) return undefined;
  return { origin, destination, key, sig };
}

function isKeyId(value: string | undefined): value is KeyId {
  return value !== undefined && value.length <= 255 && value.indexOf(':') > 0;
}

/** The comma-separated `name=value` pairs from `start` on, names in lower case; undefined at a syntax error. */
function readParameters(header: string, start: number): Map<string, string> | undefined {
  const params = new Map<string, string>();
  let at = start;
  while (at < header.length) {
    at = skipSpace(header, at);
    // RFC 9110 5.6.1: a recipient accepts empty list elements.
    if (header[at] === ',') {
      at += 1;
      continue;
    }
    if (at === header.length) break;
    const nameEnd = endOf(header, at, isTokenCharacter);
    const name = header.slice(at, nameEnd).toLowerCase();
    const equals = skipSpace(header, nameEnd);
    if (name === '' || header[equals] !== '=' || params.has(name)) return undefined;
    const value = readValue(header, skipSpace(header, equals + 1));
    if (value === undefined) return undefined;
    params.set(name, value.text);
    at = skipSpace(header, value.end);
    if (at < header.length && header[at] !== ',') return undefined;
  }
  return params;
}

function readValue(header: string, at: number): { text: string; end: number } | undefined {
  if (header[at] === '"') return readQuoted(header, at + 1);
  const end = endOf(header, at, isBareCharacter);
  return end === at ? undefined : { text: header.slice(at, end), end };
}

function readQuoted(header: string, start: number): { text: string; end: number } | undefined {
  let text = '';
  for (let at = start; at < header.length; at += 1) {
    const character = header[at];
    if (character === '"') return { text, end: at + 1 };
    // "a backslash-character pair is replaced by the character that follows the backslash"
    if (character === '\\') at += 1;
    text += header[at] ?? '';
  }
  return undefined;
}

function skipSpace(header: string, at: number): number {
  return endOf(header, at, (character) => character === ' ' || character === '\t');
}

function endOf(header: string, start: number, belongs: (character: string) => boolean): number {
  let at = start;
  while (at < header.length && belongs(header.charAt(at))) at += 1;
  return at;
}

function isTokenCharacter(character: string): boolean {
  return /[!#$%&'*+.^_`|~0-9A-Za-z-]/.test(character);
}

/** A value without quotes: a token, and what older servers leave unquoted (colons, base64, IPv6 addresses). */
function isBareCharacter(character: string): boolean {
  return isTokenCharacter(character) || /[:/=[\]]/.test(character);
}

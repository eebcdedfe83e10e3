/** Answers that are none, for whatever Kurir asks another server: by their meaning, by their form, byte by byte. */

import type { ServerResponse } from 'node:http';
import { gzipSync } from 'node:zlib';
import type { PeerAnswer } from './peer.ts';

const MIB = 1024 * 1024;
const json = { 'content-type': 'application/json' };
const HEAD = 'HTTP/1.1 200 OK\r\ncontent-type: application/json\r\n';

export const wrongAnswers: Readonly<Record<string, PeerAnswer>> = {
  HTML: raw(200, { 'content-type': 'text/html' }, '<html><body>It works!</body></html>'),
  'an HTML error': raw(502, { 'content-type': 'text/html' }, '<h1>Bad Gateway</h1>'),
  nothing: raw(200, json),
  null: raw(200, json, 'null'),
  'a list': raw(200, json, '[]'),
  'a number': raw(200, json, '1e999'),
  'invalid JSON': raw(200, json, '{"event":{"a":1},"state":[{"x":}],"auth_chain":[],,}'),
  'JSON that ends early': raw(200, json, '{"event":{"content":{"membership":"join"},"pdus":[{"a":'),
  'invalid UTF-8': raw(200, json, Buffer.from('{"displayname":"\xff\xfe","event":{}}', 'latin1')),
  'very deep JSON': raw(200, json, () => `{"event":${'['.repeat(200_000)}${']'.repeat(200_000)}}`),
  'a million values': raw(200, json, () => `{"event":{"a":[${'0,'.repeat(3_000_000)}0]}}`),
  'an error with status 200': raw(200, json, '{"errcode":"M_FORBIDDEN","error":"no"}'),
  '401 M_UNKNOWN_TOKEN': raw(401, json, '{"errcode":"M_UNKNOWN_TOKEN","error":"no","soft_logout":true}'),
  '429 for 30,000 years': raw(429, json, '{"errcode":"M_LIMIT_EXCEEDED","retry_after_ms":1000000000000000}'),
  '429 with Retry-After': raw(429, { ...json, 'retry-after': '999999999' }, '{"errcode":"M_LIMIT_EXCEEDED"}'),
  'an errcode that is an object': raw(403, json, '{"errcode":{"toString":1},"error":["x"]}'),
  'a redirect to a private address': raw(302, { location: 'https://127.0.0.1:1/_matrix' }),
  'a redirect to itself': raw(307, { location: '/' }),
  'gzip that was not asked for': raw(200, { ...json, 'content-encoding': 'gzip' }, () =>
    gzipSync(Buffer.alloc(200 * MIB, '[')),
  ),
  'an answer cut off': (response) => {
    response.writeHead(200, { ...json, 'content-length': '1000' }).write('{"event":');
    setTimeout(() => response.destroy(), 20);
  },
  'a status that is none': raw(299, json, '{}'),
  'bytes that are no HTTP': bytes('SSH-2.0-OpenSSH_9.6\r\n'),
  'a head without an end': bytes(`${HEAD}x: `),
  'a header of a megabyte': bytes(`${HEAD}x: ${'x'.repeat(MIB)}\r\n\r\n{}`),
  'ten thousand headers': bytes(`${HEAD}${'x: y\r\n'.repeat(10_000)}\r\n{}`),
  'a length that is too small': bytes(`${HEAD}content-length: 2\r\n\r\n{}${HEAD}content-length: 2\r\n\r\n[]`),
  'a length that is too great, and the end': bytes(`${HEAD}content-length: 100\r\n\r\n{}`),
  'a length below zero': bytes(`${HEAD}content-length: -2\r\n\r\n{}`),
  'two lengths': bytes(`${HEAD}content-length: 2\r\ncontent-length: 3\r\n\r\n{} `),
  'a length, and chunks': bytes(
    `${HEAD}content-length: 2\r\ntransfer-encoding: chunked\r\n\r\n2\r\n{}\r\n0\r\n\r\n`,
  ),
  'chunks that are none': bytes(`${HEAD}transfer-encoding: chunked\r\n\r\nxyz\r\n{}\r\n`),
  'a chunk of 2^63 bytes': bytes(`${HEAD}transfer-encoding: chunked\r\n\r\n7fffffffffffffff\r\n{}`),
  'a thousand times 102': bytes(
    `${'HTTP/1.1 102 Processing\r\n\r\n'.repeat(1_000)}${HEAD}content-length: 2\r\n\r\n{}`,
  ),
};

/** Answers by hand, with some headers. A large body is made when it is asked for, once. */
function raw(
  status: number,
  headers: Record<string, string | string[]>,
  body: string | Buffer | (() => string | Buffer) = '',
): PeerAnswer {
  let made: string | Buffer | undefined;
  return (response) => {
    made ??= typeof body === 'function' ? body() : body;
    response.writeHead(status, headers).end(made);
  };
}

/** Writes these bytes in place of an answer, and closes. */
export function bytes(text: string | Buffer): (response: ServerResponse) => void {
  return ({ socket }) => socket?.end(text);
}

/** An answer that never ends, a space every so often. */
export function drip(everyMs: number): (response: ServerResponse) => void {
  return (response) => {
    response.writeHead(200, json);
    const timer = setInterval(() => response.write(' '), everyMs);
    response.on('close', () => clearInterval(timer));
  };
}

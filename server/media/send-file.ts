/** Files in answers to clients: https://spec.matrix.org/v1.19/client-server-api/#content-repository */

import type { Readable } from 'node:stream';
import type { FastifyReply, FastifyRequest } from 'fastify';
import { MatrixError, notFound } from '#federation/errors.ts';
import type { ByteRange } from '#storage/blob-place.ts';
import { FileStream } from '#storage/file-stream.ts';
import { byteRangeOf } from './byte-range.ts';

/** A file, and what is said of it. */
export interface SentFile {
  /** The bytes, or some of them; undefined where they are missing. */
  readonly content: (range?: ByteRange) => Promise<Readable | undefined>;
  readonly sha256: string;
  readonly size: number;
  readonly contentType: string;
  /** The `Content-Disposition` header. */
  readonly disposition: string;
}

/** "The recommended policy" of the specification: nothing in a file runs, or loads anything. */
export const POLICY =
  "sandbox; default-src 'none'; script-src 'none'; plugin-types application/pdf; style-src 'unsafe-inline'; object-src 'self';";
/** What stands under an id never changes, but it may be withheld one day. */
const CACHE_CONTROL = 'private, max-age=86400';
/** A client that takes nothing for so long is gone. */
export const STALL_MS = 60_000;

/** Sends a file, or the part that the request asks for, or word that the client has it already. */
export async function sendFile(
  request: FastifyRequest,
  reply: FastifyReply,
  file: SentFile,
): Promise<FastifyReply> {
  const { content, size, contentType, disposition } = file;
  const etag = `"${file.sha256}"`;
  const { 'if-none-match': known, 'if-range': rangeOf, range: asked } = request.headers;
  const range = byteRangeOf(rangeOf === undefined || rangeOf === etag ? asked : undefined, size);
  if (isAmong(known, etag)) return reply.code(304).headers({ etag, 'cache-control': CACHE_CONTROL }).send();
  if (range === 'unsatisfiable') throw unsatisfiable(size);
  const bytes = await content(range === 'whole' ? undefined : range);
  if (bytes === undefined) throw notFound('There is no such media');
  if (bytes instanceof FileStream) bytes.reuseFor(reply.raw);
  reply.headers({
    etag,
    'cache-control': CACHE_CONTROL,
    'content-security-policy': POLICY,
    'cross-origin-resource-policy': 'cross-origin',
    'x-content-type-options': 'nosniff',
    'accept-ranges': 'bytes',
    'content-type': contentType,
    'content-disposition': disposition,
  });
  reply.raw.setTimeout(STALL_MS, () => reply.raw.destroy());
  if (range === 'whole') return reply.header('content-length', size).send(bytes);
  const { start, end } = range;
  return reply
    .code(206)
    .headers({ 'content-length': end - start + 1, 'content-range': `bytes ${start}-${end}/${size}` })
    .send(bytes);
}

function isAmong(header: string | undefined, etag: string): boolean {
  const tags = header?.split(',', 100).map((tag) => tag.trim().replace(/^W\//, ''));
  return tags?.some((tag) => tag === etag || tag === '*') === true;
}

function unsatisfiable(size: number): MatrixError {
  const headers = { 'content-range': `bytes */${size}` };
  return new MatrixError(416, 'M_INVALID_PARAM', 'The media has no such bytes', { headers });
}

/** Media of other servers: https://spec.matrix.org/v1.19/server-server-api/#content-repository */

import type { IncomingHttpHeaders } from 'node:http';
import type { Mxc } from '#keys/mxc.ts';
import { type FederationFailure, type FederationRequest, failure } from '../client.ts';
import { fileNameIn } from '../media/content-disposition.ts';
import { cleanContentType } from '../media/content-type.ts';
import { boundaryOf, MultipartFault, readMediaParts } from '../media/multipart.ts';
import { isUnrecognized, type Remote } from './answer.ts';
import { encode, FEDERATION, type RemoteContext } from './request.ts';

/** What is said of a file. */
export interface FileHeaders {
  readonly contentType: string;
  readonly fileName: string | undefined;
}

/** Takes a file while it arrives. Where that breaks off it should let the error pass. */
export type TakeFile<T> = (headers: FileHeaders, bytes: AsyncIterable<Buffer>) => Promise<T>;

export interface DownloadOptions {
  /** How long the other server may wait for an upload that has not come yet, in milliseconds. */
  readonly timeoutMs: number;
  /** Of the file. */
  readonly maxBytes: number;
}

/** The file, or where it is. */
export type Download<T> =
  | { readonly kind: 'taken'; readonly value: T }
  | { readonly kind: 'elsewhere'; readonly location: string };

/** Around the file: delimiters and the metadata. */
const MULTIPART_BYTES = 128 * 1024;
/** For a large file over a slow line. */
export const MEDIA_TIMEOUT_MS = 10 * 60_000;
/** Without a byte for so long there will be none. */
export const MEDIA_IDLE_MS = 30_000;

/**
 * `GET v1/media/download/{mediaId}`, and the deprecated endpoint of the client-server API "when they receive a 404
 * M_UNRECOGNIZED error".
 */
export async function downloadMedia<T>(
  ctx: RemoteContext,
  { server, mediaId }: Mxc,
  { timeoutMs, maxBytes }: DownloadOptions,
  take: TakeFile<T>,
): Promise<Remote<Download<T>>> {
  const request = {
    ...{ server, method: 'GET', timeoutMs: MEDIA_TIMEOUT_MS, idleMs: timeoutMs + MEDIA_IDLE_MS },
    query: { timeout_ms: timeoutMs },
  } as const satisfies Partial<FederationRequest>;
  const path = `${FEDERATION}/v1/media/download/${encode(mediaId)}`;
  const signed = { ...request, path, accept: 'multipart/mixed, */*', maxBytes: maxBytes + MULTIPART_BYTES };
  const answer = await ctx.client.stream(signed, (body, headers) => readParts(headers, body, take));
  if (answer.kind === 'ok') return answer.value;
  if (answer.reason !== 'refused' || !isUnknownThere(answer)) return answer;
  return await downloadUnsigned(ctx, { ...request, maxBytes }, { server, mediaId }, take);
}

/** True also where something answers that gives no Matrix error at all: it does not know what it was asked. */
function isUnknownThere(answer: FederationFailure): boolean {
  return isUnrecognized(answer) || (answer.errcode === undefined && answer.status === 400);
}

/** "When falling back, servers MUST be sure to set `allow_remote` to `false`." */
async function downloadUnsigned<T>(
  ctx: RemoteContext,
  request: Omit<FederationRequest, 'path'>,
  { server, mediaId }: Mxc,
  take: TakeFile<T>,
): Promise<Remote<Download<T>>> {
  const path = `/_matrix/media/v3/download/${encode(server)}/${encode(mediaId)}`;
  const query = { ...request.query, allow_remote: 'false' };
  const legacy = { ...request, path, query, accept: '*/*', unsigned: true };
  const answer = await ctx.client.stream(legacy, (body, headers) => take(fileHeadersOf(headers), body));
  if (answer.kind === 'failed') return answer;
  return { kind: 'ok', value: { kind: 'taken', value: answer.value } };
}

/** What the headers of an answer say of the file in its body. */
export function fileHeadersOf(headers: IncomingHttpHeaders): FileHeaders {
  return {
    contentType: cleanContentType(headers['content-type']),
    // Headers are read byte by byte; names that are not encoded are UTF-8 nevertheless.
    fileName: fileNameIn(Buffer.from(headers['content-disposition'] ?? '', 'latin1').toString()),
  };
}

async function readParts<T>(
  headers: IncomingHttpHeaders,
  body: AsyncIterable<Buffer>,
  take: TakeFile<T>,
): Promise<Remote<Download<T>>> {
  const boundary = boundaryOf(headers['content-type'] ?? '');
  if (boundary === undefined) return failure('bad_answer', 'the answer is not multipart/mixed');
  try {
    const value = await readMediaParts(body, boundary, async (part, bytes): Promise<Download<T>> => {
      const location = part.get('location');
      if (location !== undefined) return { kind: 'elsewhere', location };
      const contentType = cleanContentType(part.get('content-type'));
      const fileName = fileNameIn(part.get('content-disposition') ?? '');
      return { kind: 'taken', value: await take({ contentType, fileName }, bytes) };
    });
    return { kind: 'ok', value };
  } catch (error) {
    if (error instanceof MultipartFault) return failure('bad_answer', error.message);
    throw error;
  }
}

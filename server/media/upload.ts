/** Takes what users upload: https://spec.matrix.org/v1.19/client-server-api/#content-repository */

import { randomBytes } from 'node:crypto';
import type { IncomingMessage } from 'node:http';
import type { FastifyReply, FastifyRequest } from 'fastify';
import { forbidden, tooLarge, unknown } from '#federation/errors.ts';
import { cleanFileName } from '#federation/media/content-disposition.ts';
import { cleanContentType } from '#federation/media/content-type.ts';
import { clearanceError } from '#federation/media/errors.ts';
import type { UserId } from '#keys/ids.ts';
import type { ReceivedFile } from '#storage/blobs.ts';
import type { Reader, Tx } from '#storage/database.ts';
import type { Content } from '#storage/media.ts';
import * as mediaUsage from '#storage/media-usage.ts';
import type { ServerContext } from '../context.ts';
import { MOST_DISCARDED } from '../http/read-body.ts';
import { type Query, queryString } from '../query.ts';

/** With a media id in the path where that is reserved. */
export type UploadRequest = FastifyRequest<{
  Querystring: Query;
  Params: { readonly serverName?: string; readonly mediaId?: string };
}>;

/** Whoever sends nothing for so long has gone. */
const STALL_MS = 30_000;
const MEDIA_ID_BYTES = 18;

/** A new media id, which nobody can guess. */
export function newMediaId(): string {
  return randomBytes(MEDIA_ID_BYTES).toString('base64url');
}

/**
 * Takes the body of an upload. Once the bytes are on disk `note` names them in the database, within the write that
 * counts them; where it answers false nothing is kept.
 *
 * @throws MatrixError `M_TOO_LARGE`, and `M_FORBIDDEN` where the quota of the user, or of all of them, is used up, or
 *   where malware was found
 */
export async function receiveUpload(
  ctx: ServerContext,
  userId: UserId,
  { request, reply }: { readonly request: UploadRequest; readonly reply: FastifyReply },
  note: (tx: Tx, content: Content) => Promise<boolean>,
): Promise<boolean> {
  await using file = await receiveBody(ctx, userId, request.raw).catch((error: unknown) => {
    // What is left of the body is not waited for.
    reply.header('connection', 'close');
    throw error;
  });
  const { sha256, size } = file;
  const contentType = cleanContentType(request.headers['content-type']);
  const uploadName = cleanFileName(queryString(request.query, 'filename') ?? '');
  const scanned = await ctx.media.scanner?.received(file, { userId });
  if (scanned !== undefined && scanned.clearance !== 'clear') throw clearanceError(scanned.clearance);
  return await ctx.media.blobs.keep(file, () =>
    ctx.db.write('media.upload', async (tx) => {
      // Asked for again: other uploads of the user may have ended meanwhile.
      await refuseOverQuota(ctx, tx, { userId, more: size });
      const isNoted = await note(tx, { sha256, size, contentType, uploadName });
      if (isNoted) await mediaUsage.add(tx, userId, size);
      if (isNoted) await scanned?.note(tx);
      return isNoted;
    }),
  );
}

async function receiveBody(ctx: ServerContext, userId: UserId, body: IncomingMessage): Promise<ReceivedFile> {
  const { maxUploadSize } = ctx.config;
  const announced = Number(body.headers['content-length'] ?? 0);
  if (announced > maxUploadSize + MOST_DISCARDED) throw tooLarge(tooLargeMessage(maxUploadSize));
  await refuseOverQuota(ctx, ctx.db, { userId, more: announced });
  body.setTimeout(STALL_MS, () => body.destroy());
  const received = await ctx.media.blobs.receive(piecesOf(body), maxUploadSize);
  // Nothing more comes: what is done with it may take longer.
  body.setTimeout(0);
  if (received.kind === 'received') return received.file;
  await discard(body);
  throw tooLarge(tooLargeMessage(maxUploadSize));
}

async function refuseOverQuota(
  { config: { userMediaQuota, mediaQuota } }: ServerContext,
  reader: Reader,
  { userId, more }: { readonly userId: UserId; readonly more: number },
): Promise<void> {
  if (userMediaQuota !== undefined && (await mediaUsage.of(reader, userId)) + more > userMediaQuota)
    throw forbidden('You have uploaded as much as you may');
  if (mediaQuota !== undefined && (await mediaUsage.ofAllUsers(reader)) + more > mediaQuota)
    throw forbidden('The users of this server have uploaded as much as they may together');
}

/** The body as it comes. It is left open, so that the sender gets to read an answer. */
async function* piecesOf(body: IncomingMessage): AsyncGenerator<Buffer> {
  try {
    for await (const piece of body.iterator({ destroyOnReturn: false })) {
      if (!Buffer.isBuffer(piece)) continue;
      yield piece;
      free(piece);
    }
  } catch (cause) {
    throw unknown(400, 'The upload ends early', cause);
  }
}

/**
 * Gives the memory of a piece back that nobody reads any more: garbage is collected by how much there is of objects, not
 * of what they hold, and tens of megabytes may wait for that.
 */
function free(piece: Buffer): void {
  const { buffer } = piece;
  if (buffer instanceof ArrayBuffer && buffer.byteLength === piece.byteLength) buffer.transfer(0);
}

/** Who is still sending when the connection is closed does not get to read the answer. */
async function discard(body: IncomingMessage): Promise<void> {
  let length = 0;
  for await (const piece of piecesOf(body)) {
    length += piece.length;
    if (length > MOST_DISCARDED) return;
  }
}

function tooLargeMessage(bytes: number): string {
  return `Cannot upload files larger than ${Math.floor(bytes / 1_024)} KiB`;
}

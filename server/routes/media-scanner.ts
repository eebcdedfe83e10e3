/**
 * The API of scanners for malware, which clients ask in place of the content repository:
 * https://github.com/element-hq/matrix-content-scanner-python/blob/main/docs/api.md
 *
 * Served where a scanner is configured. All but the public key need an access token, as downloads do.
 */

import { Readable } from 'node:stream';
import type { FastifyInstance, FastifyReply, FastifyRequest } from 'fastify';
import { notFound } from '#federation/errors.ts';
import { DEFAULT_TIMEOUT_MS, findMedia } from '#federation/media/find.ts';
import type { Found, StoredMedia } from '#federation/media/found.ts';
import { openContent } from '#federation/media/open-content.ts';
import { thumbnailQuery } from '#federation/media/query.ts';
import { parseLoose } from '#keys/canonical-json.ts';
import { isObject, type JsonObject, own, stringAt } from '#keys/json.ts';
import * as mediaScans from '#storage/media-scans.ts';
import { requireRequester } from '../auth/requester.ts';
import { bodyObject } from '../body.ts';
import type { ServerContext } from '../context.ts';
import { answerError, matrixErrorOf } from '../http/error-handler.ts';
import { POLICY, STALL_MS } from '../media/send-file.ts';
import { findAsked, type MediaRequest, sendDownload, sendThumbnail } from '../media/serve.ts';
import { LOOKED_AT_BYTES } from '../scanning/content-type.ts';
import { decryptedSource, type EncryptedFile, encryptedFileOf } from '../scanning/encrypted-file.ts';
import {
  asScannerError,
  badDecryption,
  encryptedClearanceError,
  malformedJson,
  mediaFailedToDecrypt,
  mimeTypeForbidden,
  NOT_CLEAN,
  scannedAbsenceError,
} from '../scanning/errors.ts';
import type { Scanning } from '../scanning/open.ts';
import { TypeRules } from '../scanning/type-rules.ts';

/** A file that was found, the keys that were given for it, and what the scanner says. */
interface Looked {
  readonly media: StoredMedia;
  readonly file: EncryptedFile;
  readonly isScanned: boolean;
}

const BASE = '/_matrix/media_proxy/unstable';
const CLEAN = { clean: true, info: 'File is clean' };
const NOT_SCANNED = { clean: true, info: 'File was not scanned' };
const INFECTED = { clean: false, info: NOT_CLEAN };

/** Downloads, thumbnails and verdicts of files, encrypted and not; and where Element finds them. */
export function mediaScannerRoutes(app: FastifyInstance, ctx: ServerContext): void {
  const { scanning, log } = ctx;
  if (scanning === undefined) return;
  const options = {
    config: { longPoll: true },
    errorHandler: (error: unknown, request: FastifyRequest, reply: FastifyReply): void => {
      const known = matrixErrorOf(error);
      answerError({ log, error: known === undefined ? error : asScannerError(known), request, reply });
    },
  };

  const rules = new TypeRules(ctx.config);
  const allowed = async (media: StoredMedia, file?: EncryptedFile): Promise<StoredMedia> => {
    if (rules.areAny && !rules.allow(await startOf(ctx, media, file))) throw mimeTypeForbidden();
    return media;
  };

  app.get(`${BASE}/public_key`, options, async () => ({ public_key: scanning.requestKey.publicKey }));

  app.get(`${BASE}/download/:serverName/:mediaId`, options, async (request: MediaRequest, reply) => {
    const { userId } = await requireRequester(ctx, request);
    const asked = { request, reply, userId };
    return sendDownload(ctx, asked, await allowed(foundOrThrow(await findAsked(ctx, asked))));
  });

  app.get(`${BASE}/thumbnail/:serverName/:mediaId`, options, async (request: MediaRequest, reply) => {
    const { userId } = await requireRequester(ctx, request);
    const asked = { request, reply, userId };
    thumbnailQuery(request.query);
    return sendThumbnail(ctx, asked, await allowed(foundOrThrow(await findAsked(ctx, asked))));
  });

  app.get(`${BASE}/scan/:serverName/:mediaId`, options, async (request: MediaRequest, reply) => {
    const { userId } = await requireRequester(ctx, request);
    const found = await findAsked(ctx, { request, reply, userId });
    if (found.kind === 'infected') return INFECTED;
    const { sha256 } = await allowed(foundOrThrow(found));
    return (await mediaScans.of(ctx.db, sha256)) === undefined ? NOT_SCANNED : CLEAN;
  });

  app.post(`${BASE}/scan_encrypted`, options, async (request) => {
    const looked = await lookEncrypted(ctx, scanning, request);
    if (looked === 'infected') return INFECTED;
    await allowed(looked.media, looked.file);
    return looked.isScanned ? CLEAN : NOT_SCANNED;
  });

  app.post(`${BASE}/download_encrypted`, options, async (request, reply) => {
    const looked = await lookEncrypted(ctx, scanning, request);
    if (looked === 'infected') throw scannedAbsenceError('infected');
    await allowed(looked.media, looked.file);
    return sendDecrypted(ctx, reply, looked);
  });

  const { publicBaseurl } = ctx.config;
  // Element X looks here for the address of a scanner.
  app.get('/.well-known/element/element.json', async () => {
    if (publicBaseurl === undefined) throw notFound('public_baseurl is not configured');
    return { content_scanner_url: publicBaseurl };
  });
}

function foundOrThrow(found: Found): StoredMedia {
  if (found.kind !== 'found') throw scannedAbsenceError(found.kind);
  return found.media;
}

/** The first bytes of a file, decrypted where there are keys. */
async function startOf(ctx: ServerContext, { sha256 }: StoredMedia, file?: EncryptedFile): Promise<Buffer> {
  const start = await ctx.media.blobs.start(sha256, LOOKED_AT_BYTES);
  if (start === undefined) throw notFound('There is no such media');
  if (file === undefined) return start;
  return Buffer.concat(await Array.fromAsync(decryptedSource(file, Readable.from([start])).pieces));
}

/** Has the file that the body names looked at, decrypted; throws where it may not be given to anybody. */
async function lookEncrypted(
  ctx: ServerContext,
  scanning: Scanning,
  request: FastifyRequest,
): Promise<Looked | 'infected'> {
  const { userId } = await requireRequester(ctx, request);
  ctx.limits.take('media_scan', userId);
  const file = encryptedFileOf(own(metadataOf(scanning, bodyObject(request)), 'file'));
  if (typeof file === 'string') throw malformedJson(file);
  const found = await findMedia(ctx, file.mxc, {
    timeoutMs: DEFAULT_TIMEOUT_MS,
    beforeFetch: () => ctx.limits.take('media_fetch', userId),
  });
  if (found.kind === 'infected') return 'infected';
  const media = foundOrThrow(found);
  if (media.sha256 !== file.sha256) throw mediaFailedToDecrypt();
  const { clearance, isScanned } = await scanning.encrypted.look({ ...file, size: media.size }, () =>
    openContent(ctx, media, { sha256: media.sha256 }),
  );
  if (clearance === 'infected') return 'infected';
  if (clearance !== 'clear') throw encryptedClearanceError(clearance);
  return { media, file, isScanned };
}

/**
 * What is asked for: as it is, or encrypted to our key. Whatever is wrong with the latter is told in the same way, so that
 * nobody learns a part of what is in it.
 */
function metadataOf({ requestKey }: Scanning, body: JsonObject): JsonObject {
  const encrypted = own(body, 'encrypted_body');
  if (encrypted === undefined) return body;
  const [ciphertext, mac, ephemeral] = isObject(encrypted)
    ? [stringAt(encrypted, 'ciphertext'), stringAt(encrypted, 'mac'), stringAt(encrypted, 'ephemeral')]
    : [];
  if (ciphertext === undefined || mac === undefined || ephemeral === undefined)
    throw malformedJson('encrypted_body must have ciphertext, mac and ephemeral');
  const text = requestKey.decrypt({ ciphertext, mac, ephemeral });
  const parsed = text === undefined ? undefined : parseLoose(Buffer.from(text));
  if (parsed?.kind !== 'ok' || !isObject(parsed.value)) throw badDecryption();
  return parsed.value;
}

async function sendDecrypted(
  ctx: ServerContext,
  reply: FastifyReply,
  { media, file }: Looked,
): Promise<FastifyReply> {
  const content = await openContent(ctx, media, { sha256: media.sha256 });
  if (content === undefined) throw notFound('There is no such media');
  const source = decryptedSource(file, content);
  const body = Readable.from(source.pieces, { objectMode: false });
  // Where the client has gone before the first byte, nobody has begun to read the file.
  body.once('close', source.close);
  reply.raw.setTimeout(STALL_MS, () => reply.raw.destroy());
  return reply
    .headers({
      'content-type': 'application/octet-stream',
      'content-length': media.size,
      'content-disposition': 'attachment',
      'cache-control': 'no-store',
      'content-security-policy': POLICY,
    })
    .send(body);
}

/** Pictures of previews: fetched, and kept as media of ours that nobody uploaded. */

import { open } from 'node:fs/promises';
import { shrinkCache } from '#federation/media/cache.ts';
import { type ImageType, imageTypeOf, SIGNATURE_BYTES } from '#federation/media/image-type.ts';
import type { ReceivedFile } from '#storage/blobs.ts';
import * as media from '#storage/media.ts';
import * as mediaUsage from '#storage/media-usage.ts';
import { newMediaId } from '../media/upload.ts';
import type { PreviewsContext } from './context.ts';
import { type Visited, visit, type Web } from './visit.ts';

/** A picture that is kept, and what a preview says of it. */
export interface KeptPicture {
  readonly mediaId: string;
  readonly about: Readonly<Record<string, string | number>>;
}

export const PICTURES = 'image/webp,image/png,image/jpeg,image/gif';
export const MOST_PICTURE_BYTES = 5 * 1024 * 1024;

/** Fetches a picture and keeps it; undefined where it is none that clients show. */
export async function fetchPicture(
  ctx: PreviewsContext,
  web: Web,
  url: URL,
): Promise<KeptPicture | undefined> {
  // What is not kept in the end goes, at whatever point that turns out.
  await using received = new AsyncDisposableStack();
  const visited: Visited<ReceivedFile | undefined> = await visit(web, url, {
    accept: PICTURES,
    maxBytes: MOST_PICTURE_BYTES,
    take: async (body, { headers }) => {
      if (!isPicture(headers['content-type'])) return undefined;
      const taken = await ctx.media.blobs.receive(body, MOST_PICTURE_BYTES);
      return taken.kind === 'received' ? received.use(taken.file) : undefined;
    },
  });
  return visited.kind === 'visited' && visited.value !== undefined
    ? await keepPicture(ctx, visited.value)
    : undefined;
}

/** Keeps a picture that was received; undefined where its bytes are none, or not clear of malware, or in quarantine. */
export async function keepPicture(
  ctx: PreviewsContext,
  file: ReceivedFile,
): Promise<KeptPicture | undefined> {
  const { blobs, scanner, thumbnails } = ctx.media;
  // Before anything decodes it.
  const scanned = await scanner?.received(file, { of: 'a preview' });
  if (scanned !== undefined && scanned.clearance !== 'clear') return undefined;
  const type = await typeOf(file.path);
  const measured = type && (await thumbnails.measure({ path: file.path, type }));
  if (type === undefined || measured === undefined) return undefined;
  const { sha256, size } = file;
  const mxc = { server: ctx.serverName, mediaId: newMediaId() };
  const content = { sha256, size, contentType: type, uploadName: undefined };
  // It is fetched again where it is missing, as are the media of other servers, with which it is counted.
  await blobs.keep(file, () =>
    ctx.db.write('media.addPreview', async (tx) => {
      if (await media.add(tx, { ...mxc, userId: undefined }, content, ctx.clock.now()))
        await mediaUsage.add(tx, 'remote', size);
      await scanned?.note(tx);
    }),
  );
  await shrinkCache(ctx);
  if (!(await isThere(ctx, mxc.mediaId))) return undefined;
  const { width, height } = measured;
  const about = { 'og:image:type': type, 'og:image:width': width, 'og:image:height': height };
  return { mediaId: mxc.mediaId, about: { ...about, 'matrix:image:size': size } };
}

/** Whether a picture can still be downloaded. */
export async function isThere(ctx: PreviewsContext, mediaId: string): Promise<boolean> {
  const known = await media.of(ctx.db, { server: ctx.serverName, mediaId });
  return known?.sha256 !== undefined && !known.isQuarantined;
}

/** Whether an answer calls itself a picture. */
export function isPicture(contentType: string | undefined): boolean {
  return contentType?.startsWith('image/') === true;
}

async function typeOf(path: string): Promise<ImageType | undefined> {
  await using file = await open(path, 'r');
  const { buffer, bytesRead } = await file.read(Buffer.alloc(SIGNATURE_BYTES), 0, SIGNATURE_BYTES, 0);
  return imageTypeOf(buffer.subarray(0, bytesRead));
}

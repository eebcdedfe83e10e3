/** The thumbnail of a media, made when it is first asked for: https://spec.matrix.org/v1.19/client-server-api/#thumbnails */

import { LanesFull } from '#keys/lanes.ts';
import { held } from '#storage/media.ts';
import * as thumbnails from '#storage/thumbnails.ts';
import type { MediaContext } from './context.ts';
import type { StoredMedia, ThumbnailResult } from './found.ts';
import { type ImageType, imageTypeOf, SIGNATURE_BYTES } from './image-type.ts';
import { variantFor, variantName, type WantedThumbnail } from './thumbnail-variant.ts';

/** Finds the thumbnail, or makes it. Of an image that is smaller than what is wanted it is the image itself. */
export async function thumbnailOf(
  ctx: MediaContext,
  media: StoredMedia,
  wanted: WantedThumbnail,
): Promise<ThumbnailResult> {
  // What was made once is found without a look at the image, which may be on another machine.
  const known = await knownOf(ctx, media, variantFor(wanted));
  if (known !== undefined) return known;
  const type = await typeOf(ctx, media);
  if (type === undefined) return { kind: 'unsupported' };
  // "When `true` and the media cannot be animated, the server SHOULD behave as though `animated` is `false`."
  const animated = wanted.animated && (type === 'image/gif' || type === 'image/webp');
  const variant = variantFor({ ...wanted, animated });
  const still = animated === wanted.animated ? undefined : await knownOf(ctx, media, variant);
  if (still !== undefined) return still;
  return await ctx.media.thumbnailFlights.run(`${media.sha256} ${variantName(variant)}`, () =>
    make(ctx, media, { type, variant }),
  );
}

async function knownOf(
  { db }: MediaContext,
  { sha256 }: StoredMedia,
  variant: WantedThumbnail,
): Promise<ThumbnailResult | undefined> {
  const thumbnail = await thumbnails.of(db, sha256, variantName(variant));
  return thumbnail && { kind: 'found', thumbnail };
}

async function make(
  ctx: MediaContext,
  { sha256, size }: StoredMedia,
  { type, variant }: { readonly type: ImageType; readonly variant: WantedThumbnail },
): Promise<ThumbnailResult> {
  try {
    const outcome = await ctx.media.blobs.withPath(sha256, (path) =>
      ctx.media.thumbnails.make({ path, type, variant }),
    );
    switch (outcome?.kind) {
      case 'made':
        return await keep(ctx, sha256, { name: variantName(variant), ...outcome });
      case 'original':
        return await keepOriginal(ctx, sha256, { name: variantName(variant), size, contentType: type });
      case 'failed':
        ctx.log.warn({ sha256 }, 'an image could not be decoded in time or in memory');
        return { kind: 'unsupported' };
      case 'too_large':
        return { kind: 'too_large' };
      case 'unsupported':
      case undefined:
        return { kind: 'unsupported' };
    }
  } catch (error) {
    if (error instanceof LanesFull) return { kind: 'busy' };
    throw error;
  }
}

async function keep(
  ctx: MediaContext,
  source: string,
  {
    name,
    bytes,
    contentType,
  }: { readonly name: string; readonly bytes: Uint8Array; readonly contentType: ImageType },
): Promise<ThumbnailResult> {
  const received = await ctx.media.blobs.receive(only(bytes), bytes.length);
  if (received.kind === 'too_large') return { kind: 'too_large' };
  await using file = received.file;
  const { sha256, size } = file;
  const thumbnail = { sha256, size, contentType };
  await ctx.media.blobs.keep(file, () => note(ctx, source, name, thumbnail));
  return { kind: 'found', thumbnail };
}

async function keepOriginal(
  ctx: MediaContext,
  source: string,
  {
    name,
    size,
    contentType,
  }: { readonly name: string; readonly size: number; readonly contentType: ImageType },
): Promise<ThumbnailResult> {
  const thumbnail = { sha256: source, size, contentType };
  await note(ctx, source, name, thumbnail);
  return { kind: 'found', thumbnail };
}

/** Unless the media has gone meanwhile: nobody would take its thumbnail away again. */
async function note(
  { db }: MediaContext,
  source: string,
  name: string,
  thumbnail: thumbnails.Thumbnail,
): Promise<void> {
  await db.write('thumbnails.add', async (tx) => {
    if ((await held(tx, [source])).has(source)) await thumbnails.add(tx, source, name, thumbnail);
  });
}

async function* only(bytes: Uint8Array): AsyncGenerator<Uint8Array> {
  yield bytes;
}

/** By its first bytes; undefined where it is no such image, or its file is missing. */
async function typeOf(
  { media: { blobs } }: MediaContext,
  { sha256, size }: StoredMedia,
): Promise<ImageType | undefined> {
  if (size < SIGNATURE_BYTES) return undefined;
  const start = await blobs.start(sha256, SIGNATURE_BYTES);
  return start && imageTypeOf(start);
}

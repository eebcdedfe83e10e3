import type { Readable } from 'node:stream';
import { mxcOf } from '#keys/mxc.ts';
import type { ByteRange } from '#storage/blob-place.ts';
import { removeOf } from '#storage/thumbnails.ts';
import { forgetMedia } from './cache.ts';
import type { MediaContext } from './context.ts';
import type { StoredMedia } from './found.ts';

/**
 * The file of a media, or of a thumbnail of it, or a part of it; undefined where it is missing, which it should not be. The next time
 * a thumbnail is then made again, and a media of another server fetched again.
 */
export async function openContent(
  ctx: MediaContext,
  media: StoredMedia,
  { sha256, range }: { readonly sha256: string; readonly range?: ByteRange | undefined },
): Promise<Readable | undefined> {
  const bytes = await ctx.media.blobs.read(sha256, range);
  if (bytes !== undefined) return bytes;
  ctx.log.error({ mxc: mxcOf(media), sha256 }, 'the file of a media is missing');
  if (sha256 !== media.sha256) await ctx.db.write('thumbnails.forget', (tx) => removeOf(tx, media.sha256));
  else if (media.userId === undefined) await forgetMedia(ctx, [media]);
  return undefined;
}

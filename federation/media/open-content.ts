import type { FileHandle } from 'node:fs/promises';
import { mxcOf } from '#keys/mxc.ts';
import { removeOf } from '#storage/thumbnails.ts';
import { forgetMedia } from './cache.ts';
import type { MediaContext } from './context.ts';
import type { StoredMedia } from './found.ts';

/**
 * The file of a media, or of a thumbnail of it; undefined where it is missing, which it should not be. The next time
 * a thumbnail is then made again, and a media of another server fetched again.
 */
export async function openContent(
  ctx: MediaContext,
  media: StoredMedia,
  sha256: string,
): Promise<FileHandle | undefined> {
  const file = await ctx.media.blobs.open(sha256);
  if (file !== undefined) return file;
  ctx.log.error({ mxc: mxcOf(media), sha256 }, 'the file of a media is missing');
  if (sha256 !== media.sha256) await ctx.db.write('thumbnails.forget', (tx) => removeOf(tx, media.sha256));
  else if (media.userId === undefined) await forgetMedia(ctx, [media]);
  return undefined;
}

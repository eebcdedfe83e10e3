import * as media from '#storage/media.ts';
import { shrinkCache } from './cache.ts';
import type { MediaContext } from './context.ts';
import { forgetOld } from './retention.ts';

const ROWS_AT_ONCE = 500;

/** Removes reserved ids that were not used in time, files that a crash left, what is older than it may be, and what is over the limit of the cache. */
export async function tidyMedia(
  ctx: Pick<MediaContext, 'db' | 'clock' | 'media' | 'log' | 'serverName'>,
  signal: AbortSignal,
): Promise<void> {
  while (!signal.aborted) {
    // In portions, so that nobody waits long for the one writer.
    const removed = await ctx.db.write('media.removeExpired', (tx) =>
      media.removeExpired(tx, ctx.clock.now(), ROWS_AT_ONCE),
    );
    if (removed < ROWS_AT_ONCE) break;
  }
  if (!signal.aborted) await forgetOld(ctx, signal);
  await ctx.media.blobs.sweep(signal);
  if (!signal.aborted) await shrinkCache(ctx);
}

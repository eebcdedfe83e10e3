/** What is kept of other servers, and how it goes. */

import { isUserId } from '#keys/ids.ts';
import { held, leastUsed, type Media, remove } from '#storage/media.ts';
import * as mediaScans from '#storage/media-scans.ts';
import * as mediaUsage from '#storage/media-usage.ts';
import * as thumbnails from '#storage/thumbnails.ts';
import type { MediaContext, MediaParts } from './context.ts';

export interface CacheContext extends Pick<MediaContext, 'db'> {
  readonly media: Pick<MediaParts, 'blobs'>;
}

const AT_ONCE = 50;
/** What was asked for a moment ago is on its way to somebody. */
const IN_USE_MS = 5 * 60_000;

/** Makes room for what came: what was unread for longest goes, until all that is kept is within the limit. */
export async function shrinkCache(ctx: Pick<MediaContext, 'db' | 'clock' | 'media'>): Promise<void> {
  const before = ctx.clock.now() - IN_USE_MS;
  for (;;) {
    let excess = (await mediaUsage.of(ctx.db, 'remote')) - ctx.media.limits.cacheBytes;
    if (excess <= 0) return;
    const going: Media[] = [];
    for (const media of await leastUsed(ctx.db, before, AT_ONCE)) {
      if (excess <= 0) break;
      excess -= media.size;
      going.push(media);
    }
    if (going.length === 0) return;
    // In portions, so that nobody waits long for the one writer.
    await forgetMedia(ctx, going);
  }
}

/** Forgets what is kept of other servers and was not read since `before`; answers how many, and their bytes. */
export async function purgeRemote(
  ctx: CacheContext,
  before: number,
  signal?: AbortSignal,
): Promise<{ readonly count: number; readonly bytes: number }> {
  let [count, bytes] = [0, 0];
  for (;;) {
    const going = await leastUsed(ctx.db, before, AT_ONCE);
    if (going.length === 0 || signal?.aborted) return { count, bytes };
    await forgetMedia(ctx, going);
    count += going.length;
    bytes += going.reduce((sum, { size }) => sum + size, 0);
  }
}

/** Forgets media, of other servers or of ours; the files that nothing else names go, and so do their thumbnails. */
export async function forgetMedia(ctx: CacheContext, going: readonly Media[]): Promise<void> {
  const files = await ctx.db.write('media.forget', async (tx) => {
    for (const media of going) {
      if (await remove(tx, media.nid)) await mediaUsage.add(tx, ownerOf(media), -media.size);
    }
    const sources = new Set(going.map(({ sha256 }) => sha256).filter((sha256) => sha256 !== undefined));
    const unnamed = [...sources.difference(await held(tx, sources))];
    const made: string[] = [];
    for (const source of unnamed) made.push(...(await thumbnails.removeOf(tx, source)));
    await mediaScans.remove(tx, unnamed);
    return [...unnamed, ...made];
  });
  await ctx.media.blobs.release(files);
}

function ownerOf({ userId }: Media): mediaUsage.MediaOwner {
  return userId !== undefined && isUserId(userId) ? userId : 'remote';
}

/** How long media are kept: what is older than the operator's options say is forgotten, a little at a time. */

import { mxcOf } from '#keys/mxc.ts';
import { type Media, ownOld, ownUnused, type UseCursor } from '#storage/media.ts';
import { forgetMedia, purgeRemote } from './cache.ts';
import type { MediaContext } from './context.ts';
import { avatarsAmong, picturesShown } from './shown.ts';

type RetentionContext = Pick<MediaContext, 'db' | 'clock' | 'log' | 'media' | 'serverName'>;
type Page = (after: UseCursor) => Promise<Media[]>;

const AT_ONCE = 50;
const BEFORE_ALL: UseCursor = { accessedTs: Number.MIN_SAFE_INTEGER, nid: 0 };

/**
 * Forgets media that were unread for too long, or uploaded too long ago. Neither what the operator protects or withholds
 * nor what is an avatar or stands in a pack of emoji or stickers.
 */
export async function forgetOld(ctx: RetentionContext, signal: AbortSignal): Promise<void> {
  const { remoteUnusedMs, ownUnusedMs, ownAgeMs } = ctx.media.limits;
  const now = ctx.clock.now();
  if (remoteUnusedMs !== undefined) {
    const { count, bytes } = await purgeRemote(ctx, now - remoteUnusedMs, signal);
    if (count > 0) ctx.log.info({ count, bytes }, 'unread files of other servers were deleted');
  }
  const pages: Page[] = [];
  if (ownUnusedMs !== undefined) pages.push((after) => ownUnused(ctx.db, after, now - ownUnusedMs, AT_ONCE));
  if (ownAgeMs !== undefined) pages.push((after) => ownOld(ctx.db, after, now - ownAgeMs, AT_ONCE));
  // One after the other: what the first one takes is not there for the second.
  for (const page of pages) await forgetPages(ctx, page, signal);
}

/** Which media of ours are to go: not read since `before`, and of more than `largerThan` bytes. */
export interface OwnChoice {
  readonly before: number;
  readonly largerThan: number;
  /** Whether avatars, and what stands in packs, stay. */
  readonly keepsShown: boolean;
  /** How many at most. */
  readonly most: number;
}

/** Forgets media of users of ours, but for those that are protected or in quarantine; answers which. */
export async function forgetOwn(
  ctx: RetentionContext,
  { before, largerThan, keepsShown, most }: OwnChoice,
  signal: AbortSignal,
): Promise<string[]> {
  const gone: string[] = [];
  const pageAfter: Page = (after) => ownUnused(ctx.db, after, before, AT_ONCE);
  for await (const page of forgettable(ctx, pageAfter, { keepsShown, signal })) {
    const going = page.filter(({ size }) => size > largerThan).slice(0, most - gone.length);
    await forgetMedia(ctx, going);
    gone.push(...going.map(({ mediaId }) => mediaId));
    if (gone.length >= most) break;
  }
  return gone;
}

/** The pages, without what is an avatar or in a pack where these are kept. */
async function* forgettable(
  ctx: RetentionContext,
  pageAfter: Page,
  { keepsShown, signal }: { readonly keepsShown: boolean; readonly signal: AbortSignal },
): AsyncGenerator<Media[]> {
  let shown: ReadonlySet<string> | undefined;
  for (let after = BEFORE_ALL; !signal.aborted; ) {
    // In portions, so that nobody waits long for the one writer.
    const page = await pageAfter(after);
    const last = page.at(-1);
    if (last === undefined) return;
    after = last;
    if (!keepsShown) {
      yield page;
      continue;
    }
    shown ??= await picturesShown(ctx);
    const kept = shown.union(await avatarsAmong(ctx.db, page));
    yield page.filter((media) => !kept.has(mxcOf(media)));
  }
}

async function forgetPages(ctx: RetentionContext, pageAfter: Page, signal: AbortSignal): Promise<void> {
  let [count, bytes] = [0, 0];
  for await (const going of forgettable(ctx, pageAfter, { keepsShown: true, signal })) {
    await forgetMedia(ctx, going);
    count += going.length;
    bytes += going.reduce((sum, { size }) => sum + size, 0);
  }
  if (count > 0) ctx.log.info({ count, bytes }, 'old files of users were deleted');
}

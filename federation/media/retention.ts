/** How long media are kept: what is older than the operator's options say is forgotten, a little at a time. */

import { parseLoose } from '#keys/canonical-json.ts';
import { isObject, objectAt, stringAt } from '#keys/json.ts';
import { mxcOf, parseMxc } from '#keys/mxc.ts';
import * as currentState from '#storage/current-state.ts';
import type { Reader } from '#storage/database.ts';
import * as events from '#storage/events.ts';
import { type Media, ownOld, ownUnused, type UseCursor } from '#storage/media.ts';
import * as memberships from '#storage/memberships.ts';
import * as profiles from '#storage/profiles.ts';
import * as rooms from '#storage/rooms.ts';
import { forgetMedia, purgeRemote } from './cache.ts';
import type { MediaContext } from './context.ts';

type RetentionContext = Pick<MediaContext, 'db' | 'clock' | 'log' | 'media' | 'serverName'>;
type Page = (after: UseCursor) => Promise<Media[]>;

const AT_ONCE = 50;
const ROOMS_AT_ONCE = 200;
const BEFORE_ALL: UseCursor = { accessedTs: Number.MIN_SAFE_INTEGER, nid: 0 };

/**
 * Forgets media that were unread for too long, or uploaded too long ago. Neither what the operator protects or withholds
 * nor what is the avatar of a user or of a room.
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
  readonly keepsAvatars: boolean;
  /** How many at most. */
  readonly most: number;
}

/** Forgets media of users of ours, but for those that are protected or in quarantine; answers which. */
export async function forgetOwn(
  ctx: RetentionContext,
  { before, largerThan, keepsAvatars, most }: OwnChoice,
  signal: AbortSignal,
): Promise<string[]> {
  const gone: string[] = [];
  const pageAfter: Page = (after) => ownUnused(ctx.db, after, before, AT_ONCE);
  for await (const page of forgettable(ctx, pageAfter, { keepsAvatars, signal })) {
    const going = page.filter(({ size }) => size > largerThan).slice(0, most - gone.length);
    await forgetMedia(ctx, going);
    gone.push(...going.map(({ mediaId }) => mediaId));
    if (gone.length >= most) break;
  }
  return gone;
}

/** The pages, without what is the avatar of anybody where these are kept. */
async function* forgettable(
  ctx: RetentionContext,
  pageAfter: Page,
  { keepsAvatars, signal }: { readonly keepsAvatars: boolean; readonly signal: AbortSignal },
): AsyncGenerator<Media[]> {
  let roomAvatars: ReadonlySet<string> | undefined;
  for (let after = BEFORE_ALL; !signal.aborted; ) {
    // In portions, so that nobody waits long for the one writer.
    const page = await pageAfter(after);
    const last = page.at(-1);
    if (last === undefined) return;
    after = last;
    if (!keepsAvatars) {
      yield page;
      continue;
    }
    roomAvatars ??= await avatarsOfRooms(ctx);
    const shown = (await avatarsOfUsers(ctx.db, page)).union(roomAvatars);
    yield page.filter((media) => !shown.has(mxcOf(media)));
  }
}

async function forgetPages(ctx: RetentionContext, pageAfter: Page, signal: AbortSignal): Promise<void> {
  let [count, bytes] = [0, 0];
  for await (const going of forgettable(ctx, pageAfter, { keepsAvatars: true, signal })) {
    await forgetMedia(ctx, going);
    count += going.length;
    bytes += going.reduce((sum, { size }) => sum + size, 0);
  }
  if (count > 0) ctx.log.info({ count, bytes }, 'old files of users were deleted');
}

async function avatarsOfUsers(db: Reader, page: readonly Media[]): Promise<ReadonlySet<string>> {
  const urls = page.map(mxcOf);
  const uploaders = page.flatMap(({ userId }) => userId ?? []);
  const inProfiles = await profiles.avatarsAmong(db, urls);
  return inProfiles.union(await memberships.avatarsAmong(db, uploaders, urls));
}

/** Those that are media of ours, which are at most as many as there are rooms. */
async function avatarsOfRooms({ db, serverName }: RetentionContext): Promise<ReadonlySet<string>> {
  const urls = new Set<string>();
  for (let after = 0; ; ) {
    // Page by page: there may be many rooms.
    const page = await rooms.page(db, after, ROOMS_AT_ONCE);
    const last = page.at(-1);
    if (last === undefined) return urls;
    after = last.roomNid;
    const found = await currentState.ofRooms(
      db,
      page.map(({ roomNid }) => roomNid),
      ['m.room.avatar'],
    );
    for (const { json } of await events.byNids(
      db,
      found.map(({ eventNid }) => eventNid),
    )) {
      const url = avatarUrlIn(json);
      if (url !== undefined && parseMxc(url)?.server === serverName) urls.add(url);
    }
  }
}

function avatarUrlIn(json: string): string | undefined {
  const parsed = parseLoose(json);
  const content =
    parsed.kind === 'ok' && isObject(parsed.value) ? objectAt(parsed.value, 'content') : undefined;
  return content && stringAt(content, 'url');
}

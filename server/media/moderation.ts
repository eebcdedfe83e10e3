/** What the operator and administrators do to media, by the command or by the routes. */

import { type CacheContext, forgetMedia } from '#federation/media/cache.ts';
import type { MediaContext } from '#federation/media/context.ts';
import { parseLoose } from '#keys/canonical-json.ts';
import type { UserId } from '#keys/ids.ts';
import { isObject, type JsonObject, objectAt, stringAt } from '#keys/json.ts';
import { type Mxc, mxcOf, parseMxc } from '#keys/mxc.ts';
import type { Database } from '#storage/database.ts';
import * as events from '#storage/events.ts';
import * as media from '#storage/media.ts';
import * as mediaScans from '#storage/media-scans.ts';
import * as timeline from '#storage/timeline.ts';

export type ModerationContext = CacheContext & Pick<MediaContext, 'clock' | 'serverName'>;

const AT_ONCE = 50;
const EVENTS_AT_ONCE = 200;

/** Withholds a media, and the same bytes under any other address; false for an unknown one of ours. */
export async function quarantineMedia(ctx: ModerationContext, mxc: Mxc): Promise<boolean> {
  const { serverName, clock } = ctx;
  return ctx.db.write('media.quarantine', (tx) =>
    media.quarantine(tx, mxc, { serverName, now: clock.now() }),
  );
}

/** Serves a media again, whatever the scanner says of it: the operator knows better. False where it was not withheld. */
export async function releaseMedia(ctx: ModerationContext, mxc: Mxc): Promise<boolean> {
  return ctx.db.write('media.release', async (tx) => {
    const sha256 = (await media.of(tx, mxc))?.sha256;
    if (sha256 !== undefined) await mediaScans.allow(tx, sha256);
    return media.release(tx, mxc);
  });
}

/** Keeps a media for good, or ends that; false for an unknown one. */
export async function protectMedia(ctx: ModerationContext, mxc: Mxc, isProtected: boolean): Promise<boolean> {
  const known = await media.of(ctx.db, mxc);
  if (known === undefined) return false;
  const now = isProtected ? ctx.clock.now() : undefined;
  await ctx.db.write('media.protect', (tx) => media.protect(tx, known.nid, now));
  return true;
}

/** Deletes a media for good; false for an unknown one. */
export async function deleteMedia(ctx: ModerationContext, mxc: Mxc): Promise<boolean> {
  const known = await media.of(ctx.db, mxc);
  if (known === undefined) return false;
  await forgetMedia(ctx, [known]);
  return true;
}

/** Deletes media of ours for good. */
export async function deleteSome(ctx: ModerationContext, some: readonly media.Media[]): Promise<void> {
  // In portions, so that nobody waits long for the one writer.
  for (let at = 0; at < some.length; at += AT_ONCE) await forgetMedia(ctx, some.slice(at, at + AT_ONCE));
}

/** Withholds all that a user has uploaded, but for what is protected; answers how many were not withheld before. */
export async function quarantineOfUser(ctx: ModerationContext, userId: UserId): Promise<number> {
  let count = 0;
  for (let after = 0; ; ) {
    // Page by page: there may be many.
    const page = await media.ofUser(ctx.db, userId, after, AT_ONCE);
    const last = page.at(-1);
    if (last === undefined) return count;
    after = last.nid;
    count += await quarantineSome(ctx, page);
  }
}

/** As `quarantineOfUser`, of all that the events of a room name. */
export async function quarantineOfRoom(ctx: ModerationContext, roomNid: number): Promise<number> {
  let count = 0;
  for await (const some of mediaInRoom(ctx.db, roomNid)) count += await quarantineSome(ctx, some);
  return count;
}

/** The media that the events of a room name, the newest events first; each as often as it is named. What is encrypted names none. */
export async function* mediaInRoom(db: Database, roomNid: number): AsyncGenerator<Mxc[]> {
  let upto = Number.MAX_SAFE_INTEGER;
  for (;;) {
    // Page by page: there may be a million events.
    const range = { after: Number.MIN_SAFE_INTEGER, upto, limit: EVENTS_AT_ONCE };
    const placed = await timeline.newest(db, roomNid, range);
    const last = placed.at(-1);
    if (last === undefined) return;
    upto = last.position - 1;
    const found = await events.byNids(
      db,
      placed.map(({ nid }) => nid),
    );
    yield found.flatMap(({ json }) => mediaIn(json));
  }
}

async function quarantineSome(ctx: ModerationContext, some: readonly Mxc[]): Promise<number> {
  const { serverName, clock } = ctx;
  return ctx.db.write('media.quarantineSome', async (tx) => {
    let count = 0;
    for (const mxc of new Map(some.map((each) => [mxcOf(each), each])).values()) {
      const known = await media.of(tx, mxc);
      if (known?.isProtected === true || known?.isQuarantined === true) continue;
      if (await media.quarantine(tx, mxc, { serverName, now: clock.now() })) count += 1;
    }
    return count;
  });
}

/** A file, a thumbnail of it, and both where they are encrypted: the members that `m.room.message` and stickers have. */
function mediaIn(json: string): Mxc[] {
  const parsed = parseLoose(json);
  const content =
    parsed.kind === 'ok' && isObject(parsed.value) ? objectAt(parsed.value, 'content') : undefined;
  if (content === undefined) return [];
  const info = objectAt(content, 'info');
  const urls = [
    ...urlsOf(content, 'url', 'file'),
    ...(info === undefined ? [] : urlsOf(info, 'thumbnail_url', 'thumbnail_file')),
  ];
  return urls.flatMap((url) => parseMxc(url) ?? []);
}

function urlsOf(object: JsonObject, plain: string, encrypted: string): string[] {
  const file = objectAt(object, encrypted);
  return [stringAt(object, plain), file && stringAt(file, 'url')].filter((url) => url !== undefined);
}

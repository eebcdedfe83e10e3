/**
 * Pictures that stay though nobody may have read them for long: the avatars of users and rooms, and what stands in packs
 * of emoji and stickers (MSC2545), of rooms and of users, for everybody to choose from.
 */

import { parseLoose } from '#keys/canonical-json.ts';
import type { UserId } from '#keys/ids.ts';
import { isObject, type Json, objectAt } from '#keys/json.ts';
import { mxcOf, parseMxc } from '#keys/mxc.ts';
import * as accountData from '#storage/account-data.ts';
import * as currentState from '#storage/current-state.ts';
import type { Reader } from '#storage/database.ts';
import * as events from '#storage/events.ts';
import { existing, type Media } from '#storage/media.ts';
import * as memberships from '#storage/memberships.ts';
import * as profiles from '#storage/profiles.ts';
import * as rooms from '#storage/rooms.ts';
import * as users from '#storage/users.ts';
import type { MediaContext } from './context.ts';

type ShownContext = Pick<MediaContext, 'db' | 'serverName'>;

/** The stable name of a pack, and that by which clients know it today. */
const STATE_TYPES = ['m.room.avatar', 'm.room.image_pack', 'im.ponies.room_emotes'];
const ACCOUNT_TYPES = ['im.ponies.user_emotes'];
const ROOMS_AT_ONCE = 200;
/** Each may have 64 KiB. */
const CONTENTS_AT_ONCE = 50;

/** Those of some media that are the avatar of a user. */
export async function avatarsAmong(db: Reader, page: readonly Media[]): Promise<ReadonlySet<string>> {
  const urls = page.map(mxcOf);
  const uploaders = page.flatMap(({ userId }) => userId ?? []);
  const inProfiles = await profiles.avatarsAmong(db, urls);
  return inProfiles.union(await memberships.avatarsAmong(db, uploaders, urls));
}

/** What rooms show, and what stands in packs: media of ours that are there, so that they are at most as many as these. */
export async function picturesShown(ctx: ShownContext): Promise<ReadonlySet<string>> {
  const shown = new Set<string>();
  for (const contents of [stateOfRooms(ctx.db), dataOfUsers(ctx.db)]) {
    for await (const named of contents) {
      const ids = named.flatMap((content) => [...mediaIn(content, ctx.serverName)]);
      for (const mediaId of await existing(ctx.db, ctx.serverName, ids)) {
        shown.add(mxcOf({ server: ctx.serverName, mediaId }));
      }
    }
  }
  return shown;
}

/** Page by page: there may be many rooms. */
async function* stateOfRooms(db: Reader): AsyncGenerator<Json[]> {
  for (let after = 0; ; ) {
    const page = await rooms.page(db, after, ROOMS_AT_ONCE);
    const last = page.at(-1);
    if (last === undefined) return;
    after = last.roomNid;
    const nids = await currentState.ofTypesIn(
      db,
      page.map(({ roomNid }) => roomNid),
      STATE_TYPES,
    );
    for (let start = 0; start < nids.length; start += CONTENTS_AT_ONCE) {
      const found = await events.byNids(db, nids.slice(start, start + CONTENTS_AT_ONCE));
      yield found.map(({ json }) => contentIn(json));
    }
  }
}

async function* dataOfUsers(db: Reader): AsyncGenerator<Json[]> {
  for (let after: UserId | '' = ''; ; ) {
    const page: users.User[] = await users.list(db, { after, limit: CONTENTS_AT_ONCE });
    const last = page.at(-1);
    if (last === undefined) return;
    after = last.userId;
    yield await accountData.ofUsers(
      db,
      page.map(({ userId }) => userId),
      ACCOUNT_TYPES,
    );
  }
}

function contentIn(json: string): Json {
  const parsed = parseLoose(json);
  return (parsed.kind === 'ok' && isObject(parsed.value) && objectAt(parsed.value, 'content')) || {};
}

/** The ids of the media of a server that a content names anywhere: of whole pictures, of their thumbnails, of the pack. */
function mediaIn(content: Json, server: string): Set<string> {
  const found = new Set<string>();
  const rest = [content];
  for (let value = rest.pop(); value !== undefined; value = rest.pop()) {
    if (typeof value === 'string') {
      const mxc = parseMxc(value);
      if (mxc?.server === server) found.add(mxc.mediaId);
    } else if (typeof value === 'object' && value !== null) rest.push(...Object.values(value));
  }
  return found;
}

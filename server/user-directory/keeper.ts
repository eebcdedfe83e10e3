/**
 * Keeps the directory of users up to date with what rooms say of users of other servers. Our own users are written
 * together with their accounts and profiles (`storage/directory-words.ts`).
 */

import { setImmediate as nextTurn } from 'node:timers/promises';
import { belongsTo, isUserId, type UserId } from '#keys/ids.ts';
import type { RoomsContext } from '#rooms/context.ts';
import { membershipOf } from '#rooms/event.ts';
import { writeOpenness } from '#rooms/persist-state.ts';
import { getRoomByNid } from '#rooms/room.ts';
import { currentStateEvents } from '#rooms/state.ts';
import type { StoredEvent } from '#rooms/stored-event.ts';
import { cursors } from '#storage/cursors.ts';
import * as directoryWords from '#storage/directory-words.ts';
import * as users from '#storage/users.ts';
import { EventFollower } from '../event-follower.ts';

export type DirectoryKeeper = EventFollower<readonly UserId[]>;

/** 1 once the accounts from before the directory are in it. */
const FILLED = 'user_directory.filled';
const BATCH = 200;
const LINGER_MS = 500;
const MEMBERS_AT_ONCE = 1_000;
const ACCOUNTS_AT_ONCE = 100;
/** By these everybody may enter, or read, a room. */
const OPENING = ['m.room.join_rules', 'm.room.history_visibility'];

export function directoryKeeper(ctx: RoomsContext): DirectoryKeeper {
  return new EventFollower(ctx, {
    name: 'user_directory',
    batch: BATCH,
    lingerMs: LINGER_MS,
    prepare: async (events, signal) => {
      await nextTurn();
      return await newsOf(ctx, events, signal);
    },
    apply: directoryWords.refreshRemote,
  });
}

/** Writes the words of the accounts from before there was a directory. */
export async function fillDirectory({ db, log }: RoomsContext, signal: AbortSignal): Promise<void> {
  if ((await cursors.get(db, FILLED)) > 0) return;
  let read = 0;
  for (let after = ''; !signal.aborted; ) {
    // Page by page, each a write of its own.
    const page = await users.list(db, { after, limit: ACCOUNTS_AT_ONCE });
    const last = page.at(-1);
    if (last === undefined) break;
    after = last.userId;
    await db.write('userDirectory.accounts', async (tx) => {
      for (const { userId } of page) await directoryWords.refreshAccount(tx, userId);
    });
    read += page.length;
    await nextTurn();
  }
  if (signal.aborted) return;
  await db.write('userDirectory.filled', (tx) => cursors.set(tx, FILLED, 1));
  if (read > 0) log.info({ accounts: read }, 'earlier accounts are in the user directory');
}

/**
 * Whose words are to be written. A room that one of us comes into brings all its members with it, who may be many: they
 * are written here, some at a time. Whoever is written twice is the same afterwards.
 */
async function newsOf(
  ctx: RoomsContext,
  events: readonly StoredEvent[],
  signal: AbortSignal,
): Promise<readonly UserId[] | undefined> {
  const members = events.filter(({ event }) => event.type === 'm.room.member' && isUserId(event.stateKey));
  const changed = new Set<UserId>();
  const entered = new Set<number>();
  for (const { event, roomNid } of members) {
    if (!isUserId(event.stateKey)) continue;
    if (!belongsTo(event.stateKey, ctx.serverName)) changed.add(event.stateKey);
    else if (membershipOf(event) === 'join') entered.add(roomNid);
  }
  for (const roomNid of entered) await readRoom(ctx, roomNid, signal);
  return changed.size === 0 ? undefined : [...changed];
}

async function readRoom(ctx: RoomsContext, roomNid: number, signal: AbortSignal): Promise<void> {
  const room = await getRoomByNid(ctx, roomNid);
  if (room === undefined) return;
  const keys = OPENING.map((type) => ({ type, stateKey: '' }));
  const opening = await currentStateEvents(ctx, roomNid, keys);
  await ctx.db.write('userDirectory.openness', async (tx) => {
    for (const { event } of opening) await writeOpenness(tx, room, { type: event.type, event });
  });
  const { db, serverName: ourServer } = ctx;
  for (let after: UserId | '' | undefined = ''; after !== undefined && !signal.aborted; ) {
    // Page by page: others have their turn.
    const page: directoryWords.MembersPage = await directoryWords.membersPage(
      db,
      { roomNid, ourServer },
      { after, limit: MEMBERS_AT_ONCE },
    );
    // Who takes another name after it was read here has a member event that comes after these, and is written by that.
    if (page.wordless.length > 0)
      await db.write('userDirectory.members', (tx) => directoryWords.add(tx, page.wordless));
    after = page.next;
    await nextTurn();
  }
}

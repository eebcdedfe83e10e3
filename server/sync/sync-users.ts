/** Where the users are that sync: read once, and again only after something concerned them. */

import { setImmediate as nextTurn } from 'node:timers/promises';
import { blocksInvites } from '#federation/invite-permission.ts';
import type { RoomId, UserId } from '#keys/ids.ts';
import type { RoomsContext } from '#rooms/context.ts';
import { Lru } from '#storage/lru.ts';
import * as memberships from '#storage/memberships.ts';
import { type Presences, presenceKey } from '#storage/presences.ts';
import { ignoredBy } from '../ignored-users.ts';

/** A room that the user is in. */
export interface JoinedRoom {
  readonly roomNid: number;
  readonly roomId: RoomId;
  /** Since when the membership is as it is: the user was joined at the latest from then on. */
  readonly joinedAt: number;
  /** The keys of the streams that say what happens in the room. */
  readonly keys: { readonly any: string; readonly state: string; readonly receipts: string };
}

export interface SyncUser {
  readonly userId: UserId;
  /** The key of the streams for what concerns the user. */
  readonly key: string;
  readonly joined: readonly JoinedRoom[];
  /** Rooms that the user is not in, but was, is invited to or asks to be let into; forgotten ones among them. */
  readonly others: readonly memberships.MembershipRow[];
  /** Whose messages and invitations the user does not want to see. */
  readonly ignored: ReadonlySet<string>;
  /** The user takes no invitations, and is not told of those that are there. */
  readonly blocksInvites: boolean;
  /** All keys to wait for. */
  readonly keys: readonly string[];
}

interface Known {
  readonly user: SyncUser;
  /** Nothing concerned the user between what was read and this position. */
  asOf: number;
}

const MOST_USERS = 5_000;
const MOST_ROOMS = 500_000;
/** How often memberships are read again that are newer than what may be told. */
const MOST_TURNS = 100;

type SyncUsersContext = RoomsContext & { readonly presence: Pick<Presences, 'mode'> };

export class SyncUsers {
  readonly #ctx: SyncUsersContext;
  readonly #users = new Lru<UserId, Known>({
    maxEntries: MOST_USERS,
    maxWeight: MOST_ROOMS,
    weigh: ({ user }) => user.joined.length + user.others.length + 10,
  });

  constructor(ctx: SyncUsersContext) {
    this.#ctx = ctx;
  }

  /** Where the user is as of `upto`, a position of now or later; all later positions are not told. */
  async find(userId: UserId): Promise<{ user: SyncUser; upto: number }> {
    const { streams } = this.#ctx;
    const known = this.#users.get(userId);
    const upto = streams.upto();
    if (known !== undefined && !streams.mayConcern(known.user.key, known.asOf)) {
      known.asOf = upto;
      return { user: known.user, upto };
    }
    const read = await this.#read(userId);
    this.#users.set(userId, { user: read.user, asOf: read.upto });
    return read;
  }

  async #read(userId: UserId): Promise<{ user: SyncUser; upto: number }> {
    const withPresence = this.#ctx.presence.mode !== 'off';
    for (let turn = 0; turn < MOST_TURNS; turn++) {
      const upto = this.#ctx.streams.upto();
      const rows = await memberships.ofUser(this.#ctx.db, userId);
      const wishes = {
        ignored: await ignoredBy(this.#ctx.db, userId),
        blocksInvites: await blocksInvites(this.#ctx.db, userId),
        withPresence,
      };
      // Committed, but a position before it is still open: it is published in a moment.
      if (rows.some((row) => row.position > upto)) await nextTurn();
      else return { user: syncUserOf(userId, rows, wishes), upto };
    }
    throw new Error('memberships stay ahead of the streams');
  }
}

function syncUserOf(
  userId: UserId,
  rows: readonly memberships.MembershipRow[],
  {
    withPresence,
    ...wishes
  }: Pick<SyncUser, 'ignored' | 'blocksInvites'> & {
    readonly withPresence: boolean;
  },
): SyncUser {
  const key = `user:${userId}`;
  const joined = rows.filter((row) => row.membership === 'join').map(joinedRoomOf);
  return {
    userId,
    key,
    joined,
    others: rows.filter((row) => row.membership !== 'join'),
    ...wishes,
    keys: [
      key,
      ...joined.map(({ keys }) => keys.any),
      ...(withPresence ? joined.map(({ roomId }) => presenceKey(roomId)) : []),
    ],
  };
}

function joinedRoomOf({ roomNid, roomId, position }: memberships.MembershipRow): JoinedRoom {
  const keys = { any: `room:${roomId}`, state: `state:${roomId}`, receipts: `receipts:${roomId}` };
  return { roomNid, roomId, joinedAt: position, keys };
}

/** Where the users are that sync: read once, and then only what has changed since. */

import { setImmediate as nextTurn } from 'node:timers/promises';
import { type InvitePermission, invitePermissionOf } from '#federation/invite-permission.ts';
import type { RoomId, UserId } from '#keys/ids.ts';
import type { RoomsContext } from '#rooms/context.ts';
import { Lru } from '#storage/lru.ts';
import * as memberships from '#storage/memberships.ts';
import { type Presences, presenceKey } from '#storage/presences.ts';
import type { Follower } from '#storage/streams.ts';
import { ignoredBy } from '../reading/ignored-users.ts';

/** The keys of the streams that say what happens in a room. */
interface RoomKeys {
  readonly any: string;
  readonly state: string;
  readonly receipts: string;
}

/** A room that the user is in. */
export interface JoinedRoom {
  readonly roomNid: number;
  readonly roomId: RoomId;
  /** Since when the membership is as it is: the user was joined at the latest from then on. */
  readonly joinedAt: number;
  /** Since when the user is joined without a break, whatever has changed of the membership since. */
  readonly joinedPosition: number;
  readonly keys: RoomKeys;
}

export interface SyncUser {
  readonly userId: UserId;
  /** The key of the streams for what concerns the user. */
  readonly key: string;
  /** In the order of the last change of the membership. */
  readonly joined: readonly JoinedRoom[];
  /** The same by `keys.any`. */
  readonly joinedByKey: ReadonlyMap<string, JoinedRoom>;
  /**
   * Rooms that the user is not in, but was, is invited to or asks to be let into; in the order of the last change.
   * Whether they are forgotten is another question, which is asked where it matters.
   */
  readonly others: readonly Omit<memberships.MembershipRow, 'forgotten'>[];
  /** Whose messages and invitations the user does not want to see. */
  readonly ignored: ReadonlySet<string>;
  /** Whose invitations the user takes; of the others they are not told. */
  readonly invites: InvitePermission;
  /** All that is to be waited for. */
  readonly follower: Follower;
}

interface Known {
  readonly user: SyncUser;
  /** Nothing concerned the user between what was read and this position. */
  asOf: number;
}

const MOST_USERS = 5_000;
const MOST_ROOMS = 500_000;
const MOST_ROOM_KEYS = 50_000;
/** How often memberships are read again that are newer than what may be told. */
const MOST_TURNS = 100;

type SyncUsersContext = RoomsContext & { readonly presence: Pick<Presences, 'mode'> };

export class SyncUsers {
  readonly #ctx: SyncUsersContext;
  readonly #users: Lru<UserId, Known>;
  readonly #reading = new Map<UserId, Promise<Known | undefined>>();
  /** Shared by all who are in a room: of each user they would be as many strings. */
  readonly #rooms = new Lru<number, { readonly roomId: RoomId; readonly keys: RoomKeys }>({
    maxEntries: MOST_ROOM_KEYS,
  });

  constructor(ctx: SyncUsersContext) {
    this.#ctx = ctx;
    this.#users = new Lru({
      maxEntries: MOST_USERS,
      maxWeight: MOST_ROOMS,
      weigh: ({ user }) => user.joined.length + user.others.length + 10,
      onEvict: (_, { user }) => ctx.streams.release(user.follower),
    });
  }

  /** The same as `find`, where nothing is to be read. */
  known(userId: UserId): { user: SyncUser; upto: number } | undefined {
    const { streams } = this.#ctx;
    const known = this.#users.get(userId);
    if (known === undefined || streams.mayConcern(known.user.key, known.asOf)) return undefined;
    known.asOf = streams.upto();
    return { user: known.user, upto: known.asOf };
  }

  /** Where the user is as of `upto`, a position of now or later; all later positions are not told. */
  async find(userId: UserId): Promise<{ user: SyncUser; upto: number }> {
    for (let turn = 0; turn < MOST_TURNS; turn++) {
      const known = this.known(userId);
      if (known !== undefined) return known;
      const begun = this.#reading.get(userId);
      // What began before this was asked for may lack what it asks for.
      if (begun !== undefined) await begun;
      else {
        const read = await this.#beginReading(userId);
        if (read !== undefined) return { user: read.user, upto: read.asOf };
        // Committed, but a position before it is still open: it is published in a moment.
        await nextTurn();
      }
    }
    throw new Error('memberships stay ahead of the streams');
  }

  #beginReading(userId: UserId): Promise<Known | undefined> {
    const reading = this.#read(userId).finally(() => this.#reading.delete(userId));
    this.#reading.set(userId, reading);
    return reading;
  }

  /** Undefined where something was read that may not be told yet. */
  async #read(userId: UserId): Promise<Known | undefined> {
    const { db, streams } = this.#ctx;
    const known = this.#users.peek(userId);
    const asOf = streams.upto();
    const rows =
      known === undefined
        ? await memberships.ofUser(db, userId)
        : await memberships.ofUserSince(db, userId, known.asOf, Number.MAX_SAFE_INTEGER);
    const wishes = { ignored: await ignoredBy(db, userId), invites: await invitePermissionOf(db, userId) };
    if (rows.some((row) => row.position > asOf)) return undefined;
    const user = this.#userOf(userId, rows, { before: known?.user, ...wishes });
    const read = { user, asOf };
    this.#users.set(userId, read);
    return read;
  }

  #userOf(
    userId: UserId,
    rows: readonly memberships.MembershipRow[],
    { before, ...wishes }: Pick<SyncUser, 'ignored' | 'invites'> & { before: SyncUser | undefined },
  ): SyncUser {
    if (before !== undefined && rows.length === 0) return { ...before, ...wishes };
    const changed = new Set(rows.map(({ roomNid }) => roomNid));
    const isAsBefore = ({ roomNid }: { readonly roomNid: number }) => !changed.has(roomNid);
    const joined = [
      ...(before?.joined.filter(isAsBefore) ?? []),
      ...rows.filter(({ membership }) => membership === 'join').map((row) => this.#joinedRoomOf(row)),
    ];
    const others = [
      ...(before?.others.filter(isAsBefore) ?? []),
      ...rows.filter(({ membership }) => membership !== 'join'),
    ];
    const joinedByKey = new Map(joined.map((room) => [room.keys.any, room]));
    const key = `user:${userId}`;
    const followed = [key, ...joinedByKey.keys()];
    if (this.#ctx.presence.mode !== 'off') followed.push(...joined.map(({ roomId }) => presenceKey(roomId)));
    const follower = before?.follower ?? this.#ctx.streams.follow(followed);
    if (before !== undefined) this.#ctx.streams.refollow(follower, followed);
    return { userId, key, joined, joinedByKey, others, ...wishes, follower };
  }

  #joinedRoomOf({ roomNid, roomId, position, joinedPosition }: memberships.MembershipRow): JoinedRoom {
    let room = this.#rooms.get(roomNid);
    if (room === undefined) {
      const keys = { any: `room:${roomId}`, state: `state:${roomId}`, receipts: `receipts:${roomId}` };
      room = { roomId, keys };
      this.#rooms.set(roomNid, room);
    }
    return { roomNid, joinedAt: position, joinedPosition, ...room };
  }
}

/** Those of a user's other rooms whose membership changed after a position, in the order of the changes. */
export function changedAfter(others: SyncUser['others'], since: number): SyncUser['others'] {
  let first = others.length;
  while (first > 0 && (others[first - 1]?.position ?? 0) > since) first -= 1;
  return others.slice(first);
}

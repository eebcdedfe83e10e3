/**
 * The rooms of a user in the order of their activity: "based on when the last event in the room was received by the
 * server". Read once, and then only what has happened is put in its place, so that a user of thousands of rooms costs no
 * more than one of a few.
 */

import type { UserId } from '#keys/ids.ts';
import type { RoomsContext } from '#rooms/context.ts';
import { Lru } from '#storage/lru.ts';
import * as roomActivity from '#storage/room-activity.ts';
import { isShownTo } from '../sync/shown-invite.ts';
import type { JoinedRoom, SyncUser } from '../sync/sync-users.ts';

export type OtherRoom = SyncUser['others'][number];

/** A room in a user's list. */
export interface ListedRoom {
  readonly roomNid: number;
  readonly roomId: JoinedRoom['roomId'];
  /** What the user is joined to, or what another membership says; one of the two. */
  readonly joined: JoinedRoom | undefined;
  readonly other: OtherRoom | undefined;
  /** The position of the last activity. */
  readonly activity: number;
}

/** The same object as long as nothing but news of rooms has changed it, which moves them to the top. */
export class RoomOrder {
  /** The last active first. */
  readonly rooms: ListedRoom[];
  readonly byNid: Map<number, ListedRoom>;

  constructor(rooms: ListedRoom[]) {
    this.rooms = rooms.sort(byActivity);
    this.byNid = new Map(rooms.map((room) => [room.roomNid, room]));
  }

  /** Puts a room where its activity says. */
  move(roomNid: number, activity: number): void {
    const room = this.byNid.get(roomNid);
    if (room === undefined || room.activity >= activity) return;
    const moved = { ...room, activity };
    this.rooms.splice(this.#indexOf(room), 1);
    this.rooms.splice(this.#indexOf(moved), 0, moved);
    this.byNid.set(roomNid, moved);
  }

  /** Where the room is, or would be. */
  #indexOf(room: ListedRoom): number {
    let low = 0;
    let high = this.rooms.length;
    while (low < high) {
      const middle = (low + high) >>> 1;
      const at = this.rooms[middle];
      if (at !== undefined && byActivity(at, room) < 0) low = middle + 1;
      else high = middle;
    }
    return low;
  }
}

function byActivity(a: ListedRoom, b: ListedRoom): number {
  return b.activity - a.activity || a.roomNid - b.roomNid;
}

interface Known {
  readonly order: RoomOrder;
  readonly user: SyncUser;
  readonly sentAway: ReadonlySet<number>;
  /** The activity of all rooms is known up to here. */
  asOf: number;
}

const MOST_USERS = 5_000;
const MOST_ROOMS = 500_000;
const MOST_ACTIVITIES = 100_000;
/** Positions that are looked at for users of few rooms too. */
const FEW = 100;

export class RoomOrders {
  readonly #ctx: RoomsContext;
  readonly #users = new Lru<UserId, Known>({
    maxEntries: MOST_USERS,
    maxWeight: MOST_ROOMS,
    weigh: ({ order }) => order.rooms.length + 10,
  });
  /** Of rooms, for all their members: the position of the last event, and up to where that is known. */
  readonly #activities = new Lru<number, { last: number; asOf: number }>({ maxEntries: MOST_ACTIVITIES });
  readonly #reading = new Map<UserId, Promise<Known>>();
  /** By room and position. */
  readonly #learning = new Map<string, Promise<void>>();

  constructor(ctx: RoomsContext) {
    this.#ctx = ctx;
  }

  /** The user's rooms as of now or later. */
  async of(user: SyncUser): Promise<RoomOrder> {
    const known = this.#users.get(user.userId);
    if (known !== undefined && isSame(known.user, user)) {
      await this.#catchUp(known, user);
      return known.order;
    }
    const reading = this.#reading.get(user.userId) ?? this.#beginReading(user);
    const read = await reading;
    if (isSame(read.user, user)) return read.order;
    // It began with what the user was before.
    return (await this.#beginReading(user)).order;
  }

  /** The same as `of`, where nothing is to be read. */
  known(user: SyncUser): RoomOrder | undefined {
    const { streams } = this.#ctx;
    const known = this.#users.get(user.userId);
    if (known === undefined || !isSame(known.user, user)) return undefined;
    const upto = streams.upto();
    if (upto <= known.asOf) return known.order;
    const recent = streams.keysSince(known.asOf, FEW);
    if (recent === undefined) return undefined;
    for (const key of recent) {
      const room = user.joinedByKey.get(key);
      if (room === undefined) continue;
      const activity = this.#knownActivityOf(room, upto);
      if (activity === undefined) return undefined;
      known.order.move(room.roomNid, activity);
    }
    known.asOf = upto;
    return known.order;
  }

  #beginReading(user: SyncUser): Promise<Known> {
    const reading = this.#read(user).finally(() => {
      if (this.#reading.get(user.userId) === reading) this.#reading.delete(user.userId);
    });
    this.#reading.set(user.userId, reading);
    return reading;
  }

  async #read(user: SyncUser): Promise<Known> {
    const { db, streams } = this.#ctx;
    const asOf = streams.upto();
    const sentAway = await roomActivity.sentAwayFrom(db, user.userId);
    await this.#learn(user.joined.filter(({ roomNid }) => this.#activities.peek(roomNid) === undefined));
    const rooms: ListedRoom[] = [];
    for (const room of user.joined) {
      const { roomNid, roomId, joinedAt } = room;
      const activity = await this.#activityOf(room);
      rooms.push({ roomNid, roomId, joined: room, other: undefined, activity: activity ?? joinedAt });
    }
    for (const other of user.others) {
      const { roomNid, roomId, position } = other;
      if (!(await this.#isListed(user, other, sentAway))) continue;
      rooms.push({ roomNid, roomId, joined: undefined, other, activity: position });
    }
    const known = { order: new RoomOrder(rooms), user, sentAway, asOf };
    this.#users.set(user.userId, known);
    return known;
  }

  /**
   * "Rooms that the user has been in but left are only included if the room was previously sent to the client in that
   * connection. Rooms the user has been kicked or banned from will always be included in the server list." Invitations
   * that the user does not want to see are not.
   */
  async #isListed(user: SyncUser, other: OtherRoom, sentAway: ReadonlySet<number>): Promise<boolean> {
    if (other.membership === 'leave' || other.membership === 'ban') return sentAway.has(other.roomNid);
    return isShownTo(this.#ctx, user, other);
  }

  /** Reads the activity of many rooms by one query. */
  async #learn(rooms: readonly JoinedRoom[]): Promise<void> {
    if (rooms.length === 0) return;
    const asOf = this.#ctx.streams.upto();
    const nids = rooms.map(({ roomNid }) => roomNid);
    const positions = await roomActivity.lastPositions(this.#ctx.db, nids);
    for (const nid of nids) this.#activities.set(nid, { last: positions.get(nid) ?? 0, asOf });
  }

  /** Undefined where no event of the room is known. */
  async #activityOf(room: JoinedRoom): Promise<number | undefined> {
    const upto = this.#ctx.streams.upto();
    const known = this.#knownActivityOf(room, upto);
    if (known !== undefined) return known;
    // All members of a room may ask at once.
    const key = `${room.roomNid} ${upto}`;
    const begun = this.#learning.get(key);
    const learning = begun ?? this.#learn([room]).finally(() => this.#learning.delete(key));
    this.#learning.set(key, learning);
    await learning;
    return this.#activities.peek(room.roomNid)?.last;
  }

  #knownActivityOf({ roomNid, keys }: JoinedRoom, upto: number): number | undefined {
    const known = this.#activities.get(roomNid);
    if (known === undefined) return undefined;
    if (known.asOf !== upto && this.#ctx.streams.mayConcern(keys.any, known.asOf)) return undefined;
    known.asOf = upto;
    return known.last;
  }

  async #catchUp(known: Known, user: SyncUser): Promise<void> {
    const { streams } = this.#ctx;
    const upto = streams.upto();
    if (upto <= known.asOf) return;
    const recent = streams.keysSince(known.asOf, Math.max(FEW, user.joined.length));
    const changed =
      recent === undefined
        ? user.joined.filter(({ keys }) => streams.mayConcern(keys.any, known.asOf))
        : [...recent].map((key) => user.joinedByKey.get(key)).filter((room) => room !== undefined);
    const stale = changed.filter(({ roomNid }) => (this.#activities.peek(roomNid)?.asOf ?? 0) < upto);
    if (stale.length > FEW) await this.#learn(stale);
    for (const room of changed) {
      const activity = await this.#activityOf(room);
      if (activity !== undefined) known.order.move(room.roomNid, activity);
    }
    known.asOf = Math.max(known.asOf, upto);
  }
}

/** True where the user is in the same rooms by the same memberships, and wants to see the same invitations. */
function isSame(before: SyncUser, user: SyncUser): boolean {
  if (before === user) return true;
  return (
    before.joined === user.joined &&
    before.others === user.others &&
    before.invites.key === user.invites.key &&
    before.ignored.symmetricDifference(user.ignored).size === 0
  );
}

/**
 * Which events a service is told of: "An application service is said to be "interested" in a given event if it matches
 * any of the namespaces."
 *
 * By the room's id or an alias of it, by the sender, by the user whom a member event is about, or because a user of the
 * service was in the room when the event came.
 */

import type { RoomId, UserId } from '#keys/ids.ts';
import type { RoomsContext } from '#rooms/context.ts';
import { Slices } from '#rooms/slices.ts';
import * as aliases from '#storage/aliases.ts';
import * as news from '#storage/appservice-news.ts';
import { Lru } from '#storage/lru.ts';
import type { Appservice } from './appservice.ts';

export interface RoomRef {
  readonly roomNid: number;
  readonly roomId: RoomId;
}

type InterestContext = Pick<RoomsContext, 'db' | 'streams' | 'serverName'>;

/** The stays of users of the service, as they were looked up. */
interface KnownStays {
  readonly stays: readonly news.LocalStay[];
  /** Stays that ended before this are not among them. */
  readonly after: number;
  /** Up to which position the room was looked at. */
  readonly asOf: number;
}

const MOST_ROOMS = 10_000;

/** The interest of one service, with what it has found out about rooms. */
export class Interest {
  readonly #ctx: InterestContext;
  readonly #service: Appservice;
  readonly #rooms = new Lru<number, KnownStays>({ maxEntries: MOST_ROOMS });

  constructor(ctx: InterestContext, service: Appservice) {
    this.#ctx = ctx;
    this.#service = service;
  }

  /** Whether the service is to be told what happened in a room at a position. Asked in the order of positions. */
  async inRoom(room: RoomRef, position: number): Promise<boolean> {
    const { rooms } = this.#service.registration;
    if (rooms.has(room.roomId)) return true;
    const stays = await this.#staysIn(room, position);
    const wasThere = stays.some(
      ({ joinedPosition, leftPosition }) =>
        joinedPosition <= position && (leftPosition === undefined || position <= leftPosition),
    );
    return wasThere || this.#hasAliasOf(room.roomId);
  }

  /** Those of the users who are in a room that the service is told of, or are its own. */
  async inTouchWith(
    userIds: Iterable<UserId>,
    roomsOf: (userId: UserId) => Promise<readonly RoomRef[]>,
  ): Promise<UserId[]> {
    const found: UserId[] = [];
    for (const userId of userIds) {
      if (this.#service.hasUser(userId) || (await this.#isInAny(await roomsOf(userId)))) found.push(userId);
    }
    return found;
  }

  async #isInAny(rooms: readonly RoomRef[]): Promise<boolean> {
    const now = this.#ctx.streams.upto();
    // One after the other, until one is found: mostly in memory.
    for (const room of rooms) if (await this.inRoom(room, now)) return true;
    return false;
  }

  async #staysIn({ roomNid, roomId }: RoomRef, position: number): Promise<readonly news.LocalStay[]> {
    const { db, streams, serverName } = this.#ctx;
    const known = this.#rooms.get(roomNid);
    const isGood =
      known !== undefined && known.after <= position && !streams.mayConcern(`state:${roomId}`, known.asOf);
    if (isGood) return known.stays;
    const asOf = streams.upto();
    const after = position - 1;
    const stays = await this.#ours(await news.localStays(db, roomNid, { serverName, after }), position);
    this.#rooms.set(roomNid, { stays, after, asOf });
    return stays;
  }

  /** Those of the service. One who stays says everything that there is to know. */
  async #ours(stays: readonly news.LocalStay[], position: number): Promise<news.LocalStay[]> {
    const slices = new Slices();
    const ours: news.LocalStay[] = [];
    for (const stay of stays) {
      await slices.rest();
      if (!this.#service.hasUser(stay.userId)) continue;
      if (stay.leftPosition === undefined && stay.joinedPosition <= position) return [stay];
      ours.push(stay);
    }
    return ours;
  }

  async #hasAliasOf(roomId: RoomId): Promise<boolean> {
    const { aliases: named } = this.#service.registration;
    if (named.isEmpty) return false;
    return (await aliases.ofRoom(this.#ctx.db, roomId)).some(({ alias }) => named.has(alias));
  }
}

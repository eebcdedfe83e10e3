/** What the filters of lists ask of rooms: read once for all users, and again after the room's state has changed. */

import type { UserId } from '#keys/ids.ts';
import { isStringArray, type JsonObject, objectAt, own, stringAt } from '#keys/json.ts';
import type { RoomsContext } from '#rooms/context.ts';
import { loadNids } from '#rooms/load.ts';
import { portionsOf, Slices } from '#rooms/slices.ts';
import { currentStateOfType } from '#rooms/state.ts';
import * as accountData from '#storage/account-data.ts';
import * as currentState from '#storage/current-state.ts';
import * as invites from '#storage/invites.ts';
import { Lru } from '#storage/lru.ts';
import type { ListedRoom } from './room-order.ts';

export interface RoomFacts {
  /** Null for an ordinary room. */
  readonly type: string | null;
  readonly isEncrypted: boolean;
  /** In lower case. */
  readonly name: string;
}

interface Known<T> {
  readonly value: T;
  asOf: number;
}

const TYPES = ['m.room.create', 'm.room.encryption', 'm.room.name'];
const MOST_ROOMS = 50_000;
const MOST_SPACES = 1_000;
const MOST_USERS = 5_000;
const NO_FACTS: RoomFacts = { type: null, isEncrypted: false, name: '' };

export class RoomFactsCache {
  readonly #ctx: RoomsContext;
  readonly #rooms = new Lru<number, Known<RoomFacts>>({ maxEntries: MOST_ROOMS });
  readonly #spaces = new Lru<string, Known<ReadonlySet<string>>>({
    maxEntries: MOST_SPACES,
    maxWeight: 500_000,
    weigh: ({ value }) => value.size + 10,
  });
  readonly #direct = new Lru<UserId, Known<ReadonlySet<string>>>({ maxEntries: MOST_USERS });
  readonly #tags = new Lru<UserId, Known<ReadonlyMap<string, ReadonlySet<string>>>>({
    maxEntries: MOST_USERS,
  });

  constructor(ctx: RoomsContext) {
    this.#ctx = ctx;
  }

  /** Of all the rooms, by numeric id. */
  async ofRooms(rooms: readonly ListedRoom[]): Promise<ReadonlyMap<number, RoomFacts>> {
    const facts = new Map<number, RoomFacts>();
    const unknown: ListedRoom[] = [];
    const upto = this.#ctx.streams.upto();
    for (const room of rooms) {
      const known = this.knownOf(room);
      if (known === undefined) unknown.push(room);
      else facts.set(room.roomNid, known);
    }
    const slices = new Slices();
    for (const portion of portionsOf(unknown)) {
      for (const [nid, value] of await this.#read(portion)) {
        facts.set(nid, value);
        this.#rooms.set(nid, { value, asOf: upto });
      }
      await slices.rest();
    }
    return facts;
  }

  /** Of one room, where nothing is to be read. */
  knownOf({ roomNid, roomId }: ListedRoom): RoomFacts | undefined {
    const { streams } = this.#ctx;
    const known = this.#rooms.get(roomNid);
    if (known === undefined || streams.mayConcern(`state:${roomId}`, known.asOf)) return undefined;
    known.asOf = streams.upto();
    return known.value;
  }

  async #read(rooms: readonly ListedRoom[]): Promise<ReadonlyMap<number, RoomFacts>> {
    const { db } = this.#ctx;
    const rows = await currentState.ofRooms(
      db,
      rooms.map(({ roomNid }) => roomNid),
      TYPES,
    );
    const events = await loadNids(
      this.#ctx,
      rows.map(({ eventNid }) => eventNid),
    );
    const contents = new Map<number, Map<string, JsonObject>>();
    for (const { roomNid, type, eventNid } of rows) {
      const content = events.get(eventNid)?.event.content;
      const ofRoom = contents.get(roomNid) ?? new Map<string, JsonObject>();
      contents.set(roomNid, ofRoom);
      if (content !== undefined) ofRoom.set(type, content);
    }
    const facts = new Map<number, RoomFacts>();
    for (const { roomNid, other } of rooms) {
      const ofRoom = contents.get(roomNid);
      // Of a room that the server is not in, what came with the invitation is all that is known.
      const known = ofRoom ?? (other && (await this.#toldBy(roomNid, other.userId)));
      facts.set(roomNid, known === undefined ? NO_FACTS : factsOf(known));
    }
    return facts;
  }

  async #toldBy(roomNid: number, userId: UserId): Promise<Map<string, JsonObject>> {
    const told = await invites.shownTo(this.#ctx.db, roomNid, userId);
    const contents = new Map<string, JsonObject>();
    for (const event of told?.state ?? []) {
      const [type, content] = [stringAt(event, 'type'), objectAt(event, 'content')];
      if (type !== undefined && content !== undefined) contents.set(type, content);
    }
    return contents;
  }

  /** The rooms that are named by `m.space.child` in the current state of a space. */
  async childrenOf(space: {
    readonly roomNid: number;
    readonly roomId: string;
  }): Promise<ReadonlySet<string>> {
    const { streams } = this.#ctx;
    const known = this.#spaces.get(space.roomId);
    const asOf = streams.upto();
    if (known !== undefined && !streams.mayConcern(`state:${space.roomId}`, known.asOf)) return known.value;
    const children = await currentStateOfType(this.#ctx, space.roomNid, 'm.space.child');
    // "Children where via is not present or invalid are ignored."
    const value = new Set(
      children
        .filter(({ event }) => isStringArray(own(event.content, 'via')))
        .map(({ event }) => event.stateKey ?? ''),
    );
    this.#spaces.set(space.roomId, { value, asOf });
    return value;
  }

  /** The rooms that the user has in `m.direct`. */
  async directOf(userId: UserId): Promise<ReadonlySet<string>> {
    return this.#ofUser(this.#direct, userId, async () => {
      const { db } = this.#ctx;
      const content = await accountData.get(db, { userId, roomId: '', type: 'm.direct' });
      const rooms = new Set<string>();
      for (const ofUser of Object.values(content ?? {}))
        if (isStringArray(ofUser)) for (const roomId of ofUser) rooms.add(roomId);
      return rooms;
    });
  }

  /** The same, where nothing is to be read. */
  directKnown(userId: UserId): ReadonlySet<string> | undefined {
    return this.#knownOfUser(this.#direct, userId);
  }

  /** The tags of the user's rooms, by room. */
  async tagsOf(userId: UserId): Promise<ReadonlyMap<string, ReadonlySet<string>>> {
    return this.#ofUser(this.#tags, userId, async () => {
      const data = await accountData.ofType(this.#ctx.db, userId, 'm.tag');
      return new Map(
        data.map(({ roomId, content }) => [roomId, new Set(Object.keys(objectAt(content, 'tags') ?? {}))]),
      );
    });
  }

  /** The same, where nothing is to be read. */
  tagsKnown(userId: UserId): ReadonlyMap<string, ReadonlySet<string>> | undefined {
    return this.#knownOfUser(this.#tags, userId);
  }

  async #ofUser<T>(cache: Lru<UserId, Known<T>>, userId: UserId, read: () => Promise<T>): Promise<T> {
    const known = this.#knownOfUser(cache, userId);
    if (known !== undefined) return known;
    const asOf = this.#ctx.streams.upto();
    const value = await read();
    cache.set(userId, { value, asOf });
    return value;
  }

  #knownOfUser<T>(cache: Lru<UserId, Known<T>>, userId: UserId): T | undefined {
    const { streams } = this.#ctx;
    const known = cache.get(userId);
    if (known === undefined || streams.mayConcern(`user:${userId}`, known.asOf)) return undefined;
    known.asOf = streams.upto();
    return known.value;
  }
}

function factsOf(contents: ReadonlyMap<string, JsonObject>): RoomFacts {
  const create = contents.get('m.room.create');
  const name = contents.get('m.room.name');
  return {
    type: (create && stringAt(create, 'type')) ?? null,
    isEncrypted: contents.has('m.room.encryption'),
    name: ((name && stringAt(name, 'name')) ?? '').toLowerCase(),
  };
}

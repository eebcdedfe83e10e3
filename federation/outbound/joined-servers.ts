/** Which servers were in a room at some state of it. */

import { type ServerName, serverNameOf } from '#keys/ids.ts';
import type { RoomsContext } from '#rooms/context.ts';
import { membershipOf } from '#rooms/event.ts';
import { loadNids } from '#rooms/load.ts';
import * as destinations from '#storage/destinations.ts';
import { Lru } from '#storage/lru.ts';
import * as rooms from '#storage/rooms.ts';
import { difference, type StateGroup } from '#storage/state-groups.ts';
import { keysOf } from '#storage/state-keys.ts';

/** Joined users by server, at one state of a room. */
interface Joined {
  readonly group: StateGroup;
  readonly counts: ReadonlyMap<ServerName, number>;
}

const NOBODY: Joined = { group: 0, counts: new Map() };
const MOST_ROOMS = 5_000;
/** A room whose state moves during the read is read again. */
const MOST_READS = 5;

/**
 * Keeps for each room the last state that was asked for. The next one is reached by the difference between the
 * two, so that an event in a room of thousands costs as much as what has changed since the one before.
 */
export class JoinedServers {
  readonly #ctx: RoomsContext;
  readonly #rooms = new Lru<number, Joined>({ maxEntries: MOST_ROOMS });

  constructor(ctx: RoomsContext) {
    this.#ctx = ctx;
  }

  /** The servers with joined users in the state `group` of the room, ours among them, and how many of each. */
  async at(roomNid: number, group: StateGroup): Promise<ReadonlyMap<ServerName, number>> {
    const known = this.#rooms.get(roomNid) ?? (await this.#current(roomNid));
    const joined = known.group === group ? known : await this.#moved(known, group);
    this.#rooms.set(roomNid, joined);
    return joined.counts;
  }

  /** By the table of memberships, where it and the room's current state are known to agree. */
  async #current(roomNid: number): Promise<Joined> {
    const { db } = this.#ctx;
    for (let reads = 0; reads < MOST_READS; reads += 1) {
      // Not one query: the two are compared to see whether a write came in between.
      const before = await rooms.byNid(db, roomNid);
      const counts = await destinations.joinedCounts(db, roomNid);
      const after = await rooms.byNid(db, roomNid);
      if (before === undefined || after === undefined) return NOBODY;
      if (before.stateGroup === after.stateGroup) return { group: after.stateGroup, counts };
    }
    return NOBODY;
  }

  async #moved(from: Joined, group: StateGroup): Promise<Joined> {
    const { db } = this.#ctx;
    const changes = await difference(db, from.group, group);
    const keys = await keysOf(
      db,
      changes.map((change) => change.key),
    );
    const ofMembers = changes.filter((change) => keys.get(change.key)?.type === 'm.room.member');
    const nids = ofMembers.flatMap(({ a, b }) => [a, b]).filter((nid) => nid !== undefined);
    const events = await loadNids(this.#ctx, nids);
    const isJoin = (nid: number | undefined): boolean => {
      const stored = nid === undefined ? undefined : events.get(nid);
      return stored !== undefined && membershipOf(stored.event) === 'join';
    };
    const counts = new Map(from.counts);
    for (const { key, a, b } of ofMembers) {
      const server = serverNameOf(keys.get(key)?.stateKey ?? '');
      if (server === undefined) continue;
      const count = (counts.get(server) ?? 0) + Number(isJoin(b)) - Number(isJoin(a));
      if (count > 0) counts.set(server, count);
      else counts.delete(server);
    }
    return { group, counts };
  }
}

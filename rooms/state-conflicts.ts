import type { EventId } from '#keys/ids.ts';
import { difference, load, type StateGroup } from '#storage/state-groups.ts';
import type { RoomsReader } from './context.ts';
import { type Event, splitStateMapKey, stateMapKey } from './event.ts';
import { loadAuthChains } from './graph.ts';
import { loadEvents, loadNids } from './load.ts';
import type { StateRef } from './resolve-state.ts';
import type { Room } from './room.ts';
import { stateOfGroup } from './room-head.ts';
import { portionsOf } from './slices.ts';
import type { AuthGraph, Conflicts } from './state-res/resolve.ts';
import type { Wanted } from './state-res/steps.ts';
import type { StoredEvent } from './stored-event.ts';

/** A state, as far as it differs from another, by `stateMapKey`; undefined where it lacks the key. */
type Changes = ReadonlyMap<string, EventId | undefined>;

interface Options {
  /** The stored state that the others are compared with: best one that is near them all. */
  readonly upon: StateGroup;
  /** Events that the states may hold and that are not stored. */
  readonly fresh: readonly Event[];
  /** Called between portions of the work, so that others get their turn. */
  readonly rest: () => Promise<void>;
}

/**
 * What the resolution of several states of a room rests on: at first only how they differ, which two stored states tell
 * without being read whole; then whatever the resolution wants.
 */
export class StateConflicts implements Conflicts, AuthGraph {
  readonly unconflicted = new Map<string, EventId>();
  readonly differing: Map<string, EventId>[];
  readonly #ctx: RoomsReader;
  readonly #room: Room;
  readonly #options: Options;
  readonly #base: StateGroup;
  /** What that has under the keys where another state differs from it. */
  readonly #compared = new Map<string, EventId | undefined>();
  /** Events of the room; of those in `#chained` the auth chains are there too. */
  readonly #events = new Map<EventId, StoredEvent>();
  readonly #chained = new Map<EventId, StoredEvent>();
  readonly #fresh: ReadonlyMap<EventId, Event>;

  private constructor(ctx: RoomsReader, room: Room, states: readonly StateRef[], options: Options) {
    this.#ctx = ctx;
    this.#room = room;
    this.#options = options;
    this.#base = options.upon;
    this.#fresh = new Map(options.fresh.map((event) => [event.eventId, event]));
    this.differing = states.map(() => new Map());
  }

  /** How some states, two at least, differ. */
  static async between(
    ctx: RoomsReader,
    room: Room,
    states: readonly StateRef[],
    options: Options,
  ): Promise<StateConflicts> {
    const conflicts = new StateConflicts(ctx, room, states, options);
    await conflicts.#compare(states);
    return conflicts;
  }

  event(eventId: EventId): Event | undefined {
    const stored = this.#chained.get(eventId) ?? this.#events.get(eventId);
    if (stored === undefined) return this.#fresh.get(eventId);
    return stored.roomNid === this.#room.roomNid ? stored.event : undefined;
  }

  isRejected(eventId: EventId): boolean {
    return (this.#chained.get(eventId) ?? this.#events.get(eventId))?.status === 'rejected';
  }

  /** Loads what a resolution wants. What is not stored, the resolution then misses and throws. */
  async supply(wanted: Wanted): Promise<void> {
    if (wanted.kind === 'events') await this.#loadEvents(wanted.eventIds, wanted.chains);
    else if (wanted.keys === 'all') await this.#loadWholeState();
    else await this.#loadKeys(wanted.keys);
  }

  /** The state that is resolved so, as what differs from a stored one. */
  refTo(resolved: ReadonlyMap<string, EventId>): StateRef {
    const changes = new Map<string, EventId | undefined>();
    for (const [key, before] of this.#compared) {
      const eventId = this.unconflicted.get(key) ?? resolved.get(key);
      if (eventId !== before) changes.set(key, eventId);
    }
    for (const [key, eventId] of resolved) if (!this.#compared.has(key)) changes.set(key, eventId);
    return { base: this.#base, changes };
  }

  async #compare(states: readonly StateRef[]): Promise<void> {
    const changesOf = new Map<StateGroup, Changes>();
    // One after the other: each may be large.
    for (const { base } of states) {
      if (!changesOf.has(base)) changesOf.set(base, await this.#changesTo(base));
    }
    const ofStates = states.map(({ base, changes }): readonly Changes[] => [
      changes,
      changesOf.get(base) ?? new Map(),
    ]);
    await this.#loadCompared(states.flatMap(({ changes }) => [...changes.keys()]));
    for (const portion of portionsOf(this.#compared)) {
      for (const [key, before] of portion) {
        const values = ofStates.map((changes) => valueIn(changes, key, before));
        this.#sort(key, values);
      }
      await this.#options.rest();
    }
  }

  /** Puts a key to those that the states agree on, or to those under which they differ. */
  #sort(key: string, values: readonly (EventId | undefined)[]): void {
    const [first] = values;
    if (values.every((eventId) => eventId === first)) {
      if (first !== undefined) this.unconflicted.set(key, first);
      return;
    }
    for (const [index, eventId] of values.entries()) {
      if (eventId !== undefined) this.differing[index]?.set(key, eventId);
    }
  }

  /** What another stored state has otherwise than the base; notes what the base has there. */
  async #changesTo(group: StateGroup): Promise<Changes> {
    const { rest } = this.#options;
    const changes = new Map<string, EventId | undefined>();
    const found = await difference(this.#ctx.db, this.#base, group, rest);
    for (const portion of portionsOf(found)) {
      const nids = portion.flatMap(({ a, b }) => [a, b]).filter((nid) => nid !== undefined);
      const stored = await loadNids(this.#ctx, nids);
      for (const event of stored.values()) this.#events.set(event.event.eventId, event);
      for (const { a, b } of portion) {
        const [before, after] = [stored.get(a ?? 0), stored.get(b ?? 0)];
        const key = keyOf(before ?? after);
        this.#compared.set(key, before?.event.eventId);
        changes.set(key, after?.event.eventId);
      }
      await rest();
    }
    return changes;
  }

  /** Notes what the base has under further keys. */
  async #loadCompared(keys: readonly string[]): Promise<void> {
    const unknown = new Set(keys.filter((key) => !this.#compared.has(key)));
    for (const portion of portionsOf(unknown)) {
      const found = await stateOfGroup(this.#ctx, this.#base, portion.map(splitStateMapKey));
      for (const key of portion) this.#compared.set(key, found.get(key)?.event.eventId);
      await this.#options.rest();
    }
  }

  async #loadEvents(eventIds: Iterable<EventId>, chains: boolean): Promise<void> {
    const reached = new Set(eventIds);
    const wanted: EventId[] = [];
    for (const eventId of reached) {
      const fresh = this.#fresh.get(eventId);
      if (fresh === undefined) wanted.push(eventId);
      else for (const authEventId of fresh.authEvents) reached.add(authEventId);
    }
    if (chains) return loadAuthChains(this.#ctx, wanted, this.#chained, this.#events);
    const missing = wanted.filter((eventId) => this.event(eventId) === undefined);
    for (const [eventId, stored] of await loadEvents(this.#ctx, missing)) this.#events.set(eventId, stored);
  }

  async #loadKeys(keys: ReadonlySet<string>): Promise<void> {
    const unknown = keys
      .values()
      .filter((key) => !this.#compared.has(key))
      .filter((key) => !this.unconflicted.has(key));
    for (const portion of portionsOf(unknown)) {
      const found = await stateOfGroup(this.#ctx, this.#base, portion.map(splitStateMapKey));
      for (const [key, stored] of found) this.#agree(key, stored);
      await this.#options.rest();
    }
  }

  async #loadWholeState(): Promise<void> {
    const state = await load(this.#ctx.db, this.#base, this.#options.rest);
    for (const portion of portionsOf(state.values())) {
      for (const stored of (await loadNids(this.#ctx, portion)).values()) {
        const key = keyOf(stored);
        if (!this.#compared.has(key)) this.#agree(key, stored);
      }
      await this.#options.rest();
    }
  }

  #agree(key: string, stored: StoredEvent): void {
    this.unconflicted.set(key, stored.event.eventId);
    this.#events.set(stored.event.eventId, stored);
  }
}

function valueIn(all: readonly Changes[], key: string, before: EventId | undefined): EventId | undefined {
  const changes = all.find((each) => each.has(key));
  return changes === undefined ? before : changes.get(key);
}

function keyOf(stored: StoredEvent | undefined): string {
  if (stored?.event.stateKey === undefined) throw new Error('a state holds what is no state event');
  return stateMapKey(stored.event.type, stored.event.stateKey);
}

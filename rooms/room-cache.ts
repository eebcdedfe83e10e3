import type { EventId, RoomId, ServerName } from '#keys/ids.ts';
import { Lru } from '#storage/lru.ts';
import type { StateGroup } from '#storage/state-groups.ts';
import { Alarms } from './alarms.ts';
import type { StateRef } from './resolve-state.ts';
import type { Room } from './room.ts';
import type { StoredEvent } from './stored-event.ts';

/** An accepted event that no accepted event cites. */
export interface ForwardExtremity {
  readonly nid: number;
  readonly eventId: EventId;
  readonly depth: number;
  readonly stateAfter: StateGroup;
}

/**
 * Where a room's graph and state stand, as of a version of its row. Replaced as a whole after each commit. Only
 * a shortcut: a write that rests on an old one is refused by the compare-and-set of the row.
 */
export interface RoomHead {
  readonly rowVersion: number;
  readonly stateGroup: StateGroup;
  /** In the order in which they came. */
  readonly forwardExtremities: readonly ForwardExtremity[];
  /**
   * What was asked for of the current state: numeric ids of events by `stateMapKey`; undefined where the state has
   * no such key.
   */
  readonly state: Map<string, number | undefined>;
}

const EVENTS = 50_000;
const EVENT_BYTES = 64 * 1024 * 1024;
/** An event in memory: its text, and about as much again as an object, and the fields around it. */
const weighEvent = (stored: StoredEvent) => 3 * stored.event.json.length + 500;
const ROOMS = 20_000;
const HEADS = 5_000;
const HEAD_KEYS = 200;
const RESOLVED = 1_000;
const RESOLVED_KEYS = 200_000;

/** What rooms keep in memory, each part of it bounded. */
export class RoomCache {
  readonly #events = new Lru<number, StoredEvent>({
    maxEntries: EVENTS,
    maxWeight: EVENT_BYTES,
    weigh: weighEvent,
    onEvict: (_, stored) => this.#nids.delete(stored.event.eventId),
  });
  readonly #nids = new Map<EventId, number>();
  readonly #rooms = new Lru<RoomId, Room>({ maxEntries: ROOMS });
  readonly #roomsByNid = new Lru<number, Room>({ maxEntries: ROOMS });
  readonly #heads = new Lru<number, RoomHead>({ maxEntries: HEADS });
  /** What sets of stored states resolve to, by their sorted groups. */
  readonly #resolved = new Lru<string, StateRef>({
    maxEntries: RESOLVED,
    maxWeight: RESOLVED_KEYS,
    weigh: (state) => 1 + state.changes.size,
  });
  readonly alarms = new Alarms();
  readonly #servers = new Lru<number, readonly ServerName[]>({ maxEntries: HEADS });
  readonly #purges = new Lru<number, number>({ maxEntries: ROOMS });
  #changes = 0;
  #resolvedAnew = 0;

  /**
   * Goes up whenever something stored has changed. Who reads from the database notes it before, and keeps the
   * answer only where it is still the same.
   */
  get changes(): number {
    return this.#changes;
  }

  event(nid: number): StoredEvent | undefined {
    return this.#events.get(nid);
  }

  eventById(eventId: EventId): StoredEvent | undefined {
    const nid = this.#nids.get(eventId);
    return nid === undefined ? undefined : this.#events.get(nid);
  }

  keepEvent(stored: StoredEvent): void {
    this.#nids.set(stored.event.eventId, stored.nid);
    this.#events.set(stored.nid, stored);
  }

  /** After an event that was stored before has changed: it was redacted, or has got its place. */
  dropEvent(nid: number): void {
    this.#changes += 1;
    // It may authorise otherwise now.
    this.#resolved.clear();
    this.#resolvedAnew += 1;
    const stored = this.#events.get(nid);
    if (stored === undefined) return;
    this.#events.delete(nid);
    this.#nids.delete(stored.event.eventId);
  }

  room(roomId: RoomId): Room | undefined {
    return this.#rooms.get(roomId);
  }

  roomByNid(roomNid: number): Room | undefined {
    return this.#roomsByNid.get(roomNid);
  }

  keepRoom(room: Room): void {
    this.#rooms.set(room.roomId, room);
    this.#roomsByNid.set(room.roomNid, room);
  }

  /** Where what is stored of the room has changed. */
  forgetRoom(roomId: RoomId): void {
    this.#changes += 1;
    const known = this.#rooms.get(roomId);
    if (known === undefined) return;
    this.#rooms.delete(roomId);
    this.#roomsByNid.delete(known.roomNid);
  }

  head(roomNid: number): RoomHead | undefined {
    return this.#heads.get(roomNid);
  }

  /** Keeps the head that a commit has made, or that was read; never in place of a newer one. */
  keepHead(roomNid: number, head: RoomHead): void {
    const known = this.#heads.get(roomNid);
    if (known !== undefined && known.rowVersion > head.rowVersion) return;
    this.#heads.set(roomNid, head);
  }

  /** The next who needs it reads it again. */
  dropHead(roomNid: number): void {
    this.#changes += 1;
    this.#heads.delete(roomNid);
  }

  /** Notes a part of a head's state; where there are too many, those before are forgotten. */
  keepInHead(head: RoomHead, key: string, nid: number | undefined): void {
    if (head.state.size >= HEAD_KEYS) head.state.clear();
    head.state.set(key, nid);
  }

  /** What a set of stored states was resolved to. */
  resolved(groups: readonly StateGroup[]): StateRef | undefined {
    return this.#resolved.get(keyOf(groups));
  }

  /** Goes up whenever what was resolved may resolve otherwise: noted before, and told to `keepResolved`. */
  get resolvedAnew(): number {
    return this.#resolvedAnew;
  }

  keepResolved(groups: readonly StateGroup[], state: StateRef, resolvedAnew: number): void {
    if (resolvedAnew === this.#resolvedAnew) this.#resolved.set(keyOf(groups), state);
  }

  /** Changes when events have gone from a room that were in its timeline. */
  purgesOf(roomNid: number): number {
    return this.#purges.peek(roomNid) ?? 0;
  }

  notePurge(roomNid: number): void {
    this.#purges.set(roomNid, this.purgesOf(roomNid) + 1);
  }

  joinedServers(roomNid: number): readonly ServerName[] | undefined {
    return this.#servers.get(roomNid);
  }

  keepJoinedServers(roomNid: number, servers: readonly ServerName[]): void {
    this.#servers.set(roomNid, servers);
  }

  dropJoinedServers(roomNid: number): void {
    this.#changes += 1;
    this.#servers.delete(roomNid);
  }
}

function keyOf(groups: readonly StateGroup[]): string {
  return [...groups].sort((a, b) => a - b).join();
}

/** A new, empty cache. */
export function createRoomCache(): RoomCache {
  return new RoomCache();
}

/**
 * The newest events of the rooms in use, as text, read once for all who sync. Only what a member may see
 * whoever they are is taken from here: everything else is asked for one by one (`timeline-part.ts`).
 */

import { stringAt } from '#keys/json.ts';
import type { RoomsContext } from '#rooms/context.ts';
import { loadNids } from '#rooms/load.ts';
import { stateOfGroup } from '#rooms/room-head.ts';
import type { StoredEvent } from '#rooms/stored-event.ts';
import { afterGaps } from '#rooms/timeline.ts';
import { Lru } from '#storage/lru.ts';
import type { StateGroup } from '#storage/state-groups.ts';
import * as timeline from '#storage/timeline.ts';
import { type EventText, eventText, textsOf } from './format.ts';
import { formatToken } from './token.ts';

interface RecentEvent {
  readonly text: EventText;
  readonly position: number;
  /** True where the history was visible to all who are joined, at that event. */
  readonly isOpen: boolean;
  /** True where the events before it are not those that it follows. */
  readonly isAfterGap: boolean;
}

/** Before the first position. History that was fetched later stands before it: it is no news, but for /messages. */
export const BEGINNING = 0;

export interface Range {
  /** Exclusive. */
  readonly after: number;
  /** Inclusive. */
  readonly upto: number;
  /** The newest so many. */
  readonly limit: number;
}

export interface RoomRef {
  readonly roomNid: number;
  readonly roomId: string;
}

/** Some of a room's newest events, oldest first. */
export interface RecentPart {
  readonly events: readonly StoredEvent[];
  readonly texts: readonly EventText[];
  /** True where the history was visible to all who are joined, at each of the events. */
  readonly isOpen: boolean;
  /** The position before the first event; the end of the range where there is none. */
  readonly start: number;
  /** True where there are more in the range, or the first follows events that are not there. */
  readonly limited: boolean;
  /** The events as a JSON list, for a reader who was joined at each event and sent none of them by transaction. */
  json(now: number): string;
  /** `timeline` of the room, with the same. */
  timeline(now: number): string;
}

const MOST_ROOMS = 2_000;
const MOST_WEIGHT = 48 * 1024 * 1024;
/** Read at first, and kept at least: one more than are asked for, between these. */
const FEWEST_EVENTS = 21;
const FIRST_EVENTS = 50;
/** Kept at most. */
const MOST_EVENTS = 1_000;
const MOST_PARTS = 16;
const NOTHING_READ = -1;
/** Readings in a row where something stored changes again and again. */
const MOST_ROUNDS = 5;
const RESTRICTED_VISIBILITIES: ReadonlySet<string> = new Set(['joined', 'invited']);
const VISIBILITY_KEY = { type: 'm.room.history_visibility', stateKey: '' };

export class RecentTimelines {
  readonly #ctx: RoomsContext;
  readonly #rooms = new Lru<number, RecentTimeline>({
    maxEntries: MOST_ROOMS,
    maxWeight: MOST_WEIGHT,
    weigh: (room) => room.weight,
  });

  constructor(ctx: RoomsContext) {
    this.#ctx = ctx;
  }

  /** The events of a range, where all of them are in memory. */
  known({ roomNid }: RoomRef, range: Range): RecentPart | undefined {
    const room = this.#rooms.get(roomNid);
    return room?.reaches(range.upto) === true ? room.part(range) : undefined;
  }

  /** The events of a range; undefined where they are not all in memory, nor easily read into it. */
  async part({ roomNid, roomId }: RoomRef, range: Range): Promise<RecentPart | undefined> {
    const room = this.#rooms.get(roomNid) ?? new RecentTimeline(this.#ctx, { roomNid, roomId });
    const before = room.weight;
    await room.readUpto(range.upto, Math.min(Math.max(range.limit + 1, FEWEST_EVENTS), FIRST_EVENTS));
    if (room.weight !== before) this.#rooms.set(roomNid, room);
    return room.part(range);
  }
}

class RecentTimeline {
  readonly #ctx: RoomsContext;
  readonly #roomNid: number;
  readonly #key: string;
  /** By position; all that the room has after `#from` and up to `#upto`. */
  #events: RecentEvent[] = [];
  #from = 0;
  #upto = NOTHING_READ;
  /** How many it holds at least, where the room has so many. */
  #depth = FEWEST_EVENTS;
  #weight = 0;
  /** `ctx.rooms.changes` when the events were last known to be as they are stored. */
  #changes = -1;
  #reading: Promise<void> | undefined;
  readonly #openGroups = new Lru<StateGroup, boolean>({ maxEntries: 64 });
  readonly #parts = new Lru<string, Part>({ maxEntries: MOST_PARTS });
  /** The one that was asked for last: all whom an event wakes ask for the same. */
  #newest: Part | undefined;

  constructor(ctx: RoomsContext, { roomNid, roomId }: RoomRef) {
    this.#ctx = ctx;
    this.#roomNid = roomNid;
    this.#key = `room:${roomId}`;
  }

  /** About how many bytes it holds. */
  get weight(): number {
    return this.#weight;
  }

  /** True where all is here up to a position, as it is stored. */
  reaches(upto: number): boolean {
    this.#advance(upto);
    return this.#upto >= upto && !this.#isStale();
  }

  /** Mostly something has happened elsewhere. */
  #advance(upto: number): void {
    if (this.#upto === NOTHING_READ || this.#upto >= upto) return;
    if (!this.#ctx.streams.mayConcern(this.#key, this.#upto)) this.#upto = upto;
  }

  /** Reads what came since the last time, and as many at least, once for all who ask at the same time. */
  async readUpto(upto: number, depth: number): Promise<void> {
    if (depth > this.#depth) {
      this.#depth = depth;
      // To be read again: where it is being read already, that is too little.
      if (this.#from > BEGINNING) this.#changes = NOTHING_READ;
    }
    this.#advance(upto);
    // Each round waits for a reading that began before; the next is then mostly not needed.
    for (let round = 0; this.#upto < upto || (round < MOST_ROUNDS && this.#isStale()); round++) {
      this.#reading ??= this.#read(upto).finally(() => {
        this.#reading = undefined;
      });
      await this.#reading;
    }
  }

  part(range: Range): Part | undefined {
    if (this.#newest?.isOf(range) === true) return this.#newest;
    const { after, upto, limit } = range;
    const key = `${after} ${upto} ${limit}`;
    const known = this.#parts.get(key);
    if (known !== undefined) {
      this.#newest = known;
      return known;
    }
    const end = this.#indexAfter(upto);
    const first = this.#indexAfter(after);
    const newest = this.#events.slice(Math.max(first, end - limit), end);
    // Where memory begins within the range, a full page and one more show that it is limited.
    if (after < this.#from && end - limit < 1) return undefined;
    // "Limited" is also what hides a gap of the room's graph: clients show what is in one timeline as one line.
    const gap = newest.findLastIndex(({ isAfterGap }) => isAfterGap);
    const events = gap > 0 ? newest.slice(gap) : newest;
    const limited = end - events.length > first || gap >= 0 || isCutOff(after, events[0]?.text.stored);
    const part = new Part(events, limited, range);
    this.#parts.set(key, part);
    this.#newest = part;
    return part;
  }

  /** Something stored has changed: it may have been one of these events, by a redaction. */
  #isStale(): boolean {
    const { rooms } = this.#ctx;
    if (this.#changes === rooms.changes) return false;
    if (this.#from > BEGINNING && this.#events.length < this.#depth) return true;
    if (this.#events.some(({ text }) => rooms.event(text.stored.nid) !== text.stored)) return true;
    this.#changes = rooms.changes;
    return false;
  }

  async #read(upto: number): Promise<void> {
    if (this.#upto === NOTHING_READ || this.#isStale()) await this.#readAgain(Math.max(upto, this.#upto));
    else await this.#readOn(upto);
  }

  async #readAgain(upto: number): Promise<void> {
    const { changes } = this.#ctx.rooms;
    const depth = this.#depth;
    const nids = await this.#newestNids(BEGINNING, upto, depth);
    const events = await this.#load(nids.slice(0, depth).reverse());
    this.#parts.clear();
    this.#newest = undefined;
    this.#changes = changes;
    this.#events = events;
    this.#from = nids.length > depth ? (events[0]?.position ?? upto + 1) - 1 : BEGINNING;
    this.#upto = upto;
    this.#weight = weightOf(events);
  }

  async #readOn(upto: number): Promise<void> {
    const nids = await this.#newestNids(this.#upto, upto, MOST_EVENTS);
    if (nids.length > MOST_EVENTS) return this.#readAgain(upto);
    const events = await this.#load(nids.reverse());
    this.#events.push(...events);
    this.#upto = upto;
    this.#weight += weightOf(events);
    if (this.#events.length <= MOST_EVENTS) return;
    this.#events.splice(0, this.#events.length - MOST_EVENTS / 2);
    this.#from = (this.#events[0]?.position ?? upto + 1) - 1;
    this.#weight = weightOf(this.#events);
  }

  #newestNids(after: number, upto: number, limit: number): Promise<number[]> {
    const range = { after, upto, direction: 'b', limit: limit + 1 } as const;
    return timeline.eventNids(this.#ctx.db, this.#roomNid, range);
  }

  async #load(nids: readonly number[]): Promise<RecentEvent[]> {
    if (nids.length === 0) return [];
    const loaded = await loadNids(this.#ctx, nids);
    const stored = nids.map((nid) => loaded.get(nid)).filter((event) => event !== undefined);
    const texts = await textsOf(this.#ctx, stored);
    const gapped = await afterGaps(this.#ctx, stored);
    const events: RecentEvent[] = [];
    for (const text of texts) {
      const { nid, position = 0 } = text.stored;
      const isOpen = await this.#isOpen(text.stored);
      events.push({ text, position, isOpen, isAfterGap: gapped.has(nid) });
    }
    return events;
  }

  /** By the state after the event, which for most events is that after the one before, or says the same of this. */
  async #isOpen({ event, stateBefore, stateAfter }: StoredEvent): Promise<boolean> {
    if (stateAfter === undefined) return false;
    const isChange = event.type === VISIBILITY_KEY.type && event.stateKey === VISIBILITY_KEY.stateKey;
    const before = stateBefore === undefined || isChange ? undefined : this.#openGroups.get(stateBefore);
    const known = this.#openGroups.get(stateAfter) ?? before;
    if (known !== undefined) {
      this.#openGroups.set(stateAfter, known);
      return known;
    }
    const [stored] = (await stateOfGroup(this.#ctx, stateAfter, [VISIBILITY_KEY])).values();
    const value = stored === undefined ? undefined : stringAt(stored.event.content, 'history_visibility');
    // "If no history_visibility is set, or if the value is not understood, the visibility is assumed to be shared."
    const isOpen = value === undefined || !RESTRICTED_VISIBILITIES.has(value);
    this.#openGroups.set(stateAfter, isOpen);
    return isOpen;
  }

  /** How many events are at or before the position. */
  #indexAfter(position: number): number {
    const events = this.#events;
    let low = 0;
    let high = events.length;
    while (low < high) {
      const middle = (low + high) >>> 1;
      if ((events[middle]?.position ?? 0) <= position) low = middle + 1;
      else high = middle;
    }
    return low;
  }
}

function weightOf(events: readonly RecentEvent[]): number {
  return events.reduce((sum, { text }) => sum + 2 * text.head.length + 300, 1_000);
}

class Part implements RecentPart {
  readonly events: readonly StoredEvent[];
  readonly texts: readonly EventText[];
  readonly isOpen: boolean;
  readonly limited: boolean;
  readonly start: number;
  readonly #range: Range;
  #written: { readonly json: string; readonly timeline: string; readonly at: number } | undefined;

  constructor(events: readonly RecentEvent[], limited: boolean, range: Range) {
    this.#range = range;
    this.texts = events.map(({ text }) => text);
    this.events = this.texts.map(({ stored }) => stored);
    this.isOpen = events.every(({ isOpen }) => isOpen);
    this.limited = limited;
    this.start = events[0] === undefined ? range.upto : events[0].position - 1;
  }

  isOf({ after, upto, limit }: Range): boolean {
    const own = this.#range;
    return own.upto === upto && own.after === after && own.limit === limit;
  }

  json(now: number): string {
    return this.#writtenAt(now).json;
  }

  timeline(now: number): string {
    return this.#writtenAt(now).timeline;
  }

  #writtenAt(now: number): { readonly json: string; readonly timeline: string } {
    // The ages are as of the first who asked; those who wait for the same events ask within moments.
    if (this.#written !== undefined && now - this.#written.at < 1_000) return this.#written;
    const shown = { now, membership: 'join', showsPrevContent: true };
    const json = listJson(this.texts.map((text) => eventText(text, shown)));
    const { limited, start } = this;
    this.#written = { json, timeline: timelineJson({ json, limited, start }), at: now };
    return this.#written;
  }
}

/**
 * True where a timeline goes back as far as it may and does not begin with the room: what was before our server
 * joined is for /messages.
 */
export function isCutOff(after: number, first: StoredEvent | undefined): boolean {
  return after === BEGINNING && first !== undefined && first.event.type !== 'm.room.create';
}

/** A list of what is JSON already. */
export function listJson(texts: readonly string[]): string {
  return `[${texts.join(',')}]`;
}

/** `timeline` of a room; `json` is the list of its events. */
export function timelineJson({
  json,
  limited,
  start,
}: {
  readonly json: string;
  readonly limited: boolean;
  readonly start: number;
}): string {
  return `{"events":${json},"limited":${limited},"prev_batch":"${formatToken(start)}"}`;
}

/** The unread events of one user in one room that notify, as far as the room was looked through. */

import { isObject, type JsonObject, own } from '#keys/json.ts';
import type { StoredEvent } from '#rooms/stored-event.ts';
import { isRead, type ReadUpto } from './read-upto.ts';
import type { Effect } from './rule-steps.ts';

export interface UnreadEvent {
  readonly nid: number;
  readonly position: number;
  /** `main`, or the root of its thread. */
  readonly thread: string;
  readonly highlight: boolean;
}

/** An event outside of threads, and what it does: an own one says that the user has read. */
export interface PlainEvent {
  readonly stored: Pick<StoredEvent, 'nid' | 'position'>;
  readonly does: Effect | 'reads';
}

export interface Counts {
  readonly notifications: number;
  readonly highlights: number;
}

/** By thread, `main` or a root; a thread without unread events is absent. */
export type ThreadCounts = ReadonlyMap<string, Counts>;

/** What the counted events depend on: with another one they are counted anew. */
export interface CountedBy {
  /** `UserRules.keyFor`. */
  readonly rules: string;
  /** `memberCountKey`, where it was of importance for an event. */
  members: string | undefined;
}

/** A room with more unread events is counted by the newest: clients do not show higher numbers. */
export const MOST_EVENTS = 1_000;
const FORMAT = 1;
const NO_COUNTS: ThreadCounts = new Map();
/** The thread of what is in none. */
export const MAIN = 'main';

export class CountedEvents {
  readonly by: CountedBy;
  /** The room was looked through up to here. */
  upto: number;
  /** The thread of some event follows from other events, of which one may be redacted. */
  isIndirect = false;
  /** `RoomCache.purgesOf`: with another one some event may be gone. */
  purges = 0;
  /** Events looked through since this was last written to disk. */
  unwritten = 0;
  /** Its size when its room in memory was last measured. */
  measured = 0;
  /** Where the counts changed last otherwise than by an event or a receipt. */
  recountedAt = 0;
  #events: UnreadEvent[] = [];
  #read: ReadUpto | undefined;
  #counts: ThreadCounts | undefined;

  constructor(by: CountedBy, upto: number) {
    this.by = by;
    this.upto = upto;
  }

  get size(): number {
    return this.#events.length;
  }

  /** Adds an event, which comes after all others. */
  add(event: UnreadEvent): void {
    this.#events.push(event);
    if (this.#events.length > MOST_EVENTS) {
      this.#events.shift();
      this.#counts = undefined;
    }
    if (this.#counts !== undefined) this.#counts = withOneMore(this.#counts, event);
  }

  /** Takes in a plain event, which comes after all others. */
  take({ stored: { nid, position }, does }: PlainEvent, read: ReadUpto): void {
    if (does === 'reads') this.readThread(MAIN);
    else if (does.notify && position !== undefined && !isRead(read, { position, thread: MAIN }))
      this.add({ nid, position, thread: MAIN, highlight: does.highlight });
  }

  /** Takes in what is unread of events after a position, which come after all others. */
  takeAll(unread: readonly UnreadEvent[], after: number, read: ReadUpto): void {
    for (const event of unread) {
      if (event.position > after && !isRead(read, event)) this.add(event);
    }
  }

  remove(nid: number): void {
    this.#keep((event) => event.nid !== nid);
  }

  /** The user has written in a thread. */
  readThread(thread: string): void {
    this.#keep((event) => event.thread !== thread);
  }

  clear(): void {
    this.#keep(() => false);
  }

  /** Leaves out what is read by now. */
  readUpto(read: ReadUpto): void {
    if (this.#read === read) return;
    // Whoever reads along has little to look through after a restart.
    if (this.#read !== undefined && read.everywhere > this.#read.everywhere) this.unwritten = 0;
    this.#read = read;
    this.#keep((event) => !isRead(read, event));
  }

  /** How many there are up to a position. */
  counts(upto: number): ThreadCounts {
    const isAll = (this.#events.at(-1)?.position ?? 0) <= upto;
    if (!isAll) return countsOf(this.#events.filter(({ position }) => position <= upto));
    this.#counts ??= countsOf(this.#events);
    return this.#counts;
  }

  /** What is written to disk. */
  toJson(): object {
    const threads = [...new Set(this.#events.map(({ thread }) => thread))];
    const indexes = new Map(threads.map((thread, index) => [thread, index]));
    return {
      format: FORMAT,
      ...this.by,
      upto: this.upto,
      is_indirect: this.isIndirect,
      threads,
      // Flat, since there may be thousands.
      events: this.#events.flatMap(({ nid, position, thread, highlight }) => [
        ...[nid, position, indexes.get(thread) ?? 0, highlight ? 1 : 0],
      ]),
    };
  }

  /** What was written; undefined for what an other version has written. */
  static fromJson(json: JsonObject): CountedEvents | undefined {
    if (!isObject(json) || json.format !== FORMAT || typeof json.upto !== 'number') return undefined;
    const members = own(json, 'members');
    const by = { rules: String(json.rules), members: typeof members === 'string' ? members : undefined };
    const counted = new CountedEvents(by, json.upto);
    counted.isIndirect = json.is_indirect === true;
    const threads = json.threads as readonly string[];
    const events = json.events as readonly number[];
    for (let at = 0; at < events.length; at += 4) {
      const [nid = 0, position = 0, thread = 0, highlight = 0] = events.slice(at, at + 4);
      counted.#events.push({ nid, position, thread: threads[thread] ?? MAIN, highlight: highlight === 1 });
    }
    return counted;
  }

  #keep(isKept: (event: UnreadEvent) => boolean): void {
    const kept = this.#events.filter(isKept);
    if (kept.length === this.#events.length) return;
    this.#events = kept;
    this.#counts = undefined;
  }
}

function countsOf(events: readonly UnreadEvent[]): ThreadCounts {
  if (events.length === 0) return NO_COUNTS;
  const counts = new Map<string, { notifications: number; highlights: number }>();
  for (const { thread, highlight } of events) {
    let ofThread = counts.get(thread);
    if (ofThread === undefined) {
      ofThread = { notifications: 0, highlights: 0 };
      counts.set(thread, ofThread);
    }
    ofThread.notifications += 1;
    if (highlight) ofThread.highlights += 1;
  }
  return counts;
}

function withOneMore(before: ThreadCounts, { thread, highlight }: UnreadEvent): ThreadCounts {
  const { notifications = 0, highlights = 0 } = before.get(thread) ?? {};
  const ofThread = { notifications: notifications + 1, highlights: highlights + (highlight ? 1 : 0) };
  return new Map(before).set(thread, ofThread);
}

export function areSameCounts(a: ThreadCounts, b: ThreadCounts): boolean {
  return (
    a.size === b.size &&
    a.entries().every(([thread, counts]) => {
      const other = b.get(thread);
      return other?.notifications === counts.notifications && other.highlights === counts.highlights;
    })
  );
}

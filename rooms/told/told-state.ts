/**
 * The state of a room and its auth chains as another server tells them, each event verified: the texts in a spool, in
 * memory only what the events are called and what they cite.
 */

import type { EventId } from '#keys/ids.ts';
import { GrowingNumbers } from '#storage/growing-numbers.ts';
import { Spool } from '#storage/spool.ts';
import type { Event } from '../event.ts';
import { referenceHash } from '../hashes.ts';
import { keptEvent } from '../stored-event.ts';
import type { VerifiedEvent } from '../verified-event.ts';
import type { RoomVersionRules } from '../versions.ts';

export type ToldList = 'state' | 'auth_chain';

export class ToldState implements Disposable {
  readonly #rules: RoomVersionRules;
  readonly #spool = new Spool();
  /** Numbers of events that were told, or only cited so far. */
  readonly #numbers = new Map<EventId, number>();
  readonly #ids: EventId[] = [];
  /** By the number of an event: its text's number in the spool, -1 while it is only cited. */
  readonly #texts = new GrowingNumbers();
  /** By the number of an event: where in `#cited` the numbers begin of what it cites, and how many they are. */
  readonly #citedFrom = new GrowingNumbers();
  readonly #citedCount = new GrowingNumbers();
  readonly #cited = new GrowingNumbers();
  readonly #citations = new GrowingNumbers();
  /** Numbers of state keys, by type and state key. */
  readonly #keys = new Map<string, Map<string, number>>();
  #keyCount = 0;
  /** The state in the order in which it was told: numbers of events, and of their keys. */
  readonly #stateEvents = new GrowingNumbers();
  readonly #stateKeys = new GrowingNumbers();
  readonly #creates: number[] = [];
  readonly #told = new GrowingNumbers();
  /** v1, v2: what tells events of the same id apart. */
  readonly #hashes = new Map<number, Buffer>();
  readonly #replaced = new Map<number, Event>();

  constructor(rules: RoomVersionRules) {
    this.#rules = rules;
  }

  /** Adds events of one list, in their order. */
  add(list: ToldList, events: readonly VerifiedEvent[]): void {
    const texts: string[] = [];
    for (const event of events) {
      const number = this.#numberOf(event.eventId);
      if (this.#isAnother(number, event)) continue;
      const known = this.#texts.at(number, -1);
      // Of two copies one may have lost what its hash did not cover: the other is the longer.
      if (known === -1 || this.#lengthOf(known, texts) < Buffer.byteLength(event.json)) {
        this.#texts.set(number, this.#spool.size + texts.length);
        texts.push(event.json);
      }
      if (known === -1) this.#note(number, event);
      if (list === 'state' && event.stateKey !== undefined) {
        this.#stateEvents.push(number);
        this.#stateKeys.push(this.#keyOf(event.type, event.stateKey));
      }
    }
    if (texts.length > 0) this.#spool.append(texts);
  }

  /** How many events have numbers: those that were told, and those that are only cited. */
  get size(): number {
    return this.#ids.length;
  }

  /** How many state keys have numbers. */
  get keys(): number {
    return this.#keyCount;
  }

  /** The numbers of all events that were told, in the order in which they came. */
  get told(): GrowingNumbers {
    return this.#told;
  }

  /** The create events among them. */
  get creates(): readonly number[] {
    return this.#creates;
  }

  /** The state, in the order in which it was told. */
  *state(): Generator<{ readonly event: number; readonly key: number }> {
    for (let index = 0; index < this.#stateEvents.length; index++)
      yield { event: this.#stateEvents.at(index), key: this.#stateKeys.at(index) };
  }

  /** The number of a state key; undefined where no event of the state has it. */
  keyNumber(type: string, stateKey: string): number | undefined {
    return this.#keys.get(type)?.get(stateKey);
  }

  /** The number of an event that was told. */
  find(eventId: EventId): number | undefined {
    const number = this.#numbers.get(eventId);
    return number !== undefined && this.isTold(number) ? number : undefined;
  }

  /** False for an event that others only cite. */
  isTold(number: number): boolean {
    return this.#texts.at(number, -1) !== -1;
  }

  idOf(number: number): EventId {
    const eventId = this.#ids[number];
    if (eventId === undefined) throw new RangeError(`there is no event ${number}`);
    return eventId;
  }

  /** The numbers of an event's auth events, told or not. */
  authOf(number: number): readonly number[] {
    const from = this.#citedFrom.at(number);
    const to = from + this.#citedCount.at(number);
    const cited: number[] = [];
    for (let index = from; index < to; index++) cited.push(this.#cited.at(index));
    return cited;
  }

  /** How many of the events that were told cite this one. */
  citationsOf(number: number): number {
    return this.#citations.at(number);
  }

  /**
   * v1, v2: servers choose the ids of their events, so that two events may have the same one. Another event, stored
   * before, takes the place of the one that was told.
   */
  replace(number: number, event: Event): void {
    this.#replaced.set(number, event);
    for (let index = 0; index < this.#stateEvents.length; index++) {
      if (this.#stateEvents.at(index) !== number) continue;
      // Of an event that is none of the state nothing will find the key.
      this.#stateKeys.set(index, this.#keyOf(event.type, event.stateKey ?? '\0'));
    }
  }

  /** Events that were told, by their numbers, in that order. */
  read(numbers: readonly number[]): Event[] {
    const texts = this.#spool.read(numbers.map((number) => this.#texts.at(number, -1)));
    return numbers.map((number, index) => {
      const replaced = this.#replaced.get(number);
      if (replaced !== undefined) return replaced;
      return keptEvent(texts[index] ?? '', this.#rules, this.idOf(number));
    });
  }

  [Symbol.dispose](): void {
    this.#spool[Symbol.dispose]();
  }

  /** Of a text in the spool, or one that goes there next. */
  #lengthOf(text: number, next: readonly string[]): number {
    const { size } = this.#spool;
    return text < size ? this.#spool.lengthOf(text) : Buffer.byteLength(next[text - size] ?? '');
  }

  /** v1, v2: true where another event of the same id came before: the first one counts. */
  #isAnother(number: number, event: Event): boolean {
    if (this.#rules.eventIds !== 'chosen') return false;
    const hash = referenceHash(event.pdu, event.rules);
    const known = this.#hashes.get(number);
    if (known === undefined) this.#hashes.set(number, hash);
    return known !== undefined && !known.equals(hash);
  }

  #note(number: number, event: Event): void {
    this.#told.push(number);
    const cited = event.authEvents.map((eventId) => this.#numberOf(eventId));
    for (const authEvent of cited) this.#citations.set(authEvent, this.citationsOf(authEvent) + 1);
    this.#citedFrom.set(number, this.#cited.length);
    this.#citedCount.set(number, cited.length);
    for (const authEvent of cited) this.#cited.push(authEvent);
    if (event.type === 'm.room.create') this.#creates.push(number);
  }

  #numberOf(eventId: EventId): number {
    const known = this.#numbers.get(eventId);
    if (known !== undefined) return known;
    const number = this.#ids.length;
    this.#numbers.set(eventId, number);
    this.#ids.push(eventId);
    this.#texts.push(-1);
    this.#citedFrom.push(0);
    this.#citedCount.push(0);
    this.#citations.push(0);
    return number;
  }

  #keyOf(type: string, stateKey: string): number {
    let ofType = this.#keys.get(type);
    if (ofType === undefined) {
      ofType = new Map();
      this.#keys.set(type, ofType);
    }
    const known = ofType.get(stateKey);
    if (known !== undefined) return known;
    const number = this.#keyCount;
    this.#keyCount += 1;
    ofType.set(stateKey, number);
    return number;
  }
}

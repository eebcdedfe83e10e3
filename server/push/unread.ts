/**
 * How many unread events of a room notify a user:
 * https://spec.matrix.org/v1.19/client-server-api/#receiving-notifications
 *
 * Nothing is written when an event is sent, however many members the room has. Whoever syncs looks through what came
 * to the room since they last did, with their rules of now:
 *
 * 1. Up to where has the user read? By receipts, or since they joined; `read-upto.ts`.
 * 2. What was counted already is in memory, or in a checkpoint on disk. It counts as long as the rules that it was
 *    counted by are the same, and what these ask of the number of members has the same answer. Otherwise the room is
 *    counted anew from where the user has read to.
 * 3. Of the events since, those count that are of somebody else, whom the user does not ignore, are visible, not
 *    redacted, and match a rule that notifies. An own message marks its thread as read: "either by using the API or by
 *    sending an event".
 * 4. What is redacted counts no more.
 *
 * A room of which more than `MOST_EVENTS` events are unread is counted by the newest of them.
 */

import type { RoomId, UserId } from '#keys/ids.ts';
import { own } from '#keys/json.ts';
import type { RoomsContext } from '#rooms/context.ts';
import type { Event } from '#rooms/event.ts';
import { loadEvent, loadNids } from '#rooms/load.ts';
import { relationOf } from '#rooms/relations/relation.ts';
import { threadOf } from '#rooms/relations/thread.ts';
import { portionsOf, Slices } from '#rooms/slices.ts';
import type { StoredEvent } from '#rooms/stored-event.ts';
import { visibleTo } from '#rooms/visibility.ts';
import { KeyedQueue } from '#storage/locks.ts';
import { Lru } from '#storage/lru.ts';
import type { Placed } from '#storage/timeline.ts';
import {
  areSameCounts,
  CountedEvents,
  MOST_EVENTS,
  type PlainEvent,
  type ThreadCounts,
} from './counted-events.ts';
import { CountedRooms, unreadKey } from './counted-rooms.ts';
import type { DefaultRuleOptions } from './default-rules.ts';
import { effectOf, effectOffhand, memberCountKey } from './evaluate.ts';
import { OpenHistory } from './open-history.ts';
import { type PlainRoom, PlainRooms } from './plain-rooms.ts';
import { isRead, type ReadUpto, readUptoIn, readUptoOf } from './read-upto.ts';
import { RecentEvents } from './recent-events.ts';
import { factsAt, MemberCounts } from './room-facts.ts';
import type { Effect } from './rule-steps.ts';
import { RulesOfUsers, relevantTo, type UserRules } from './user-rules.ts';

export interface Unread {
  readonly threads: ThreadCounts;
  /** The position at which they last changed, unless by an event. */
  readonly changedAt: number;
}

export interface CountedRoom {
  readonly roomNid: number;
  readonly roomId: RoomId;
  /** Of the streams, where it is put together already. */
  readonly keys?: { readonly any: string };
}

/** A room that a user is in, and since which position without a break. */
interface JoinedPlace extends CountedRoom {
  readonly joinedPosition: number;
}

/** One user in one room, while it is counted. */
interface Counting {
  readonly room: CountedRoom;
  readonly rules: UserRules;
  readonly read: ReadUpto;
}

const MOST_ROOMS = 50_000;
/** Looked through at once, without giving others their turn. */
const MOST_NOW = 50;

export class UnreadCounts {
  readonly rules: RulesOfUsers;
  readonly members: MemberCounts;
  readonly #ctx: RoomsContext;
  readonly #queue = new KeyedQueue();
  readonly #counted: CountedRooms;
  readonly #read = new Lru<string, { readonly read: ReadUpto; asOf: number }>({ maxEntries: MOST_ROOMS });
  readonly #recent: RecentEvents;
  readonly #plain: PlainRooms;
  readonly #open: OpenHistory;

  constructor(ctx: RoomsContext, options: DefaultRuleOptions) {
    this.#ctx = ctx;
    this.rules = new RulesOfUsers(ctx, options);
    this.members = new MemberCounts(ctx);
    this.#counted = new CountedRooms(ctx);
    this.#recent = new RecentEvents(ctx, MOST_EVENTS + 1);
    this.#plain = new PlainRooms(ctx);
    this.#open = new OpenHistory(ctx);
  }

  /** What is unread in a room that the user is in, of what came up to a position. */
  async of(userId: UserId, room: CountedRoom, upto: number): Promise<Unread> {
    // One at a time: two devices may ask at once.
    return this.#queue.run(unreadKey(room.roomNid, userId), async () => {
      const rules = await this.rules.find(userId);
      const read = await this.#readUpto(userId, room);
      const counted = await this.#countOrForget({ room, rules, read }, upto);
      return unreadOf(counted, read, upto);
    });
  }

  /** The same, where all of it is in memory: undefined where something is to be read, or somebody else counts. */
  ofNow(userId: UserId, room: CountedRoom, upto: number): Unread | undefined {
    const rules = this.rules.known(userId);
    if (rules === undefined) return undefined;
    const key = unreadKey(room.roomNid, userId);
    const read = this.#knownRead(key, rules.userKey);
    if (read === undefined || this.#queue.isBusy(key)) return undefined;
    const counting = { room, rules, read };
    const counted = this.#counted.known(key);
    if (counted === undefined)
      return this.#counted.isAbsent(key) ? this.#firstNow(counting, upto) : undefined;
    if (this.#counted.isDue(counted) || read.everywhere > counted.upto) return undefined;
    if (!this.#isValidNow(counted, counting)) return undefined;
    const came = this.#cameNow(counted, counting, upto);
    if (came === undefined) return undefined;
    counted.readUpto(read);
    for (const plain of came) counted.take(plain, read);
    counted.upto = Math.max(counted.upto, upto);
    counted.unwritten += came.length;
    this.#counted.measure(room.roomNid, userId, counted);
    return unreadOf(counted, read, upto);
  }

  /** Of a room that was not counted yet, where what came counts for the user what it counts for others. */
  #firstNow(counting: Counting, upto: number): Unread | undefined {
    const { room, rules, read } = counting;
    const counted = this.#afresh(counting);
    counted.readUpto(read);
    const after = counted.upto;
    if (upto > after && this.#ctx.streams.mayConcern(roomKeyOf(room), after)) {
      const came = this.#recent.known(room, { after, upto });
      const plain = came && this.#plainOf(counting, came);
      if (came === undefined || plain === undefined) return undefined;
      counted.takeAll(plain.unread, after, read);
      counted.unwritten = came.length;
    }
    if (this.#counted.isDue(counted)) return undefined;
    counted.upto = Math.max(after, upto);
    this.#counted.keep(room.roomNid, rules.userId, counted);
    return unreadOf(counted, read, upto);
  }

  /** What some events count for all. Of more than are counted, which these are depends on the user. */
  #plainOf({ room, rules }: Counting, came: readonly Placed[]): PlainRoom | undefined {
    if (came.length > MOST_EVENTS) return undefined;
    return this.#plain.of(room.roomNid, rules, came, (stored) => this.#offhand(rules, stored));
  }

  /** What is to be looked through, where all of it is plain. */
  #cameNow(counted: CountedEvents, counting: Counting, upto: number): readonly PlainEvent[] | undefined {
    const { room, rules } = counting;
    const after = counted.upto;
    if (upto <= after || !this.#ctx.streams.mayConcern(roomKeyOf(room), after)) return [];
    const events = this.#recent.known(room, { after, upto });
    if (events === undefined || events.length > MOST_NOW) return undefined;
    const came: PlainEvent[] = [];
    for (const nid of relevantTo(rules, events)) {
      const stored = this.#ctx.rooms.event(nid);
      if (stored === undefined || stored.event.type === 'm.room.redaction') return undefined;
      const does = this.#offhand(rules, stored);
      if (does === undefined) return undefined;
      came.push({ stored, does });
    }
    return came;
  }

  /** What was counted in part only is counted anew the next time. */
  async #countOrForget(counting: Counting, upto: number): Promise<CountedEvents> {
    try {
      return await this.#count(counting, upto);
    } catch (error) {
      this.#counted.forget(counting.room.roomNid, counting.rules.userId);
      throw error;
    }
  }

  /** True where it is in memory what was counted of a room: then it is known what a change of the rules changes. */
  isCounted(userId: UserId, { roomNid }: CountedRoom): boolean {
    return this.#counted.isKnown(roomNid, userId);
  }

  async #readUpto(userId: UserId, { roomNid }: CountedRoom): Promise<ReadUpto> {
    const key = unreadKey(roomNid, userId);
    const known = this.#knownRead(key, `user:${userId}`);
    if (known !== undefined) return known;
    const asOf = this.#ctx.streams.upto();
    const read = await readUptoOf(this.#ctx, roomNid, userId);
    this.#read.set(key, { read, asOf });
    return read;
  }

  /**
   * Reads at once what is needed of some rooms, which will be asked for one after the other. `asOf`: the position as of
   * which the user is joined to them.
   */
  async prepare(userId: UserId, rooms: readonly JoinedPlace[], asOf: number): Promise<void> {
    const userKey = `user:${userId}`;
    const unread = rooms.filter(
      ({ roomNid }) => this.#knownRead(unreadKey(roomNid, userId), userKey) === undefined,
    );
    for (const portion of portionsOf(unread)) {
      const joined = new Map(portion.map(({ roomNid, joinedPosition }) => [roomNid, joinedPosition]));
      const found = await readUptoIn(this.#ctx, userId, joined);
      for (const [roomNid, read] of found) this.#read.set(unreadKey(roomNid, userId), { read, asOf });
    }
    for (const portion of portionsOf(rooms)) {
      await this.#counted.prepare(
        userId,
        portion.map(({ roomNid }) => roomNid),
      );
    }
  }

  /** By `unreadKey`, where nothing has concerned the user, by their key of the streams. */
  #knownRead(key: string, userKey: string): ReadUpto | undefined {
    const { streams } = this.#ctx;
    const known = this.#read.get(key);
    if (known === undefined || streams.mayConcern(userKey, known.asOf)) return undefined;
    known.asOf = streams.upto();
    return known.read;
  }

  async #count(counting: Counting, upto: number): Promise<CountedEvents> {
    const { read, room, rules } = counting;
    const known = await this.#counted.find(room.roomNid, rules.userId);
    const isValid = known !== undefined && (await this.#isValid(known, counting));
    const counted = isValid ? known : this.#afresh(counting);
    // All of it is read: no need to look through what was not looked through yet.
    if (read.everywhere > counted.upto) {
      counted.clear();
      counted.upto = read.everywhere;
    }
    counted.readUpto(read);
    const isSound = await this.#scan(counted, counting, { upto, isNew: !isValid });
    const current = isSound ? counted : await this.#countAnew(counting, upto);
    if (known !== undefined && current !== known) {
      const isSame = areSameCounts(known.counts(upto), current.counts(upto));
      current.recountedAt = isSame ? known.recountedAt : this.#ctx.streams.upto();
    }
    if (current === known) this.#counted.measure(room.roomNid, rules.userId, current);
    else this.#counted.keep(room.roomNid, rules.userId, current);
    await this.#counted.writeSometimes(room.roomNid, rules.userId, current);
    return current;
  }

  async #countAnew(counting: Counting, upto: number): Promise<CountedEvents> {
    const counted = this.#afresh(counting);
    counted.readUpto(counting.read);
    await this.#scan(counted, counting, { upto, isNew: true });
    return counted;
  }

  #afresh({ room, rules, read }: Counting): CountedEvents {
    const by = { rules: rules.keyFor(room.roomId), members: undefined };
    const counted = new CountedEvents(by, read.everywhere);
    counted.purges = this.#ctx.rooms.purgesOf(room.roomNid);
    return counted;
  }

  async #isValid({ by, purges }: CountedEvents, { room, rules }: Counting): Promise<boolean> {
    if (by.rules !== rules.keyFor(room.roomId) || purges !== this.#ctx.rooms.purgesOf(room.roomNid))
      return false;
    if (by.members === undefined) return true;
    return by.members === memberCountKey(rules.compiled, await this.members.of(room));
  }

  #isValidNow({ by, purges }: CountedEvents, { room, rules }: Counting): boolean {
    if (by.rules !== rules.keyFor(room.roomId) || purges !== this.#ctx.rooms.purgesOf(room.roomNid))
      return false;
    return by.members === undefined;
  }

  /** Looks through what came. False where what was counted before does not hold any more. */
  async #scan(
    counted: CountedEvents,
    counting: Counting,
    { upto, isNew }: { readonly upto: number; readonly isNew: boolean },
  ): Promise<boolean> {
    const { rules, read, room } = counting;
    const after = counted.upto;
    if (upto <= after) return true;
    counted.upto = upto;
    if (!this.#ctx.streams.mayConcern(roomKeyOf(room), after)) return true;
    const came = await this.#recent.read(room, { after, upto });
    if (came.length > MOST_EVENTS) counted.clear();
    counted.unwritten += came.length;
    const plain = this.#plainOf(counting, came);
    if (plain !== undefined && (isNew || !plain.hasRedactions)) {
      counted.takeAll(plain.unread, after, read);
      return true;
    }
    const slices = new Slices();
    for (const portion of portionsOf(relevantTo(rules, came.slice(-MOST_EVENTS)))) {
      const events = await loadNids(this.#ctx, portion);
      for (const nid of portion) {
        const stored = events.get(nid);
        if (stored === undefined) continue;
        // In order, since an own event marks as read what was before it.
        if (!isNew && stored.event.type === 'm.room.redaction') {
          if (!(await this.#follow(counted, counting, stored))) return false;
        }
        const does = this.#offhand(rules, stored);
        if (does === undefined) await this.#look(counted, counting, stored);
        else counted.take({ stored, does }, read);
      }
      await slices.rest();
    }
    return true;
  }

  /** After a redaction. False where it changes more than whether its target counts. */
  async #follow(counted: CountedEvents, { room, rules }: Counting, { event }: StoredEvent): Promise<boolean> {
    const target = event.redacts === undefined ? undefined : await loadEvent(this.#ctx, event.redacts);
    if (target?.roomNid !== room.roomNid || target.redactedBy === undefined) return true;
    counted.remove(target.nid);
    // An own event that is redacted marks nothing as read; and what relates to the event is in no thread through it.
    return target.event.sender !== rules.userId && !counted.isIndirect;
  }

  /** What an event does to the counts, where that follows from what is in memory: so it mostly does. */
  #offhand(rules: UserRules, stored: StoredEvent): PlainEvent['does'] | undefined {
    const { event, stateAfter } = stored;
    if (this.#saysNothing(rules, stored)) return NO_EFFECT;
    const isOwn = event.sender === rules.userId;
    const does = isOwn ? 'reads' : this.#effectOffhand(rules, event);
    if (does === undefined || (does !== 'reads' && !does.notify)) return does;
    if (own(event.content, 'm.relates_to') !== undefined) return undefined;
    const isVisible = isOwn || (stateAfter !== undefined && this.#open.isKnownAt(stateAfter));
    return isVisible ? does : undefined;
  }

  /** A new name becomes an event in every room, and who removes something old has not read what is new. */
  #saysNothing({ userId }: UserRules, { event, position, redactedBy }: StoredEvent): boolean {
    if (position === undefined || redactedBy !== undefined) return true;
    return event.sender === userId && (event.stateKey !== undefined || event.type === 'm.room.redaction');
  }

  #effectOffhand({ ignored, compiled }: UserRules, event: Event): Effect | undefined {
    return ignored.has(event.sender) ? NO_EFFECT : effectOffhand(compiled, event);
  }

  /** Counts an event, or what it marks as read. */
  async #look(counted: CountedEvents, counting: Counting, stored: StoredEvent): Promise<void> {
    const { rules, read } = counting;
    const { event, position, nid } = stored;
    if (position === undefined || this.#saysNothing(rules, stored)) return;
    const isOwn = event.sender === rules.userId;
    const effect = isOwn ? undefined : await this.#effectOf(counted, counting, stored);
    if (effect?.notify === false) return;
    const thread = await threadOf(this.#ctx, stored);
    const relation = relationOf(event.content);
    if (relation !== undefined && relation.relType !== 'm.thread') counted.isIndirect = true;
    if (effect === undefined) counted.readThread(thread);
    else if (!isRead(read, { position, thread }) && (await this.#isVisible(counting, stored)))
      counted.add({ nid, position, thread, highlight: effect.highlight });
  }

  async #effectOf(counted: CountedEvents, { room, rules }: Counting, stored: StoredEvent): Promise<Effect> {
    const { event } = stored;
    const effect = this.#effectOffhand(rules, event);
    if (effect !== undefined) return effect;
    const count = await this.members.of(room);
    const byCount = effectOf(rules.compiled, event, { memberCount: count });
    const facts = byCount === undefined ? await factsAt(this.#ctx, stored, rules.userId, count) : {};
    if (effectOf(rules.compiled, event, { ...facts, memberCount: undefined }) === undefined)
      counted.by.members = memberCountKey(rules.compiled, count);
    return byCount ?? effectOf(rules.compiled, event, facts) ?? NO_EFFECT;
  }

  /** True for most: the user is joined, and the history at most events is open to all who are. */
  async #isVisible({ room, rules }: Counting, stored: StoredEvent): Promise<boolean> {
    const { stateAfter } = stored;
    if (stateAfter === undefined) return false;
    if (await this.#open.isAt(stateAfter)) return true;
    const [isVisible] = await visibleTo(this.#ctx, room.roomNid, { userId: rules.userId }, [stored]);
    return isVisible === true;
  }
}

function roomKeyOf({ roomId, keys }: CountedRoom): string {
  return keys?.any ?? `room:${roomId}`;
}

function unreadOf(counted: CountedEvents, read: ReadUpto, upto: number): Unread {
  return { threads: counted.counts(upto), changedAt: Math.max(read.changedAt, counted.recountedAt) };
}

const NO_EFFECT: Effect = { notify: false, highlight: false };

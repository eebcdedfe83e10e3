/**
 * A client of sliding sync in `exact.test.ts`: it makes of the answers what MSC4186 says, with windows that it changes at
 * random, and checks what it has against what the server has.
 */

import assert from 'node:assert/strict';
import { parsePos } from '#server/sync/token.ts';
import type { Body, TestClient } from '#test/harness/client.ts';
import type { TestServer } from '#test/harness/server.ts';
import type { World } from '#test/server/sync/exact-deeds.ts';
import {
  answerTo,
  assertAlike,
  checkMessages,
  historyOf,
  type Reader,
  type ReaderRequest,
  readOn,
  sorted,
} from '#test/server/sync/exact-life.ts';
import { stateAt } from '#test/server/sync/exact-reader.ts';
import { type Asked, type AskedRooms, type FaceName, requestOf } from './face.ts';

type Dice = (sides: number) => number;

export interface SlidingManner {
  readonly face: FaceName;
  readonly connId: string;
  /** All state, or with members only where they are needed. */
  readonly lazy: boolean;
  /** False for a connection that is only for the rooms; true for one that is only for the device. */
  readonly device: 'with rooms' | 'alone' | 'not';
}

interface Seen {
  /** Event ids, oldest first, with what was read back where something was left out. */
  timeline: string[];
  readonly state: Map<string, string>;
  readonly counts: Record<string, number>;
}

const LIMITS = [1, 3, 20];

export class SlidingReader implements Reader {
  readonly client: TestClient;
  readonly server: TestServer;
  readonly manner: SlidingManner;
  readonly rooms: readonly string[];
  readonly dice: Dice;
  readonly joined = new Map<string, Seen>();
  readonly invited = new Set<string>();
  readonly knocked = new Set<string>();
  /** By room, type and user, with the thread. */
  readonly receipts = new Map<string, string>();
  readonly accountData = new Map<string, string>();
  readonly messages: { readonly from: string; readonly number: number }[] = [];
  lists: Body;
  pos: string | undefined;
  inbox: string | undefined;

  constructor(
    where: { readonly server: TestServer; readonly client: TestClient },
    manner: SlidingManner,
    chance: { readonly rooms: readonly string[]; readonly dice: Dice },
  ) {
    this.server = where.server;
    this.client = where.client;
    this.manner = manner;
    this.rooms = chance.rooms;
    this.dice = chance.dice;
  }

  request(timeout: number, isLast: boolean): ReaderRequest {
    const { face, connId } = this.manner;
    const asked = { ...this.#asked(isLast), timeout };
    return { method: 'POST', ...requestOf(face, asked, { pos: this.pos, connId }) };
  }

  isQuiet(answer: Body): boolean {
    const { to_device: toDevice, e2ee: _, ...others } = answer.extensions;
    return (
      Object.keys(answer.rooms).length === 0 &&
      Object.keys(others).length === 0 &&
      (toDevice === undefined || toDevice.events.length === 0)
    );
  }

  #asked(isLast: boolean): Asked {
    const { device } = this.manner;
    const toDevice = { enabled: true, limit: 2, ...(this.inbox !== undefined && { since: this.inbox }) };
    const ofDevice = { to_device: toDevice, e2ee: { enabled: true } };
    if (device === 'alone') return { extensions: ofDevice };
    const ofRooms = {
      account_data: { enabled: true },
      receipts: { enabled: true },
      typing: { enabled: true },
    };
    return {
      lists: isLast ? { all: this.#config(5) } : this.#windows(),
      subscriptions: isLast || this.dice(3) > 0 ? {} : { [this.#anyRoom()]: this.#config() },
      extensions: { ...ofRooms, ...(device === 'with rooms' && ofDevice) },
    };
  }

  #windows(): NonNullable<Asked['lists']> {
    const first = this.dice(3);
    switch (this.dice(4)) {
      case 0:
        return { all: { ...this.#config(), range: [0, 0] } };
      case 1:
        return { top: { ...this.#config(), range: [0, 0] }, rest: { ...this.#config(), range: [1, 2] } };
      case 2:
        return { moving: { ...this.#config(), range: [first, first + this.dice(2)] } };
      default:
        return { all: this.#config() };
    }
  }

  #config(limit = LIMITS[this.dice(LIMITS.length)] ?? 1): AskedRooms {
    const own = ['m.room.member', this.client.userId] as const;
    return { limit, state: [['*', '*'], own], lazy: this.manner.lazy };
  }

  #anyRoom(): string {
    return this.rooms[this.dice(this.rooms.length)] ?? '';
  }

  async take(answer: Body): Promise<void> {
    for (const [roomId, room] of Object.entries<Body>(answer.rooms)) await this.#takeRoom(roomId, room);
    this.#takeExtensions(answer.extensions);
    this.lists = answer.lists;
    this.pos = answer.pos;
    for (const roomId of Object.keys(answer.rooms)) await this.#checkState(roomId);
  }

  async #takeRoom(roomId: string, room: Body): Promise<void> {
    const stripped: Body[] | undefined = room.invite_state ?? room.stripped_state;
    const membership = this.#membershipIn(room, stripped);
    if (membership === 'invite' || membership === 'knock') {
      this.#forget(roomId);
      (membership === 'invite' ? this.invited : this.knocked).add(roomId);
      return;
    }
    if (membership === 'leave' || membership === 'ban') {
      this.#forget(roomId);
      return;
    }
    this.invited.delete(roomId);
    this.knocked.delete(roomId);
    if (room.initial === true) this.joined.delete(roomId);
    const known = this.joined.get(roomId);
    assert.ok(known !== undefined || room.initial === true, `${this.#name}: ${roomId} begins in the middle`);
    const seen: Seen = known ?? { timeline: [], state: new Map(), counts: {} };
    this.joined.set(roomId, seen);
    const isExpanded = (room.expanded_timeline ?? room.unstable_expanded_timeline) === true;
    await this.#takeTimeline(roomId, room, { seen, isExpanded, isNew: known === undefined });
    for (const event of room.required_state ?? []) {
      const key = `${event.type} ${event.state_key}`;
      if (event.content === undefined) seen.state.delete(key);
      else seen.state.set(key, event.event_id);
    }
    for (const count of ['joined_count', 'invited_count', 'notification_count', 'highlight_count'])
      if (room[count] !== undefined) seen.counts[count] = room[count];
  }

  /** The experimental face tells of the user's own membership by its event. */
  #membershipIn(room: Body, stripped: Body[] | undefined): string | undefined {
    if (this.manner.face === 'stable') {
      assert.ok(room.membership, `${this.#name}: no membership`);
      return room.membership;
    }
    const isOwn = ({ type, state_key: key }: Body) => type === 'm.room.member' && key === this.client.userId;
    return (stripped ?? room.required_state ?? []).findLast(isOwn)?.content?.membership;
  }

  async #takeTimeline(
    roomId: string,
    room: Body,
    { seen, isExpanded, isNew }: { seen: Seen; isExpanded: boolean; isNew: boolean },
  ): Promise<void> {
    const told: string[] = (room.timeline ?? []).map((event: Body) => event.event_id);
    if (isNew) {
      seen.timeline = told;
      return;
    }
    const known = new Set(seen.timeline);
    if (isExpanded) {
      const first = told.indexOf(seen.timeline[0] ?? '');
      const last = told.indexOf(seen.timeline.at(-1) ?? '');
      if (first > 0) seen.timeline.unshift(...told.slice(0, first));
      if (last < 0 && seen.timeline.length > 0 && told.length > 0)
        seen.timeline.push(...(await this.#between(roomId, room.prev_batch, known)));
      seen.timeline.push(...told.slice(last + 1).filter((eventId) => !known.has(eventId)));
      return;
    }
    const between = room.limited === true ? await this.#between(roomId, room.prev_batch, known) : [];
    for (const eventId of [...between, ...told]) {
      assert.ok(!seen.timeline.includes(eventId), `${this.#name} is told ${eventId} twice`);
      seen.timeline.push(eventId);
    }
  }

  /** What is between a timeline and the events that are known, oldest first. */
  async #between(roomId: string, prevBatch: string, known: ReadonlySet<string>): Promise<string[]> {
    const ids: string[] = [];
    for (let from: string | undefined = prevBatch; from !== undefined; ) {
      const path: string = `/rooms/${encodeURIComponent(roomId)}/messages?dir=b&from=${from}&limit=20`;
      const page: Body = await this.client.get(path);
      for (const { event_id: eventId } of page.chunk) {
        if (known.has(eventId)) return ids.reverse();
        ids.push(eventId);
      }
      from = page.end;
    }
    return ids.reverse();
  }

  #forget(roomId: string): void {
    this.joined.delete(roomId);
    this.invited.delete(roomId);
    this.knocked.delete(roomId);
    for (const map of [this.receipts, this.accountData]) {
      for (const key of [...map.keys()]) if (key.startsWith(`${roomId} `)) map.delete(key);
    }
  }

  #takeExtensions({ account_data: account, receipts, to_device: toDevice }: Body): void {
    for (const { type, content } of account?.global ?? [])
      this.accountData.set(type, JSON.stringify(content));
    for (const [roomId, events] of Object.entries<Body>(account?.rooms ?? {})) {
      for (const { type, content } of events) {
        this.accountData.set(`${roomId} ${type}`, JSON.stringify(content));
      }
    }
    for (const [roomId, { content }] of Object.entries<Body>(receipts?.rooms ?? {})) {
      for (const [eventId, ofEvent] of Object.entries<Body>(content)) {
        for (const [kind, users] of Object.entries<Body>(ofEvent)) {
          for (const [userId, { thread_id: thread = '' }] of Object.entries<Body>(users)) {
            this.receipts.set(`${roomId} ${kind} ${userId} ${thread}`, eventId);
          }
        }
      }
    }
    for (const { sender, content } of toDevice?.events ?? []) {
      this.messages.push({ from: sender, number: content.number });
    }
    this.inbox = toDevice?.next_batch ?? this.inbox;
  }

  /** The state of the client is that of the room at the end of the answer. */
  async #checkState(roomId: string): Promise<void> {
    const seen = this.joined.get(roomId)?.state;
    const point = parsePos(this.pos ?? '');
    if (seen === undefined || point === undefined) return;
    const actual = await stateAt(this.server, roomId, point.position);
    for (const key of new Set([...seen.keys(), ...actual.keys()])) {
      const ours = seen.get(key);
      if (ours === actual.get(key)) continue;
      const isMember = key.startsWith('m.room.member ');
      // Members that were not needed yet, and those of before something was left out.
      if (this.manner.lazy && isMember && key !== `m.room.member ${this.client.userId}`) continue;
      // That face cannot say that something is gone.
      if (this.manner.face === 'experimental' && !actual.has(key)) continue;
      assert.fail(`${this.#name}: ${key} of ${roomId} is ${ours}, in the room ${actual.get(key)}`);
    }
  }

  async checkWhole(world: World): Promise<void> {
    await readOn(this);
    if (this.manner.device !== 'not') checkMessages(this, world);
    if (this.manner.device === 'alone') return;
    const fresh = await this.#begun();
    const name = this.#name;
    const { joined_rooms: rooms } = await this.client.get('/joined_rooms');
    assert.deepEqual([...this.joined.keys()].sort(), rooms.sort(), `${name}: rooms`);
    assert.deepEqual([...this.invited].sort(), [...fresh.invited].sort(), `${name}: invitations`);
    assert.deepEqual([...this.knocked].sort(), [...fresh.knocked].sort(), `${name}: knocks`);
    assert.deepEqual(sorted(this.accountData), sorted(fresh.accountData), `${name}: account data`);
    assert.deepEqual(this.lists, fresh.lists, `${name}: counts of lists`);
    for (const [roomId, seen] of this.joined) {
      const all = await historyOf(this.client, roomId);
      const { timeline } = seen;
      assert.deepEqual(
        timeline,
        all.slice(all.length - timeline.length),
        `${name}: ${roomId} is the end of the history`,
      );
      assert.deepEqual(seen.counts, fresh.joined.get(roomId)?.counts, `${name}: counts of ${roomId}`);
    }
    this.#checkReceipts(fresh);
    await assertAlike(() => this.#askAgain(), `${name}: asked again`);
  }

  /**
   * A client that begins is told the receipts for the events that it is told, and its own. Of several of a user for one
   * event there is room for one, which is the unthreaded one.
   */
  #checkReceipts({ receipts }: SlidingReader): void {
    for (const [key, eventId] of receipts) {
      if (key.endsWith(' main')) continue;
      assert.equal(this.receipts.get(key), eventId, `${this.#name}: receipt ${key}`);
    }
  }

  async #askAgain(): Promise<Body> {
    return { ...(await answerTo(this.client, this.request(0, true))), pos: '' };
  }

  /** One that begins now, on a connection of its own; it leaves the messages of the device alone. */
  async #begun(): Promise<SlidingReader> {
    const manner = { ...this.manner, connId: `${this.manner.connId} anew`, device: 'not' } as const;
    const { rooms, dice } = this;
    const fresh = new SlidingReader(this, manner, { rooms, dice });
    await readOn(fresh);
    return fresh;
  }

  get #name(): string {
    const { face, connId, lazy } = this.manner;
    return `${this.client.userId} (${face} ${connId}${lazy ? ', lazy' : ''})`;
  }
}

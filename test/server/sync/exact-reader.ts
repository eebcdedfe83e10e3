/** A client of `exact.test.ts`: it makes of the answers of /sync what the specification says, and checks each of them. */

import assert from 'node:assert/strict';
import { getRoom } from '#rooms/room.ts';
import { parseSyncToken } from '#server/sync/token.ts';
import * as currentState from '#storage/current-state.ts';
import * as events from '#storage/events.ts';
import * as memberships from '#storage/memberships.ts';
import type { Body, TestClient } from '#test/harness/client.ts';
import type { TestServer } from '#test/harness/server.ts';
import type { World } from './exact-deeds.ts';
import {
  assertAlike,
  checkMessages,
  historyOf,
  type Reader,
  type ReaderRequest,
  sorted,
} from './exact-life.ts';

/** How a reader asks. */
export interface Manner {
  readonly name: string;
  readonly filter: { readonly room: { readonly timeline: object; readonly state?: object } };
  readonly after?: boolean;
}

interface Seen {
  /** Event ids, oldest first, with what was read back where the timeline was limited. */
  readonly timeline: string[];
  readonly state: Map<string, { readonly eventId: string; readonly from: 'state' | 'timeline' }>;
  summary: Body;
}

export class ExactReader implements Reader {
  readonly client: TestClient;
  readonly server: TestServer;
  readonly manner: Manner;
  readonly joined = new Map<string, Seen>();
  readonly invited = new Map<string, Body>();
  readonly knocked = new Map<string, Body>();
  /** By room, type and user, with the thread. */
  readonly receipts = new Map<string, string>();
  readonly accountData = new Map<string, string>();
  readonly messages: { readonly from: string; readonly number: number }[] = [];
  /** All tokens so far, to ask with again. */
  readonly tokens: string[] = [];
  since: string | undefined;

  constructor(server: TestServer, client: TestClient, manner: Manner) {
    this.server = server;
    this.client = client;
    this.manner = manner;
  }

  request(timeout: number): ReaderRequest {
    return { method: 'GET', path: `/_matrix/client/v3${this.#path(timeout, this.since)}` };
  }

  isQuiet(answer: Body): boolean {
    return answer.rooms === undefined && answer.to_device === undefined;
  }

  /** What the reader has is what a client gets that begins now; and every request of before is answered alike twice. */
  async checkWhole(world: World): Promise<void> {
    const fresh = await this.#caughtUp();
    const name = this.#name;
    assert.deepEqual([...this.joined.keys()].sort(), [...fresh.joined.keys()].sort(), `${name}: rooms`);
    assert.deepEqual(
      [...this.invited.keys()].sort(),
      [...fresh.invited.keys()].sort(),
      `${name}: invitations`,
    );
    assert.deepEqual([...this.knocked.keys()].sort(), [...fresh.knocked.keys()].sort(), `${name}: knocks`);
    assert.deepEqual(sorted(this.receipts), sorted(fresh.receipts), `${name}: receipts`);
    assert.deepEqual(sorted(this.accountData), sorted(fresh.accountData), `${name}: account data`);
    for (const [roomId, { timeline, summary }] of this.joined) {
      const all = await historyOf(this.client, roomId, this.manner.filter.room.timeline);
      assert.deepEqual(
        timeline,
        all.slice(all.length - timeline.length),
        `${name}: ${roomId} is the end of the history`,
      );
      const now = fresh.joined.get(roomId)?.summary;
      for (const count of ['m.joined_member_count', 'm.invited_member_count']) {
        assert.equal(summary[count], now[count], `${name}: ${count} of ${roomId}`);
      }
    }
    for (const since of this.tokens.filter((_, index) => index % 5 === 0).slice(-5)) {
      await assertAlike(() => this.#ask(since), `again from ${since}`);
    }
    checkMessages(this, world);
  }

  /** A reader that begins now; before and after it there was nothing new for this one. */
  async #caughtUp(): Promise<ExactReader> {
    for (let turn = 0; turn < 50; turn++) {
      await this.take(await this.#ask());
      const fresh = new ExactReader(this.server, this.client, this.manner);
      const { to_device: _, ...whole } = await fresh.#ask();
      await fresh.take(whole);
      const answer = await this.#ask();
      await this.take(answer);
      if (answer.rooms === undefined && answer.account_data === undefined) return fresh;
    }
    return assert.fail('there is no end of news');
  }

  #ask(since = this.since): Promise<Body> {
    return this.client.get(this.#path(0, since));
  }

  #path(timeout: number, since: string | undefined): string {
    const query = new URLSearchParams({ timeout: `${timeout}`, filter: JSON.stringify(this.manner.filter) });
    if (since !== undefined) query.set('since', since);
    if (this.manner.after === true) query.set('use_state_after', 'true');
    return `/sync?${query}`;
  }

  async take(answer: Body): Promise<void> {
    const { join = {}, leave = {}, invite = {}, knock = {} } = answer.rooms ?? {};
    const since = this.since;
    for (const [roomId, section] of Object.entries<Body>(join)) await this.#takeRoom(roomId, section, since);
    for (const [roomId, section] of Object.entries<Body>(leave)) await this.#takeLeft(roomId, section);
    for (const [roomId, section] of Object.entries<Body>(invite)) {
      this.#forget(roomId);
      this.knocked.delete(roomId);
      this.invited.set(roomId, section.invite_state.events);
    }
    for (const [roomId, section] of Object.entries<Body>(knock)) {
      this.#forget(roomId);
      this.invited.delete(roomId);
      this.knocked.set(roomId, section.knock_state.events);
    }
    for (const { type, content } of answer.account_data?.events ?? []) {
      this.accountData.set(type, JSON.stringify(content));
    }
    for (const { sender, content } of answer.to_device?.events ?? []) {
      this.messages.push({ from: sender, number: content.number });
    }
    this.since = answer.next_batch;
    this.tokens.push(answer.next_batch);
    for (const roomId of Object.keys(join)) await this.#checkState(roomId);
  }

  async #takeRoom(roomId: string, section: Body, since: string | undefined): Promise<void> {
    this.invited.delete(roomId);
    this.knocked.delete(roomId);
    const known = this.joined.get(roomId);
    const room: Seen = known ?? { timeline: [], state: new Map(), summary: {} };
    this.joined.set(roomId, room);
    const told = section.timeline.events.map((event: Body) => event.event_id);
    const isGap = known !== undefined && section.timeline.limited === true;
    const between = isGap ? await this.#between(roomId, section.timeline.prev_batch, since) : [];
    this.#append(room, [...between, ...told]);
    this.#takeState(room, section);
    Object.assign(room.summary, section.summary);
    this.#takeEphemeral(roomId, section.ephemeral.events);
    for (const { type, content } of section.account_data.events) {
      this.accountData.set(`${roomId} ${type}`, JSON.stringify(content));
    }
  }

  #takeState(room: Seen, section: Body): void {
    const { after } = this.manner;
    for (const event of after === true ? section.state_after.events : section.state.events) {
      room.state.set(keyOf(event), { eventId: event.event_id, from: 'state' });
    }
    assert.equal(after === true ? section.state : section.state_after, undefined);
    if (after === true) return;
    for (const event of section.timeline.events) {
      if (event.state_key !== undefined) {
        room.state.set(keyOf(event), { eventId: event.event_id, from: 'timeline' });
      }
    }
  }

  async #takeLeft(roomId: string, section: Body): Promise<void> {
    this.invited.delete(roomId);
    this.knocked.delete(roomId);
    const known = this.joined.get(roomId);
    // What another than the first told before the gap is not of interest any more.
    if (known !== undefined && section.timeline.limited !== true) {
      this.#append(
        known,
        section.timeline.events.map((event: Body) => event.event_id),
      );
    }
    this.#forget(roomId);
  }

  /** Clients that leave a room keep nothing of it. */
  #forget(roomId: string): void {
    this.joined.delete(roomId);
    for (const map of [this.receipts, this.accountData]) {
      for (const key of [...map.keys()]) if (key.startsWith(`${roomId} `)) map.delete(key);
    }
  }

  #append(room: Seen, eventIds: readonly string[]): void {
    for (const eventId of eventIds) {
      assert.ok(!room.timeline.includes(eventId), `${this.#name} is told ${eventId} twice`);
      room.timeline.push(eventId);
    }
  }

  #takeEphemeral(roomId: string, told: readonly Body[]): void {
    for (const { type, content } of told) {
      if (type !== 'm.receipt') continue;
      for (const [eventId, ofEvent] of Object.entries<Body>(content)) {
        for (const [kind, users] of Object.entries<Body>(ofEvent)) {
          for (const [userId, { thread_id: thread = '' }] of Object.entries<Body>(users)) {
            this.receipts.set(`${roomId} ${kind} ${userId} ${thread}`, eventId);
          }
        }
      }
    }
  }

  /** What is between a timeline and the answer before, oldest first. */
  async #between(roomId: string, prevBatch: string, since: string | undefined): Promise<string[]> {
    const filter = encodeURIComponent(JSON.stringify(this.manner.filter.room.timeline));
    const ids: string[] = [];
    for (let from: string | undefined = prevBatch; from !== undefined; ) {
      const query = `dir=b&from=${from}&to=${tokenOf(since)}&limit=50&filter=${filter}`;
      const page: Body = await this.client.get(`/rooms/${encodeURIComponent(roomId)}/messages?${query}`);
      ids.push(...page.chunk.map((event: Body) => event.event_id));
      from = page.end;
    }
    return ids.reverse();
  }

  /** The state of the client is that of the room at the end of the answer. */
  async #checkState(roomId: string): Promise<void> {
    const seen = this.joined.get(roomId)?.state;
    const point = parseSyncToken(this.since ?? '');
    if (seen === undefined || point === undefined) return;
    if (await this.#hasMovedSince(roomId, point.position)) return;
    const actual = await stateAt(this.server, roomId, point.position);
    const isLazy = 'lazy_load_members' in (this.manner.filter.room.state ?? {});
    for (const key of new Set([...seen.keys(), ...actual.keys()])) {
      const ours = seen.get(key);
      if (ours?.eventId === actual.get(key)) continue;
      if (isLazy && ours === undefined && key.startsWith('m.room.member ')) continue;
      // A key that is in no event's state any more is lost between two servers; no answer can say that it is gone.
      if (!actual.has(key)) continue;
      // Without `use_state_after` a client takes an event of the timeline for the state that lost against another.
      if (ours?.from === 'timeline') continue;
      assert.fail(`${this.#name}: ${key} is ${ours?.eventId}, in the room ${actual.get(key)}`);
    }
  }

  /** Then the room may have been without us for a time, and its state is not known change by change. */
  async #hasMovedSince(roomId: string, position: number): Promise<boolean> {
    const { ctx } = this.server;
    const room = await getRoom(ctx, roomId as `!${string}`);
    const row = room && (await memberships.of(ctx.db, room.roomNid, this.client.userId as `@${string}`));
    return row === undefined || row.position > position;
  }

  get #name(): string {
    return `${this.client.userId} (${this.manner.name})`;
  }
}

/** The state of a room at a position, by event id: that of now, with what has changed since undone. */
export async function stateAt(
  { ctx }: TestServer,
  roomId: string,
  position: number,
): Promise<Map<string, string>> {
  const room = await getRoom(ctx, roomId as `!${string}`);
  assert.ok(room);
  const { roomNid } = room;
  // The state first: what changes meanwhile is undone.
  const nids = new Map<string, number>();
  for (const { type, stateKey, eventNid } of await currentState.all(ctx.db, roomNid)) {
    nids.set(`${type} ${stateKey}`, eventNid);
  }
  const range = { after: position, upto: Number.MAX_SAFE_INTEGER };
  for (const delta of (await currentState.deltas(ctx.db, roomNid, range)).reverse()) {
    const key = `${delta.type} ${delta.stateKey}`;
    if (delta.prevEventNid === undefined) nids.delete(key);
    else nids.set(key, delta.prevEventNid);
  }
  const ids = await events.idsOf(ctx.db, nids.values());
  return new Map([...nids].map(([key, nid]) => [key, ids.get(nid) ?? 'none']));
}

/** /messages takes the position of a token, and nothing of the inbox. */
function tokenOf(since: string | undefined): string {
  return (since ?? '').split('_').slice(0, 2).join('_');
}

function keyOf(event: Body): string {
  return `${event.type} ${event.state_key}`;
}

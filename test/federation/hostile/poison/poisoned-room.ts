/**
 * A room of another server into which poison is mixed: good events, by which it is seen that the room goes on, and
 * bad ones, each of which says what must become of it.
 */

import assert from 'node:assert/strict';
import { encodeCanonical } from '#keys/canonical-json.ts';
import type { EventId } from '#keys/ids.ts';
import type { Event } from '#rooms/event.ts';
import { loadEvent } from '#rooms/load.ts';
import { redact } from '#rooms/redact.ts';
import { isPlaced } from '#rooms/stored-event.ts';
import type { PeerAnswer, PeerRequest } from '#test/harness/peer.ts';
import type { EventOptions, TestRoom } from '#test/harness/room-builder.ts';
import type { RoomPeer } from '#test/harness/room-peer.ts';
import type { TestServer } from '#test/harness/server.ts';
import { type Outcome, type Poison, poisonOf, type Shape } from '#test/rooms/poison/shape.ts';

/** An event as it is told, in the order in which they were made. */
export interface Told {
  readonly eventId: EventId | undefined;
  readonly text: string;
}

export class PoisonedRoom {
  readonly peer: RoomPeer;
  /** Everything since the room was made: good and bad. */
  readonly told: Told[] = [];
  readonly good: string[] = [];
  #number = 0;

  constructor(peer: RoomPeer, version: string) {
    this.peer = peer;
    peer.makeRoom({ version });
    this.say(25);
  }

  get room(): TestRoom {
    return this.peer.room;
  }

  /** Some good messages. */
  say(count = 1): Event[] {
    return Array.from({ length: count }, () => this.#saying());
  }

  /** A good message after the last one and after all poison that has an id. */
  sayAfter(poisons: readonly Poison[]): Event {
    const ids = poisons
      .filter(({ resetsState }) => !resetsState)
      .map(({ eventId }) => eventId)
      .filter((eventId) => eventId !== undefined);
    return this.#saying([...new Set([this.room.last.eventId, ...ids])]);
  }

  /** Poison that follows the last good event; the line goes on without it. */
  poison(shape: Shape, instead?: EventOptions): Poison {
    this.#number += 1;
    const ground = { room: this.room, sender: this.peer.user('mallory'), number: this.#number };
    const poison = poisonOf(shape, ground, instead);
    assert.ok(poison, shape.name);
    this.told.push(poison);
    return poison;
  }

  /** A script by which the peer tells of the room with the poison, on the two ways by which the past is asked for. */
  tellPast = (request: PeerRequest): PeerAnswer | undefined => {
    const { searchParams, pathname } = new URL(request.url, 'https://peer');
    if (pathname.includes('/backfill/')) {
      const texts = this.#upTo(searchParams.getAll('v'), Number(searchParams.get('limit')));
      return (response) =>
        response.end(`{"origin":"x","origin_server_ts":1,"pdus":[${texts.reverse().join(',')}]}`);
    }
    return undefined;
  };

  #upTo(ids: readonly string[], limit: number): string[] {
    const end = this.told.findLastIndex(({ eventId }) => eventId !== undefined && ids.includes(eventId)) + 1;
    return this.told.slice(Math.max(0, end - limit), end).map(({ text }) => text);
  }

  #saying(prevEvents?: readonly EventId[]): Event {
    const body = `good ${this.good.length}`;
    const content = { msgtype: 'm.text', body };
    const event = this.room.send(this.peer.user('mallory'), {
      ...{ type: 'm.room.message', content },
      ...(prevEvents !== undefined && { prev_events: prevEvents }),
    });
    this.good.push(body);
    this.told.push({ eventId: event.eventId, text: event.json });
    return event;
  }
}

/** Portions of at most so many, neighbours in different ones: of those of a kind each gets few. */
export function dealt<T>(items: readonly T[], most: number): T[][] {
  const count = Math.ceil(items.length / most);
  return Array.from({ length: count }, (_, portion) => items.filter((_, index) => index % count === portion));
}

/** Says of which poison something else has become than must. `route`: whether more counts than its auth events. */
export async function wrongsOf(
  server: TestServer,
  room: TestRoom,
  poisons: readonly Poison[],
  route: 'placed' | 'told as state',
): Promise<string[]> {
  const wrong: string[] = [];
  for (const poison of poisons) {
    const expected = route === 'placed' ? poison.outcome : poison.byAuthEvents;
    const seen = await outcomeOf(server, room, poison);
    // What is not taken is the same to everybody, whether it is kept or not.
    const isSame = REFUSED.has(expected) ? REFUSED.has(seen) : seen === expected;
    const isKept = seen === 'rejected' && expected === 'dropped';
    if (!isSame || isKept) wrong.push(`${poison.name}: ${seen}, not ${expected}`);
  }
  return wrong;
}

const REFUSED: ReadonlySet<string> = new Set(['dropped', 'rejected', 'waiting']);

async function outcomeOf(
  server: TestServer,
  { rules }: TestRoom,
  { eventId, pdu, outcome }: Poison,
): Promise<Outcome | 'soft_failed'> {
  const stored = eventId === undefined ? undefined : await loadEvent(server.ctx, eventId);
  if (stored === undefined) return 'dropped';
  const { status, event } = stored;
  if (status === 'rejected' || status === 'soft_failed') return status;
  const { unsigned: _, ...bare } = pdu;
  const redacted = encodeCanonical(redact(pdu, rules));
  // Of an event that has nothing to be redacted both are the same.
  if (event.json === redacted && outcome === 'redacted') return 'redacted';
  if (event.json === encodeCanonical(bare))
    return isPlaced(stored) || status === 'outlier' ? 'accepted' : 'waiting';
  assert.equal(event.json, redacted, 'an event that nobody has made');
  return 'redacted';
}

/** What a client makes of the answers of /sync, as the specification tells it to. */

import assert from 'node:assert/strict';
import type { Body, SyncOptions, TestClient } from '#test/harness/client.ts';

export interface SeenRoom {
  /** Event ids in the order of the timeline; `gap` where it was limited. */
  readonly timeline: string[];
  /** By type and state key: the event id. */
  readonly state: Map<string, string>;
  /** The token before the first event of the last limited timeline. */
  prevBatch: string | undefined;
}

export class SyncView {
  readonly client: TestClient;
  readonly joined = new Map<string, SeenRoom>();
  since: string | undefined;
  readonly #options: SyncOptions;

  constructor(client: TestClient, options: SyncOptions = {}) {
    this.client = client;
    this.#options = options;
  }

  /** Syncs once from where the last one ended, and takes the answer. */
  async next(timeout = 0): Promise<Body> {
    const answer = await this.ask(timeout);
    this.take(answer);
    return answer;
  }

  /** Syncs once and throws the answer away, as a client does that loses its connection. */
  ask(timeout = 0): Promise<Body> {
    return this.client.sync({
      ...this.#options,
      timeout,
      ...(this.since !== undefined && { since: this.since }),
    });
  }

  take(answer: Body): void {
    for (const [roomId, section] of Object.entries<Body>(answer.rooms?.join ?? {})) {
      this.#takeRoom(roomId, section);
    }
    for (const roomId of Object.keys(answer.rooms?.leave ?? {})) this.joined.delete(roomId);
    this.since = answer.next_batch;
  }

  room(roomId: string): SeenRoom {
    const room = this.joined.get(roomId);
    assert.ok(room, `${this.client.userId} has not seen ${roomId}`);
    return room;
  }

  #takeRoom(roomId: string, section: Body): void {
    const room: SeenRoom = this.joined.get(roomId) ?? {
      timeline: [],
      state: new Map(),
      prevBatch: undefined,
    };
    this.joined.set(roomId, room);
    if (section.timeline.limited === true) {
      room.timeline.push('gap');
      room.prevBatch = section.timeline.prev_batch;
    }
    for (const event of section.state.events) room.state.set(keyOf(event), event.event_id);
    for (const event of section.timeline.events) {
      room.timeline.push(event.event_id);
      if (event.state_key !== undefined) room.state.set(keyOf(event), event.event_id);
    }
  }
}

/** The current state as the server tells it, in the form of `SeenRoom.state`. */
export async function stateOf(client: TestClient, roomId: string): Promise<Map<string, string>> {
  const events = await client.get(`/rooms/${encodeURIComponent(roomId)}/state`);
  return new Map(events.map((event: Body) => [keyOf(event), event.event_id]));
}

/** All event ids of a room, oldest first, by pages of /messages. */
export async function historyOf(client: TestClient, roomId: string, limit = 7): Promise<string[]> {
  const ids: string[] = [];
  let from = '';
  for (;;) {
    const path = `/rooms/${encodeURIComponent(roomId)}/messages?dir=b&limit=${limit}${from}`;
    const { chunk, end } = await client.get(path);
    ids.push(...chunk.map((event: Body) => event.event_id));
    if (end === undefined) return ids.reverse();
    from = `&from=${end}`;
  }
}

function keyOf(event: Body): string {
  return `${event.type} ${event.state_key}`;
}

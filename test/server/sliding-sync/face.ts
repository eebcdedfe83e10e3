/** Both ways to ask for sliding sync, as tests use them. */

import assert from 'node:assert/strict';
import type { Answer, Body, TestClient } from '#test/harness/client.ts';

export type FaceName = 'experimental' | 'stable';

export const FACES: readonly FaceName[] = ['experimental', 'stable'];

/** What a test asks for, in the form of neither face. */
export interface Asked {
  readonly lists?: Readonly<Record<string, AskedList>>;
  readonly subscriptions?: Readonly<Record<string, AskedRooms>>;
  readonly extensions?: object;
  readonly timeout?: number;
}

export interface AskedRooms {
  readonly limit?: number;
  /** Pairs of a type and a state key; "*" stands for any. */
  readonly state?: readonly (readonly [type: string, stateKey: string])[];
  readonly lazy?: boolean;
}

export interface AskedList extends AskedRooms {
  /** Without it all rooms. */
  readonly range?: readonly [number, number];
  readonly filters?: object;
}

export const PATHS: Readonly<Record<FaceName, string>> = {
  experimental: '/_matrix/client/unstable/org.matrix.simplified_msc3575/sync',
  stable: '/_matrix/client/v4/sync',
};

/** A client on one connection. */
export class SlidingClient {
  readonly client: TestClient;
  readonly face: FaceName;
  readonly connId: string | undefined;
  pos: string | undefined;

  constructor(client: TestClient, face: FaceName, connId?: string) {
    this.client = client;
    this.face = face;
    this.connId = connId;
  }

  /** Asks from where it stands, and goes on from the answer. */
  async next(asked: Asked): Promise<Body> {
    const answer = await this.ask(asked);
    this.pos = answer.pos;
    return answer;
  }

  /** Asks, and takes no notice of the answer. */
  async ask(asked: Asked, pos = this.pos): Promise<Body> {
    const answer = await this.try(asked, pos);
    assert.equal(answer.status, 200, JSON.stringify(answer.body));
    return answer.body;
  }

  try(asked: Asked, pos = this.pos): Promise<Answer> {
    const { path, body } = requestOf(this.face, asked, { pos, connId: this.connId });
    return this.client.try('POST', path, body);
  }
}

export function requestOf(
  face: FaceName,
  asked: Asked,
  { pos, connId }: { pos?: string | undefined; connId?: string | undefined },
): { path: string; body: Body } {
  const { timeout = 0, extensions } = asked;
  const lists = mapValues(asked.lists ?? {}, (list) => ({
    ...roomsOf(face, list),
    ...(list.range !== undefined && (face === 'stable' ? { range: list.range } : { ranges: [list.range] })),
    ...(list.filters !== undefined && { filters: list.filters }),
  }));
  const common = {
    ...(connId !== undefined && { conn_id: connId }),
    lists,
    room_subscriptions: mapValues(asked.subscriptions ?? {}, (rooms) => roomsOf(face, rooms)),
    ...(extensions !== undefined && { extensions }),
  };
  if (face === 'stable') {
    return { path: PATHS.stable, body: { ...common, timeout, ...(pos !== undefined && { pos }) } };
  }
  const query = new URLSearchParams({ timeout: `${timeout}`, ...(pos !== undefined && { pos }) });
  return { path: `${PATHS.experimental}?${query}`, body: common };
}

function roomsOf(face: FaceName, { limit = 10, state = [], lazy = false }: AskedRooms): object {
  if (face === 'experimental') {
    const required = lazy ? [...state, ['m.room.member', '$LAZY']] : state;
    return { timeline_limit: limit, required_state: required };
  }
  const include = state.map(([type, stateKey]) => ({
    ...(type !== '*' && { type }),
    ...(stateKey !== '*' && { state_key: stateKey }),
  }));
  return { timeline_limit: limit, required_state: { include, ...(lazy && { lazy_members: true }) } };
}

function mapValues<T>(
  object: Readonly<Record<string, T>>,
  map: (value: T) => object,
): Record<string, object> {
  return Object.fromEntries(Object.entries(object).map(([key, value]) => [key, map(value)]));
}

/** The texts of the messages in a room's timeline. */
export function textsIn(room: Body): string[] {
  return room.timeline
    .filter(({ type }: Body) => type === 'm.room.message')
    .map(({ content }: Body) => content.body);
}

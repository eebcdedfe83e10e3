/** An Element X on a phone: matrix-rust-sdk's requests, in its words, and its connections of sliding sync. */

import assert from 'node:assert/strict';
import { type Answer, type Body, request, type Target } from '#test/harness/client.ts';
import { LONGEST_MS } from '#test/harness/until.ts';

const V3 = '/_matrix/client/v3';
const SYNC = '/_matrix/client/unstable/org.matrix.simplified_msc3575/sync';

/** What its list of rooms asks of every room's state. */
export const REQUIRED_STATE = [
  ['m.room.name', ''],
  ['m.room.encryption', ''],
  ['m.room.member', '$LAZY'],
  ['m.room.member', '$ME'],
  ['m.room.topic', ''],
  ['m.room.avatar', ''],
  ['m.room.canonical_alias', ''],
  ['m.room.power_levels', ''],
  ['org.matrix.msc3401.call.member', '*'],
  ['m.room.join_rules', ''],
  ['m.room.tombstone', ''],
  ['m.room.create', ''],
  ['m.room.history_visibility', ''],
  ['io.element.functional_members', ''],
  ['m.space.parent', '*'],
  ['m.space.child', '*'],
  ['org.matrix.msc3672.beacon_info', '*'],
];

/** The connection of the list of rooms. The list grows with its range. */
export function roomList(last: number, subscriptions: readonly string[] = []): Body {
  const subscribed = {
    required_state: [...REQUIRED_STATE, ['m.room.pinned_events', '']],
    timeline_limit: 20,
  };
  return {
    conn_id: 'room-list',
    lists: {
      all_rooms: { ranges: [[0, last]], required_state: REQUIRED_STATE, timeline_limit: 1, filters: {} },
    },
    room_subscriptions: Object.fromEntries(subscriptions.map((roomId) => [roomId, subscribed])),
    extensions: {
      account_data: { enabled: true },
      receipts: { enabled: true, rooms: ['*'] },
      typing: { enabled: true },
      'io.element.msc4308.thread_subscriptions': { enabled: true, limit: 10 },
    },
  };
}

/** The connection of what is encrypted, which the notifications on iOS use too. */
export function encryption(since?: string): Body {
  return {
    conn_id: 'encryption',
    extensions: {
      to_device: { enabled: true, ...(since !== undefined && { since }) },
      e2ee: { enabled: true },
    },
  };
}

/** The short connection by which a notification is shown. */
export function notification(roomId: string): Body {
  const required = [
    ['m.room.encryption', ''],
    ['m.room.member', '$LAZY'],
    ['m.room.member', '$ME'],
    ['m.room.canonical_alias', ''],
    ['m.room.name', ''],
    ['m.room.power_levels', ''],
    ['org.matrix.msc3401.call.member', '*'],
  ];
  return {
    conn_id: 'notifications',
    lists: {
      invites: {
        ...{ ranges: [[0, 16]], required_state: required, timeline_limit: 8 },
        filters: { is_invite: true, not_room_types: ['m.space'] },
      },
    },
    room_subscriptions: { [roomId]: { required_state: required, timeline_limit: 16 } },
    extensions: { account_data: { enabled: true } },
  };
}

export interface Session {
  readonly userId: string;
  readonly deviceId: string;
  readonly token: string;
}

export class Phone {
  readonly server: Target;
  readonly #session: Session | undefined;
  /** Where each connection stands, by its `conn_id`. */
  readonly #positions = new Map<string, string>();
  #transactions = 0;

  constructor(server: Target, session?: Session) {
    this.server = server;
    this.#session = session;
  }

  get userId(): string {
    return this.#session?.userId ?? '';
  }

  get deviceId(): string {
    return this.#session?.deviceId ?? '';
  }

  /** `path` from after `v3`, or whole. */
  try(method: string, path: string, body?: unknown, type = 'application/json'): Promise<Answer> {
    const full = path.startsWith('/_') || path.startsWith('/.well-known') ? path : `${V3}${path}`;
    const token = this.#session?.token;
    return request(this.server, method, full, {
      ...(body !== undefined && { body, headers: { 'content-type': type } }),
      ...(token !== undefined && { token }),
    });
  }

  /** A call that succeeds. */
  async call(method: string, path: string, body?: unknown, type?: string): Promise<Body> {
    const answer = await this.try(method, path, body, type);
    assert.equal(answer.status, 200, `${method} ${path}: ${answer.status} ${JSON.stringify(answer.body)}`);
    return answer.body;
  }

  /** A call that is refused so. */
  async refused(method: string, path: string, expected: readonly [number, string]): Promise<void> {
    const { status, body } = await this.try(method, path);
    assert.deepEqual([status, body.errcode], expected, `${method} ${path}`);
  }

  trySlide(body: Body, { timeout = 0, pos = this.#positions.get(body.conn_id) } = {}): Promise<Answer> {
    const query = new URLSearchParams({ ...(pos !== undefined && { pos }), timeout: String(timeout) });
    return this.try('POST', `${SYNC}?${query}`, body);
  }

  /** One step of a connection, from where it stands. */
  async slide(body: Body, timeout = 0): Promise<Body> {
    const answer = await this.trySlide(body, { timeout });
    assert.equal(answer.status, 200, JSON.stringify(answer.body));
    this.#positions.set(body.conn_id, answer.body.pos);
    return answer.body;
  }

  /** Goes on with a connection until an answer is what is waited for. */
  async slideUntil(body: () => Body, isIt: (answer: Body) => boolean): Promise<Body> {
    const end = Date.now() + LONGEST_MS;
    for (;;) {
      assert.ok(Date.now() < end, `${this.userId} waited in vain`);
      // One after the other: each goes on where the last one ended.
      const answer = await this.slide(body(), 2_000);
      if (isIt(answer)) return answer;
    }
  }

  /** A connection begins anew: after `M_UNKNOWN_POS`, or when the app was closed. */
  forget(connId: string): void {
    this.#positions.delete(connId);
  }

  transaction(): string {
    this.#transactions += 1;
    return `x${Date.now()}.${this.#transactions}`;
  }
}

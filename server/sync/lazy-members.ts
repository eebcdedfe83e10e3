/** Lazy-loading room members: https://spec.matrix.org/v1.19/client-server-api/#lazy-loading-room-members */

import { Lru } from '#storage/lru.ts';
import { deviceKey, type Requester } from '../auth/sessions.ts';

type DeviceRef = Pick<Requester, 'userId' | 'deviceId' | 'key'>;

const MOST_ROOMS = 20_000;
const MOST_MEMBERS = 1_000_000;
const MOST_IN_ROOM = 2_000;
/** Of so many a list is looked through as fast as a map; as a map they take three times the memory, for each device. */
const FEW = 32;

/**
 * Which member events a device has, by room: the position of the answer that they were in. A device has what
 * was in an answer once it comes back with that answer's token; before, the answer may have been lost.
 */
export class SentMembers {
  readonly #rooms = new Lru<string, Sent>({
    maxEntries: MOST_ROOMS,
    maxWeight: MOST_MEMBERS,
    weigh: (sent) => sent.size + 10,
  });

  /** Those of the users whose member events a device that is at `since` may lack. */
  missing(
    device: DeviceRef,
    roomNid: number,
    asked: { readonly users: Iterable<string>; readonly since: number },
  ): string[] {
    const sent = this.#rooms.get(keyOf(device, roomNid));
    const missing: string[] = [];
    for (const userId of asked.users) {
      const sentIn = sent?.positionOf(userId);
      if (sentIn === undefined || sentIn > asked.since) missing.push(userId);
    }
    return missing;
  }

  /** The device is told the room anew, and may have forgotten what it had: a client that begins again keeps nothing. */
  forget(device: DeviceRef, roomNid: number): void {
    this.#rooms.delete(keyOf(device, roomNid));
  }

  /** Notes that the answer up to `position` has the member events of these users. */
  note(
    device: DeviceRef,
    roomNid: number,
    sent: { readonly users: readonly string[]; readonly position: number },
  ): void {
    if (sent.users.length === 0) return;
    const key = keyOf(device, roomNid);
    const known = this.#rooms.get(key);
    const noted = known === undefined || known.size > MOST_IN_ROOM ? new Sent() : known;
    noted.add(sent.users, sent.position);
    this.#rooms.set(key, noted);
  }
}

/** What one device has been sent of one room: there is one for each device and room in use. */
class Sent {
  /** Few, each user followed by the position. */
  #few: readonly (string | number)[] = [];
  /** More. */
  #many: Map<string, number> | undefined;

  get size(): number {
    return this.#many?.size ?? this.#few.length / 2;
  }

  positionOf(userId: string): number | undefined {
    if (this.#many !== undefined) return this.#many.get(userId);
    const at = this.#few.indexOf(userId);
    return at < 0 ? undefined : Number(this.#few[at + 1]);
  }

  add(users: readonly string[], position: number): void {
    const members = this.#many ?? new Map<string, number>();
    for (let at = 0; at < this.#few.length; at += 2) {
      members.set(String(this.#few[at]), Number(this.#few[at + 1]));
    }
    for (const userId of users) members.set(userId, position);
    const isMany = members.size > FEW;
    this.#many = isMany ? members : undefined;
    // A copy: what grew has room for twice as many.
    this.#few = isMany ? [] : [...members].flat().slice();
  }
}

function keyOf(device: DeviceRef, roomNid: number): string {
  return `${roomNid} ${deviceKey(device)}`;
}

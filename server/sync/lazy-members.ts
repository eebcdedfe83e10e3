/** Lazy-loading room members: https://spec.matrix.org/v1.19/client-server-api/#lazy-loading-room-members */

import { Lru } from '#storage/lru.ts';
import { deviceKey, type Requester } from '../auth/sessions.ts';

type DeviceRef = Pick<Requester, 'userId' | 'deviceId' | 'key'>;

const MOST_ROOMS = 20_000;
const MOST_MEMBERS = 1_000_000;
const MOST_IN_ROOM = 2_000;

/**
 * Which member events a device has, by room: the position of the answer that they were in. A device has what
 * was in an answer once it comes back with that answer's token; before, the answer may have been lost.
 */
export class SentMembers {
  readonly #rooms = new Lru<string, Map<string, number>>({
    maxEntries: MOST_ROOMS,
    maxWeight: MOST_MEMBERS,
    weigh: (members) => members.size + 10,
  });

  /** Those of the users whose member events a device that is at `since` may lack. */
  missing(
    device: DeviceRef,
    roomNid: number,
    asked: { readonly users: Iterable<string>; readonly since: number },
  ): string[] {
    const members = this.#rooms.get(keyOf(device, roomNid));
    const missing: string[] = [];
    for (const userId of asked.users) {
      const sentIn = members?.get(userId);
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
    const members = known === undefined || known.size > MOST_IN_ROOM ? new Map<string, number>() : known;
    for (const userId of sent.users) members.set(userId, sent.position);
    this.#rooms.set(key, members);
  }
}

function keyOf(device: DeviceRef, roomNid: number): string {
  return `${roomNid} ${deviceKey(device)}`;
}

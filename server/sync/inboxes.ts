/** To-device messages in /sync: https://spec.matrix.org/v1.19/client-server-api/#send-to-device-messaging */

import type { Database } from '#storage/database.ts';
import { Lru } from '#storage/lru.ts';
import type { Streams } from '#storage/streams.ts';
import * as toDevice from '#storage/to-device.ts';
import { deviceKey, type Requester } from '../auth/sessions.ts';

type DeviceRef = Pick<Requester, 'userId' | 'deviceId' | 'key'>;

const MOST_DEVICES = 50_000;
/** In one answer: "100 messages is recommended as a reasonable limit." */
const MOST_MESSAGES = 100;
/** Nothing is known of the inbox: no process that has just started knows what an earlier one delivered. */
const UNKNOWN = 0;
const EMPTY = Number.POSITIVE_INFINITY;

/** What the devices have been given and have not acknowledged yet. */
export class Inboxes {
  /** The position of the oldest message that may have been given and is still stored. */
  readonly #given = new Lru<string, number>({ maxEntries: MOST_DEVICES });

  /** Deletes what the device has, now that it came back with the token of an answer up to `position`. */
  async acknowledge(db: Database, device: DeviceRef, position: number): Promise<void> {
    if (this.isAcknowledged(device, position)) return;
    const { messages } = await toDevice.since(db, device, { after: 0, upto: position, limit: 1 });
    if (messages.length > 0) {
      await db.write('toDevice.acknowledge', (tx) => toDevice.deleteUpto(tx, device, position));
    }
    this.#given.set(deviceKey(device), EMPTY);
  }

  /** True where nothing that the device was given up to a position is stored still. */
  isAcknowledged(device: DeviceRef, position: number): boolean {
    return (this.#given.get(deviceKey(device)) ?? UNKNOWN) > position;
  }

  /**
   * The messages after one position and up to another, as JSON, at most `limit`. `last` is where the next answer continues:
   * `upto`, unless there are more than fit.
   */
  async read(
    { db, streams }: { readonly db: Database; readonly streams: Streams },
    device: DeviceRef,
    range: { readonly after: number; readonly upto: number; readonly limit?: number },
  ): Promise<{ messages: readonly string[]; last: number }> {
    const { after, upto, limit = MOST_MESSAGES } = range;
    if (after > 0 && !streams.mayConcern(`user:${device.userId}`, after)) return { messages: [], last: upto };
    const read = await toDevice.since(db, device, { after, upto, limit });
    if (read.messages.length > 0) this.#given.set(deviceKey(device), after + 1);
    const isFull = read.messages.length === limit;
    return { messages: read.messages, last: isFull ? (read.last ?? upto) : upto };
  }
}

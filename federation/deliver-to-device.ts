import type { UserId } from '#keys/ids.ts';
import type { RoomsContext } from '#rooms/context.ts';
import type { Tx } from '#storage/database.ts';
import * as devices from '#storage/devices.ts';
import * as toDevice from '#storage/to-device.ts';
import type { ToDeviceMessage } from './to-device-edus.ts';

/** A device that does not come back is not to fill the disk. */
const MOST_WAITING = 50_000;

/**
 * Puts messages into the inboxes of those devices of our users that there are; `*` is all devices of a user. What is
 * for a device that has too many waiting is dropped.
 */
export async function deliverToDevices(
  { streams, log }: Pick<RoomsContext, 'streams' | 'log'>,
  tx: Tx,
  kind: { readonly sender: UserId; readonly type: string },
  messages: readonly ToDeviceMessage[],
): Promise<void> {
  for (const { device, content } of await addressees(tx, messages)) {
    // One after the other: each has a position of its own.
    if (await toDevice.hasWaiting(tx, device, MOST_WAITING)) {
      log.debug({ sender: kind.sender, userId: device.userId }, 'a device has too many messages waiting');
    } else await toDevice.add(tx, streams, device, { ...kind, content });
  }
}

/** The devices that messages are for. */
export async function addressees(tx: Tx, messages: readonly ToDeviceMessage[]) {
  const known = await devices.ofUsers(tx, [...new Set(messages.map(({ userId }) => userId))]);
  const byUser = Map.groupBy(known, ({ userId }) => userId);
  return messages.flatMap(({ userId, deviceId, content }) =>
    (byUser.get(userId) ?? [])
      .filter((device) => deviceId === '*' || deviceId === device.deviceId)
      .map((device) => ({ device, content })),
  );
}

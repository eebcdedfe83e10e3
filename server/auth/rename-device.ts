import type { Tx } from '#storage/database.ts';
import * as deviceLists from '#storage/device-lists.ts';
import * as devices from '#storage/devices.ts';
import type { DeviceRef } from '#storage/e2ee-keys.ts';
import type { ServerContext } from '../context.ts';
import { deviceName } from './accounts.ts';

/** Gives a device another name, and tells whoever learns the names of devices. False where there is no such device. */
export async function renameDevice(
  { streams, federation }: Pick<ServerContext, 'streams' | 'federation'>,
  tx: Tx,
  { userId, deviceId }: DeviceRef,
  name: string,
): Promise<boolean> {
  const device = await devices.of(tx, userId, deviceId);
  if (device === undefined) return false;
  const displayName = deviceName(name);
  if (displayName === device.displayName) return true;
  await devices.setDisplayName(tx, { userId, deviceId }, displayName);
  // To our own users alone, where other servers are not told the names of devices.
  if (federation.tellsDeviceNames) await deviceLists.devicesChanged(tx, streams, userId, [deviceId]);
  else await deviceLists.markChanged(tx, streams, userId);
  return true;
}

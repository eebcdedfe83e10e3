import { isDeviceId } from '#federation/device-keys.ts';
import { invalidParam } from '#federation/errors.ts';
import type { UserId } from '#keys/ids.ts';
import type { JsonObject } from '#keys/json.ts';
import type { ServerContext } from '../context.ts';

/** What a client is told when it is signed in: the answer of `/login` and `/register`. */
export function signedInAnswer(
  ctx: Pick<ServerContext, 'config' | 'serverName'>,
  userId: UserId,
  session: { accessToken: string; deviceId: string },
): JsonObject {
  const { publicBaseurl } = ctx.config;
  return {
    user_id: userId,
    access_token: session.accessToken,
    device_id: session.deviceId,
    home_server: ctx.serverName,
    ...(publicBaseurl !== undefined && { well_known: { 'm.homeserver': { base_url: publicBaseurl } } }),
  };
}

/** The device id that a client has chosen, if it is one. */
export function checkDeviceId(deviceId: string | undefined): string | undefined {
  if (deviceId === undefined) return undefined;
  if (!isDeviceId(deviceId)) throw invalidParam('device_id is not one');
  return deviceId;
}

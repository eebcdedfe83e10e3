import { isDeviceId } from '#federation/e2ee-keys/device-keys.ts';
import { invalidParam } from '#federation/errors.ts';
import type { UserId } from '#keys/ids.ts';
import type { JsonObject } from '#keys/json.ts';
import { optionalBoolean, optionalString } from '../body.ts';
import type { ServerContext } from '../context.ts';
import type { NewSession } from './accounts.ts';
import type { SessionTokens } from './tokens.ts';

/** What a client asks for with `/login` and `/register`, wherever it says who signs in. */
export function askedSession(body: JsonObject): NewSession {
  return {
    deviceId: checkDeviceId(optionalString(body, 'device_id')),
    displayName: optionalString(body, 'initial_device_display_name'),
    isRefreshable: optionalBoolean(body, 'refresh_token') ?? false,
  };
}

/** What a client is told when it is signed in: the answer of `/login` and `/register`. */
export function signedInAnswer(
  ctx: Pick<ServerContext, 'config' | 'serverName'>,
  userId: UserId,
  session: SessionTokens & { readonly deviceId: string },
): JsonObject {
  const { publicBaseurl } = ctx.config;
  return {
    user_id: userId,
    ...tokensAnswer(session),
    device_id: session.deviceId,
    home_server: ctx.serverName,
    ...(publicBaseurl !== undefined && { well_known: { 'm.homeserver': { base_url: publicBaseurl } } }),
  };
}

/** Tokens as the answer of `/refresh` has them. */
export function tokensAnswer({ accessToken, refreshToken, expiresInMs }: SessionTokens): JsonObject {
  return {
    access_token: accessToken,
    ...(refreshToken !== undefined && { refresh_token: refreshToken }),
    ...(expiresInMs !== undefined && { expires_in_ms: expiresInMs }),
  };
}

function checkDeviceId(deviceId: string | undefined): string | undefined {
  if (deviceId === undefined) return undefined;
  if (!isDeviceId(deviceId)) throw invalidParam('device_id is not one');
  return deviceId;
}

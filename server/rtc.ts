import type { JsonObject } from '#keys/json.ts';
import type { Config } from './config-options.ts';

/** The servers for calls of many that clients of ours may use, as MSC4143 has them told. */
export function rtcTransports({ livekitServiceUrl }: Pick<Config, 'livekitServiceUrl'>): JsonObject[] {
  return livekitServiceUrl.map((url) => ({ type: 'livekit', livekit_service_url: url }));
}

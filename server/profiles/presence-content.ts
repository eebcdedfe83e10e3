import type { JsonObject } from '#keys/json.ts';
import type { Presence } from '#storage/presences.ts';

/** How a user is, as clients are told: https://spec.matrix.org/v1.19/client-server-api/#mpresence */
export function presenceContent(presence: Presence, now: number): JsonObject {
  const { state, statusMsg, lastActiveTs, isActive } = presence;
  return {
    presence: state,
    ...(lastActiveTs !== undefined && { last_active_ago: Math.max(0, now - lastActiveTs) }),
    ...(state === 'online' && { currently_active: isActive }),
    ...(statusMsg !== undefined && { status_msg: statusMsg }),
  };
}

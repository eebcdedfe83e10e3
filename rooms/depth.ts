import { integerAt, type JsonObject, own } from '#keys/json.ts';
import { bigIntOf } from '#keys/json-number.ts';
import type { RoomVersionRules } from './versions.ts';

/**
 * "The depth of the event [...] MUST be no more than 2^53 - 1" (v6 and later): deeper events all have this depth.
 * Versions 1 to 5 allow 2^63 - 1. Events of ours stop here in them too: other servers take nothing deeper.
 */
export const MAX_EVENT_DEPTH = Number.MAX_SAFE_INTEGER;

const MAX_DEPTH_BEFORE_V6 = 2n ** 63n - 1n;

/** The depth of a PDU, `MAX_EVENT_DEPTH` where it is more; undefined where it is none that the version allows. */
export function depthOf(pdu: JsonObject, rules: RoomVersionRules): number | undefined {
  const depth = integerAt(pdu, 'depth');
  if (depth !== undefined) return depth < 0 ? undefined : depth;
  const large = rules.strictJson ? undefined : bigIntOf(own(pdu, 'depth'));
  if (large === undefined || large < 0n || large > MAX_DEPTH_BEFORE_V6) return undefined;
  return MAX_EVENT_DEPTH;
}

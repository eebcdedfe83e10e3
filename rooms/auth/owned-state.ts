/** State keys that belong to somebody: https://github.com/matrix-org/matrix-spec-proposals/pull/3757 (rule 8). */
import { isUserId } from '#keys/ids.ts';
import type { Event } from '../event.ts';
import type { PowerLevels } from '../power.ts';
import { type Refusal, refuse } from './refusal.ts';

/** "Note that the size limit of 256 bytes after a leading user ID includes the separating `_`." */
const MOST_SUFFIX_BYTES = 256;
const MOST_UNOWNED_BYTES = 255;

/** Why the sender may not set the state of this key, or undefined. */
export function checkOwnedState({ sender, stateKey }: Event, power: PowerLevels): Refusal | undefined {
  if (stateKey === undefined) return undefined;
  if (!stateKey.startsWith('@')) {
    // 8.2: Otherwise, if the size of the `state_key` is greater than 255 bytes, reject.
    const isTooLong = Buffer.byteLength(stateKey) > MOST_UNOWNED_BYTES;
    return isTooLong ? refuse('v10 8.2', 'The state key is longer than 255 bytes') : undefined;
  }
  const owner = leadingUserId(stateKey);
  // 8.1.1: If the prefix of the `state_key` before the first `_` that follows the first `:` (or end of string) is not
  // a valid user ID, reject.
  if (!isUserId(owner)) return refuse('v10 8.1.1', 'The state key does not begin with a user ID');
  // 8.1.2: If the size of the `state_key` without its leading user ID is greater than 256 bytes, reject.
  if (Buffer.byteLength(stateKey) - Buffer.byteLength(owner) > MOST_SUFFIX_BYTES) {
    return refuse('v10 8.1.2', 'The state key is longer than 255 bytes after its user ID');
  }
  // 8.1.3: If the leading user ID does not match the `sender`, and the `sender`'s power level is not greater than that
  // of the user denoted by that ID, reject.
  if (owner !== sender && power.of(sender) <= power.of(owner)) {
    return refuse('v10 8.1.3', 'The state key is of another user, who is not below the sender');
  }
  return undefined;
}

function leadingUserId(stateKey: string): string {
  const colon = stateKey.indexOf(':');
  const end = colon < 0 ? -1 : stateKey.indexOf('_', colon);
  return end < 0 ? stateKey : stateKey.slice(0, end);
}

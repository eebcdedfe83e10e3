/** Rules that later room versions have dropped. */
import { serverNameOf } from '#keys/ids.ts';
import type { Event } from '../event.ts';
import type { PowerLevels } from '../power.ts';
import { type Refusal, refuse } from './refusal.ts';

/** v1-v5 rule 4: `m.room.aliases`. */
export function checkAliases(event: Event): Refusal | undefined {
  // v1 4.1: If event has no `state_key`, reject.
  if (event.stateKey === undefined) return refuse('v1 4.1', 'An aliases event has a state key');
  // v1 4.2: If sender's domain doesn't match `state_key`, reject.
  if (serverNameOf(event.sender) !== event.stateKey) {
    return refuse('v1 4.2', 'The state key is not the server of the sender');
  }
  // v1 4.3: Otherwise, allow.
  return undefined;
}

/** v1-v2 rule 11: `m.room.redaction`. */
export function checkRedaction(event: Event, power: PowerLevels): Refusal | undefined {
  // v1 11.1: If the `sender`'s power level is greater than or equal to the *redact level*, allow.
  if (power.of(event.sender) >= power.redact) return undefined;
  // v1 11.2: If the domain of the `event_id` of the event being redacted is the same as the domain of the
  // `event_id` of the `m.room.redaction`, allow.
  const domain = serverNameOf(event.eventId);
  if (event.redacts !== undefined && domain !== undefined && serverNameOf(event.redacts) === domain) {
    return undefined;
  }
  // v1 11.3: Otherwise, reject.
  return refuse('v1 11.3', 'The sender may not redact the event of another server');
}

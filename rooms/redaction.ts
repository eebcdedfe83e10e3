/**
 * Which events a redaction redacts: https://spec.matrix.org/v1.19/rooms/v10/#handling-redactions
 *
 * An accepted redaction is applied once its target is here too, if its sender may redact or belongs to the
 * server of the target's sender. The target's stored text is then replaced by its redacted form.
 */

import { encodeCanonical } from '#keys/canonical-json.ts';
import { type EventId, isUserId, serverNameOf, type UserId } from '#keys/ids.ts';
import * as events from '#storage/events.ts';
import type { RoomsContext } from './context.ts';
import { type Event, eventFrom } from './event.ts';
import { loadEvent, loadNids } from './load.ts';
import { powerOf } from './power.ts';
import { redact } from './redact.ts';
import { stateAt } from './state.ts';
import { isAccepted } from './stored-event.ts';

/** What decides whether a redaction counts: its event and the power levels of the state before it. */
export interface Redacter {
  readonly event: Event;
  readonly create: Event | undefined;
  readonly powerLevels: Event | undefined;
}

/** What decides whether a user may redact: the keys to load of the state before the redaction. */
export const REDACTER_KEYS = [
  { type: 'm.room.create', stateKey: '' },
  { type: 'm.room.power_levels', stateKey: '' },
] as const;

/** Events that stay as they are, since the room would not be what it is: as in other servers. */
const NEVER_REDACTED: ReadonlySet<string> = new Set(['m.room.create']);
/**
 * Of which our users send no redaction. A redacted access control list allows no server, which closes the room to
 * all for good; the redactions of others count, as the room versions have it.
 */
const NOT_TO_REDACT: ReadonlySet<string> = new Set([...NEVER_REDACTED, 'm.room.server_acl']);

/**
 * Whether an accepted redaction applies to its target: "The power level of the redaction event's sender is
 * greater than or equal to the redact level", or "The domain of the redaction event's sender matches that of the
 * original event's sender"; and both are of one room. In versions 1 and 2 any accepted redaction applies.
 */
export function isRedactedBy(target: Event, { event, create, powerLevels }: Redacter): boolean {
  if (event.roomId !== target.roomId || NEVER_REDACTED.has(target.type)) return false;
  // v1, v2: the authorisation rules have decided, which the redaction has passed.
  if (event.rules.redactionRule) return true;
  if (serverNameOf(event.sender) === serverNameOf(target.sender)) return true;
  const power = powerOf(create, powerLevels);
  return power.of(event.sender) >= power.redact;
}

/**
 * Whether one of our users may send a redaction: for their own events, or with the power to redact. A reason to
 * refuse, or undefined. `target` is undefined where we do not have it.
 */
export function checkOwnRedaction(
  target: Event | undefined,
  redacter: Omit<Redacter, 'event'> & { readonly sender: string; readonly roomId: string },
): string | undefined {
  if (target !== undefined && target.roomId !== redacter.roomId) return 'The event is of another room';
  if (target !== undefined && NOT_TO_REDACT.has(target.type)) return `${target.type} cannot be redacted`;
  if (target?.sender === redacter.sender) return undefined;
  const power = powerOf(redacter.create, redacter.powerLevels);
  if (power.of(redacter.sender) >= power.redact) return undefined;
  return 'The sender may redact only their own events';
}

/** The event in its redacted form, with the id that it keeps. */
export function redactedEvent(event: Event): Event {
  const pdu = redact(event.pdu, event.rules);
  return eventFrom(pdu, event.rules, { eventId: event.eventId, json: encodeCanonical(pdu) });
}

/**
 * The redaction that arrived before the event that now does, and that applies to it; undefined where there is
 * none.
 */
export async function pendingRedactionOf(ctx: RoomsContext, target: Event): Promise<EventId | undefined> {
  const nids = await events.pendingRedactions(ctx.db, target.eventId);
  if (nids.length === 0) return undefined;
  const redactions = await loadNids(ctx, nids);
  // Few, and each has a state of its own: the first that applies will do.
  for (const stored of redactions.values()) {
    if (!isAccepted(stored)) continue;
    const state = await stateAt(ctx, stored, 'before', REDACTER_KEYS);
    const create = state.find(({ event }) => event.type === 'm.room.create')?.event;
    const powerLevels = state.find(({ event }) => event.type === 'm.room.power_levels')?.event;
    if (isRedactedBy(target, { event: stored.event, create, powerLevels })) return stored.event.eventId;
  }
  return undefined;
}

/** What an accepted redaction does when it is stored: nothing, wait for its target, or redact it. */
export type RedactionEffect =
  | { readonly kind: 'none' }
  | { readonly kind: 'wait'; readonly target: EventId }
  | {
      readonly kind: 'redact';
      readonly nid: number;
      readonly redacted: Event;
      /** The user whose membership it says. */
      readonly member: UserId | undefined;
    };

/** Decides what an accepted redaction does. */
export async function effectOf(ctx: RoomsContext, redacter: Redacter): Promise<RedactionEffect> {
  const targetId = redacter.event.redacts;
  if (targetId === undefined) return { kind: 'none' };
  const target = await loadEvent(ctx, targetId);
  if (target === undefined) return { kind: 'wait', target: targetId };
  if (target.redactedBy !== undefined || !isRedactedBy(target.event, redacter)) return { kind: 'none' };
  const { type, stateKey } = target.event;
  const member = type === 'm.room.member' && isUserId(stateKey) ? stateKey : undefined;
  return { kind: 'redact', nid: target.nid, redacted: redactedEvent(target.event), member };
}

import { parseStrict } from '#keys/canonical-json.ts';
import type { EventId } from '#keys/ids.ts';
import { isObject } from '#keys/json.ts';
import type { EventRow, EventStatus } from '#storage/events.ts';
import type { StateGroup } from '#storage/state-groups.ts';
import { fromTextColumn } from '#storage/text-column.ts';
import { type Event, eventFrom } from './event.ts';
import type { RoomVersionRules } from './versions.ts';

export type { EventStatus } from '#storage/events.ts';

/** An event and what the server knows beside it. */
export interface StoredEvent {
  readonly nid: number;
  readonly roomNid: number;
  readonly event: Event;
  /** Where clients see it; undefined for what they do not see; negative for history fetched later. */
  readonly position: number | undefined;
  readonly status: EventStatus;
  /** Why it was rejected or soft-failed. */
  readonly reason: string | undefined;
  /** Undefined for an event without a place in the graph. */
  readonly stateBefore: StateGroup | undefined;
  readonly stateAfter: StateGroup | undefined;
  readonly redactedBy: EventId | undefined;
  /** The client's transaction that made it. */
  readonly txn: { readonly deviceId: string; readonly txnId: string } | undefined;
  readonly receivedTs: number;
}

/** True where the event has its place in the graph: the state before it is known. */
export function isPlaced(stored: StoredEvent | undefined): boolean {
  return stored?.stateAfter !== undefined;
}

/** True for an event that counts as a part of the room. */
export function isAccepted(stored: StoredEvent | undefined): boolean {
  return stored?.status === 'accepted';
}

/** The event of a database row. */
export function storedEventFrom(row: EventRow, rules: RoomVersionRules): StoredEvent {
  return {
    nid: row.event_nid,
    roomNid: row.room_nid,
    event: keptEvent(row.json, rules, row.event_id),
    position: row.position ?? undefined,
    status: row.status,
    reason: row.reason ?? undefined,
    stateBefore: row.state_before ?? undefined,
    stateAfter: row.state_after ?? undefined,
    redactedBy: row.redacted_by ?? undefined,
    txn: txnOf(row),
    receivedTs: row.received_ts,
  };
}

/**
 * The event of a text that we have kept ourselves: its canonical form, checked when it came in. Throws where it is
 * something else.
 */
export function keptEvent(json: string, rules: RoomVersionRules, eventId: EventId): Event {
  const pdu = keptPdu(json, rules);
  if (!isObject(pdu)) throw new TypeError(`event ${eventId} is kept as something else`);
  return eventFrom(pdu, rules, { eventId, json });
}

/** Before version 6 numbers may need to be kept in their form. */
function keptPdu(json: string, rules: RoomVersionRules): unknown {
  if (rules.strictJson) return JSON.parse(json);
  const parsed = parseStrict(json, { anyNumbers: true });
  return parsed.kind === 'ok' ? parsed.value : undefined;
}

function txnOf(row: EventRow): StoredEvent['txn'] {
  if (row.txn_device === null || row.txn_id === null) return undefined;
  return { deviceId: fromTextColumn(row.txn_device), txnId: fromTextColumn(row.txn_id) };
}

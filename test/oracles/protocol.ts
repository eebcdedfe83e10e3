/**
 * What the oracles are asked and what they answer: programs that no one here wrote, behind a few lines of ours
 * (`ruma/`, `synapse.py`), one JSON object a line. Each answer carries the `id` of its request.
 */
import type { EventId } from '#keys/ids.ts';
import type { JsonObject } from '#keys/json.ts';

/** A room as a generator makes it. */
export interface OracleRoom {
  readonly version: string;
  /** Each after those that it cites. */
  readonly pdus: readonly JsonObject[];
  /** States of the room, as the ids of their events. */
  readonly stateSets: readonly (readonly EventId[])[];
}

/** Judge each event, by its auth events and in each state, and resolve the states. */
export interface RoomRequest {
  readonly op: 'room';
  readonly version: string;
  readonly events: readonly {
    readonly event_id: EventId;
    readonly pdu: JsonObject;
    /** Whether it was rejected on receipt. */
    readonly rejected: boolean;
  }[];
  readonly states: readonly (readonly EventId[])[];
}

/** The canonical JSON of a text, as the versions that are strict about it have it. */
export interface CanonicalRequest {
  readonly op: 'canonical';
  readonly text: string;
}

export type OracleRequest = RoomRequest | CanonicalRequest;

export interface RoomAnswer {
  /** In the order of the request. */
  readonly events: readonly EventAnswer[];
  /** The ids of the resolved state, sorted; null from an oracle that does not know the algorithm. */
  readonly resolved: readonly EventId[] | Failure | null;
}

/** Null for an event that is allowed, else why it is not; what was thrown begins with `crashed: `. */
export type Verdict = string | null;

export interface EventAnswer {
  readonly facts: EventFacts | { readonly unreadable: string };
  /** By the rules that do not depend on state. */
  readonly independent: Verdict;
  /** By the state that its auth events make. */
  readonly dependent: Verdict;
  /** In each of the states of the request. */
  readonly in_states: readonly Verdict[];
}

/** What is computed of a PDU; each as text. */
export interface EventFacts {
  readonly event_id: string | Failure;
  readonly content_hash: string | Failure;
  /** Unpadded base64; the alphabet may be that of the event id. */
  readonly reference_hash: string | Failure;
  /** Canonical JSON. */
  readonly redacted: string | Failure;
  /** Of the PDU without `unsigned`. */
  readonly canonical: string | Failure;
}

export interface Failure {
  readonly error: string;
}

export type CanonicalAnswer = { readonly canonical: string } | { readonly refused: string };

/** True for the answer that there is none. */
export function isFailure(value: unknown): value is Failure {
  return typeof value === 'object' && value !== null && 'error' in value;
}

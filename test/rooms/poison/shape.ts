/**
 * A shape of poison: an event that another server could send and should not, or may and seldom does. It is made from
 * a well-formed event by one change, and says what must become of it.
 *
 * 1. `drafted`: the well-formed event, without hash and signature.
 * 2. `change`: what is done to it before it gets both, so that only this is wrong with it.
 * 3. `after`: what is done to it when it has both.
 * 4. `edit`: what is done to its text.
 */

import { encodeCanonical, parseStrict } from '#keys/canonical-json.ts';
import { type EventId, isEventId, type UserId } from '#keys/ids.ts';
import type { Json, JsonObject } from '#keys/json.ts';
import { eventIdOf } from '#rooms/hashes.ts';
import { signEvent } from '#rooms/sign-event.ts';
import type { RoomVersionRules } from '#rooms/versions.ts';
import { type EventOptions, keyPairOf, type TestRoom } from '#test/harness/room-builder.ts';

/** `waiting`: it cites what nobody has, and gets no place in the room. */
export type Outcome = 'dropped' | 'rejected' | 'redacted' | 'accepted' | 'waiting';

/** Undefined where the shape does not make sense in the version. */
export type OutcomeBy = Outcome | ((rules: RoomVersionRules) => Outcome | undefined);

export type Parts = Readonly<Record<string, Json | undefined>>;

/** Where a shape is made. */
export interface Ground {
  /** Has more than 20 events, and `sender` as a member with power. */
  readonly room: TestRoom;
  readonly sender: UserId;
  /** Another for each shape that is made in the room. */
  readonly number: number;
}

export interface Shape {
  /** Alone of its name. */
  readonly name: string;
  /** The event that is spoilt, where that is not a state event of no meaning: any event will do. */
  readonly event?: (ground: Ground) => EventOptions;
  readonly sender?: (ground: Ground) => UserId;
  readonly change?: (pdu: JsonObject, ground: Ground) => Parts;
  readonly after?: (pdu: JsonObject, ground: Ground) => Parts;
  readonly edit?: (text: string, ground: Ground) => string;
  readonly outcome: OutcomeBy;
  /** Where the auth events alone say otherwise than they and the state before it. */
  readonly byAuthEvents?: OutcomeBy;
  /** It is no JSON, so that whatever holds it is none. */
  readonly isTorn?: true;
  /** Accepted, it changes what others may do. */
  readonly changesRules?: true;
  /** Who cites it beside the newest events has, by the specification, the whole state judged by the newest rules. */
  readonly resetsState?: true;
}

export interface Poison {
  readonly name: string;
  readonly text: string;
  readonly pdu: JsonObject;
  /** Undefined where nobody can say. */
  readonly eventId: EventId | undefined;
  readonly outcome: Outcome;
  /** What becomes of it by its auth events alone. */
  readonly byAuthEvents: Outcome;
  readonly isTorn: boolean;
  readonly resetsState: boolean;
}

/** One value of each type of JSON. */
export const KINDS: ReadonlyMap<string, Json> = new Map<string, Json>([
  ['null', null],
  ['true', true],
  ['a number', 7],
  ['a text', 'x'],
  ['an empty text', ''],
  ['a list', []],
  ['an object', {}],
]);

/** All of `KINDS` but some. */
export function kindsBut(...names: string[]): [string, Json][] {
  return [...KINDS].filter(([name]) => !names.includes(name));
}

/** A number as it would be hashed, however it is written: `1.0`, `1e3`, 30 digits. */
export function number(token: string): Json {
  const parsed = parseStrict(token, { anyNumbers: true });
  if (parsed.kind === 'invalid') throw new Error(`${token}: ${parsed.reason}`);
  return parsed.value;
}

/** What must become of the shape in a version; undefined where it does not make sense there. */
export function outcomeIn(outcome: OutcomeBy, rules: RoomVersionRules): Outcome | undefined {
  return typeof outcome === 'function' ? outcome(rules) : outcome;
}

/** The options of `event`, with which the well-formed event is drafted; of an invitation as of any other. */
export function poisonOf(shape: Shape, ground: Ground, instead?: EventOptions): Poison | undefined {
  const { room } = ground;
  const { rules } = room;
  const outcome = outcomeIn(shape.outcome, rules);
  if (outcome === undefined) return undefined;
  const sender = shape.sender?.(ground) ?? ground.sender;
  const options = shape.event?.(ground) ?? instead ?? ordinary(ground);
  const { hashes: _, signatures: __, ...drafted } = room.draft(sender, options).pdu;
  const changed = present({ ...drafted, ...shape.change?.(drafted, ground) });
  const server = ground.sender.slice(ground.sender.indexOf(':') + 1);
  const signed = signEvent(changed, rules, server, keyPairOf(server));
  const pdu = present({ ...signed, ...shape.after?.(signed, ground) });
  const json = encodeCanonical(pdu);
  return {
    name: shape.name,
    text: shape.edit?.(json, ground) ?? json,
    pdu,
    eventId: idOf(pdu, rules),
    outcome,
    byAuthEvents: outcomeIn(shape.byAuthEvents ?? shape.outcome, rules) ?? outcome,
    isTorn: shape.isTorn === true,
    resetsState: shape.resetsState === true,
  };
}

function ordinary({ number }: Ground): EventOptions {
  return { type: 'test.poison', state_key: `${number}`, content: { number } };
}

function idOf(pdu: JsonObject, rules: RoomVersionRules): EventId | undefined {
  if (rules.eventIds !== 'chosen') return eventIdOf(pdu, rules);
  return isEventId(pdu.event_id) ? pdu.event_id : undefined;
}

function present(parts: Parts): JsonObject {
  const entries = Object.entries(parts).filter((entry): entry is [string, Json] => entry[1] !== undefined);
  // `__proto__` among them stays a key.
  return Object.fromEntries(entries);
}

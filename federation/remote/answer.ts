/** Reading what other servers answer. */

import { isUtf8 } from 'node:buffer';
import { parseLoose, RELAYED_MAX_DEPTH, splitArrayAt } from '#keys/canonical-json.ts';
import { type EventId, isEventId } from '#keys/ids.ts';
import { isObject, type JsonObject } from '#keys/json.ts';
import { type FederationAnswer, type FederationFailure, failure } from '../client.ts';

/** What an endpoint of another server gave, or why it gave nothing. */
export type Remote<T> = { readonly kind: 'ok'; readonly value: T } | FederationFailure;

/** A room's state and its auth chain, each event as the raw text that was sent. */
export interface RoomStateTexts {
  readonly state: readonly string[];
  readonly authChain: readonly string[];
}

export const MAX_STATE_EVENTS = 250_000;
const MAX_NODES = 2_000_000;

/** Reads the answer's text; `take` gives undefined where its shape is wrong. */
export function read<T>(answer: FederationAnswer, take: (text: string) => T | undefined): Remote<T> {
  if (answer.kind === 'failed') return answer;
  if (!isUtf8(answer.bytes)) return failure('bad_answer', 'the answer is not UTF-8');
  const value = takenFrom(answer.bytes.toString(), take);
  return value === undefined ? failure('bad_answer', 'the answer has another shape') : { kind: 'ok', value };
}

/** The large arrays are cut out of text that nobody has parsed as a whole, so it may be no JSON at all. */
function takenFrom<T>(text: string, take: (text: string) => T | undefined): T | undefined {
  try {
    return take(text);
  } catch (error) {
    if (error instanceof SyntaxError) return undefined;
    throw error;
  }
}

/** As `read`, for an answer that is parsed whole. */
export function readObject<T>(
  answer: FederationAnswer,
  take: (body: JsonObject) => T | undefined,
): Remote<T> {
  return read(answer, (text) => objectFrom(text, take));
}

/** As `readObject`, for the second item of a pair. */
export function readSecond<T>(
  answer: FederationAnswer,
  take: (body: JsonObject) => T | undefined,
): Remote<T> {
  return read(answer, (text) => objectFrom(secondOf(text) ?? '', take));
}

function objectFrom<T>(text: string, take: (body: JsonObject) => T | undefined): T | undefined {
  const body = parseLoose(text, { maxDepth: RELAYED_MAX_DEPTH, maxNodes: MAX_NODES });
  return body.kind === 'ok' && isObject(body.value) ? take(body.value) : undefined;
}

/** The two lists of a room's state; undefined where one is missing, or they are too long. */
export function stateTexts(text: string, key: 'state' | 'pdus'): RoomStateTexts | undefined {
  const state = splitArrayAt(text, key);
  const authChain = splitArrayAt(text, 'auth_chain');
  if (state === undefined || authChain === undefined) return undefined;
  return state.length + authChain.length > MAX_STATE_EVENTS ? undefined : { state, authChain };
}

/** What the first version of a membership endpoint answers with: "an array of two items, 200 and an object". */
function secondOf(text: string): string | undefined {
  return splitArrayAt(`{"pair":${text}}`, 'pair')?.[1];
}

/** True where the server does not serve the second version of an endpoint: the first one is to be asked. */
export function isUnrecognized({ status, errcode }: FederationFailure): boolean {
  if (errcode !== undefined) return errcode === 'M_UNRECOGNIZED';
  return status === 404 || status === 405;
}

/** True where asking again will bring nothing else. */
export function isForGood({ reason, status = 0 }: FederationFailure): boolean {
  if (reason === 'bad_answer' || reason === 'too_large' || reason === 'invalid_server') return true;
  return reason === 'refused' && (status < 500 || status === 501) && status !== 429;
}

/** The event ids among the items; undefined where there are too many. */
export function eventIdsOf(items: readonly string[] | undefined): EventId[] | undefined {
  if (items === undefined || items.length > MAX_STATE_EVENTS) return undefined;
  return items.map((item): unknown => JSON.parse(item)).filter(isEventId);
}

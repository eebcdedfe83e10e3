/**
 * The conditions of push rules, prepared: https://spec.matrix.org/v1.19/client-server-api/#conditions-1
 *
 * Pure. "Unrecognised conditions MUST NOT match any events", and so it is with those that lack what they need.
 */

import type { UserId } from '#keys/ids.ts';
import { isObject, type Json, type JsonObject, own, stringAt } from '#keys/json.ts';
import type { Event } from '#rooms/event.ts';
import { containsInWords, type Glob, globOf, matchesGlob, matchesGlobInWords } from '#rooms/glob.ts';
import type { PowerLevels } from '#rooms/power.ts';
import { relationOf } from '#rooms/relations/relation.ts';
import { pathOf, propertyOf } from './property-path.ts';

/** What is known of the room at an event. Undefined: not looked up, since mostly no rule needs it. */
export interface Facts {
  readonly memberCount?: number | undefined;
  readonly power?: PowerLevels | undefined;
  /** The name of the user in the room; null where they have none. */
  readonly displayName?: string | null | undefined;
}

/** One look at an event with one user's rules. */
export interface Look {
  readonly event: Event;
  /** Whose rules they are. */
  readonly userId: string;
  readonly facts: Facts;
  /** Of the threads that the user follows, `threadKey`. Undefined where no rule asks for them. */
  readonly followed?: ReadonlySet<string> | undefined;
  /** How much may still be looked at of texts: see `spend`. */
  budget: number;
}

/** True or false, or undefined where that depends on a fact which was not looked up. */
export type Condition = (look: Look) => boolean | undefined;

/**
 * Of the texts that all patterns of a user are matched against for one event: some milliseconds. Ordinary messages
 * use a thousandth of it; beyond it patterns do not match.
 */
export const BUDGET = 1_000_000;
const BODY = 'content.body';
const MEMBER_COUNT = /^(==|<|>|>=|<=)?(\d{1,15})$/;

/** MSC4306. */
export const THREAD_SUBSCRIPTION = 'io.element.msc4306.thread_subscription';

/** In rules that many users share: whoever's they are. No user has this id. */
export const ANY_OWNER: UserId = '@:';

/** The condition of a rule. `isShared`: `ANY_OWNER` in it stands for whose rules they are. */
export function conditionOf(json: Json, isShared = false): Condition {
  if (!isObject(json)) return never;
  switch (stringAt(json, 'kind')) {
    case 'event_match':
      return isShared && json.pattern === ANY_OWNER ? isOwner(json) : eventMatch(json);
    case 'event_property_is':
      return propertyIs(json);
    case 'event_property_contains':
      return isShared && json.value === ANY_OWNER ? containsOwner(json) : propertyContains(json);
    case 'contains_display_name':
      return containsDisplayName;
    case 'room_member_count':
      return memberCount(json);
    case 'sender_notification_permission':
      return senderNotificationPermission(json);
    case THREAD_SUBSCRIPTION:
      return threadSubscription(json);
    default:
      return never;
  }
}

function never(): boolean {
  return false;
}

function eventMatch(json: JsonObject): Condition {
  const key = stringAt(json, 'key');
  const pattern = stringAt(json, 'pattern')?.toLowerCase();
  if (key === undefined || pattern === undefined) return never;
  const path = pathOf(key);
  const glob = globOf(pattern);
  // "As a special case, if `key` is `content.body`"
  if (key === BODY) return (look) => withText(look, path, glob, (text) => matchesGlobInWords(glob, text));
  if (!/[*?]/.test(pattern)) {
    return ({ event }) => {
      const value = propertyOf(event, path);
      return typeof value === 'string' && equalsInAnyCase(value, pattern);
    };
  }
  return (look) => withText(look, path, glob, (text) => matchesGlob(glob, text));
}

const ASCII = 128;

/** Whether a value is `pattern`, which is in lower case. Mostly its end tells that it is not. */
function equalsInAnyCase(value: string, pattern: string): boolean {
  if (value === pattern) return true;
  const last = value.charCodeAt(value.length - 1);
  const isOther = last < ASCII && String.fromCharCode(last).toLowerCase() !== pattern.at(-1);
  return !isOther && value.toLowerCase() === pattern;
}

/** "If the property [...] is completely absent from the event, or does not have a string value, then [...] not". */
function withText(
  look: Look,
  path: readonly string[],
  { weight }: Pick<Glob, 'weight'>,
  matches: (text: string) => boolean,
): boolean {
  const value = propertyOf(look.event, path);
  return typeof value === 'string' && spend(look, weight * value.length) && matches(lowerCase(value));
}

/** False where there is too little left of the budget. */
export function spend(look: Look, steps: number): boolean {
  if (steps > look.budget) return false;
  look.budget -= steps;
  return true;
}

let last: { readonly text: string; readonly lower: string } | undefined;

/** A text is looked at by many rules of many users, one after the other. */
export function lowerCase(text: string): string {
  if (last?.text !== text) last = { text, lower: text.toLowerCase() };
  return last.lower;
}

/** "The match is performed exactly and only supports non-compound canonical JSON values". */
function propertyIs(json: JsonObject): Condition {
  const path = pathOf(stringAt(json, 'key') ?? '');
  const value = own(json, 'value');
  if (stringAt(json, 'key') === undefined || !isPlain(value)) return never;
  return ({ event }) => propertyOf(event, path) === value;
}

function propertyContains(json: JsonObject): Condition {
  const path = pathOf(stringAt(json, 'key') ?? '');
  const value = own(json, 'value');
  if (stringAt(json, 'key') === undefined || !isPlain(value)) return never;
  return (look) => {
    const list = propertyOf(look.event, path);
    return Array.isArray(list) && spend(look, list.length) && list.includes(value);
  };
}

/** `eventMatch` with the owner of the rules. */
function isOwner(json: JsonObject): Condition {
  const path = pathOf(stringAt(json, 'key') ?? '');
  return ({ event, userId }) => {
    const value = propertyOf(event, path);
    return typeof value === 'string' && equalsInAnyCase(value, userId.toLowerCase());
  };
}

/** `propertyContains` with the owner of the rules. */
function containsOwner(json: JsonObject): Condition {
  const path = pathOf(stringAt(json, 'key') ?? '');
  return (look) => {
    const list = propertyOf(look.event, path);
    return Array.isArray(list) && spend(look, list.length) && list.includes(look.userId);
  };
}

function isPlain(value: Json | undefined): value is string | number | boolean | null {
  return (
    value === null ||
    typeof value === 'string' ||
    typeof value === 'boolean' ||
    (typeof value === 'number' && Number.isSafeInteger(value))
  );
}

const BODY_PATH = pathOf(BODY);

/** The text in which content rules look for words. */
export function bodyOf(event: Event): string | undefined {
  const value = propertyOf(event, BODY_PATH);
  return typeof value === 'string' ? value : undefined;
}

function containsDisplayName(look: Look): boolean | undefined {
  const { displayName } = look.facts;
  if (displayName === undefined) return undefined;
  if (displayName === null || displayName === '') return false;
  const name = displayName.toLowerCase();
  return withText(look, BODY_PATH, globOf(name), (text) => containsInWords(name, text));
}

function memberCount(json: JsonObject): Condition {
  const test = memberCountTest(json);
  if (test === undefined) return never;
  return ({ facts }) => (facts.memberCount === undefined ? undefined : test(facts.memberCount));
}

/** What a condition asks of the number of members; undefined for one that asks nothing, or nothing that is valid. */
export function memberCountTest(json: Json): ((count: number) => boolean) | undefined {
  if (!isObject(json) || json.kind !== 'room_member_count') return undefined;
  const [, operator = '==', digits] = MEMBER_COUNT.exec(stringAt(json, 'is') ?? '') ?? [];
  if (digits === undefined) return undefined;
  const wanted = Number(digits);
  switch (operator) {
    case '<':
      return (count) => count < wanted;
    case '>':
      return (count) => count > wanted;
    case '<=':
      return (count) => count <= wanted;
    case '>=':
      return (count) => count >= wanted;
    default:
      return (count) => count === wanted;
  }
}

function senderNotificationPermission(json: JsonObject): Condition {
  const key = stringAt(json, 'key');
  if (key === undefined) return never;
  return ({ event, facts: { power } }) =>
    power === undefined ? undefined : power.of(event.sender) >= power.notifying(key);
}

/** True where a condition asks which threads a user follows. */
export function asksForThreads(json: Json): boolean {
  return isObject(json) && json.kind === THREAD_SUBSCRIPTION;
}

/** A thread of a room, which is what a user follows. */
export function threadKey(roomId: string, rootId: string): string {
  return `${roomId} ${rootId}`;
}

/** The thread that an event is part of, as `threadKey`; undefined for one that is in none. */
export function threadKeyOf({ roomId, content }: Event): string | undefined {
  const relation = relationOf(content);
  return relation?.relType === 'm.thread' ? threadKey(roomId, relation.parentId) : undefined;
}

/** "The event [...] is part of a thread" that the user has subscribed to, or not. */
function threadSubscription(json: JsonObject): Condition {
  const subscribed = own(json, 'subscribed');
  if (typeof subscribed !== 'boolean') return never;
  return ({ event, followed }) => {
    const thread = threadKeyOf(event);
    if (thread === undefined) return false;
    return followed === undefined ? undefined : followed.has(thread) === subscribed;
  };
}

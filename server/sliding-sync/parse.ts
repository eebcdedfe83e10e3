/** Reads the requests of both faces of sliding sync. */

import { invalidParam, missingParam } from '#federation/errors.ts';
import { isObject, isStringArray, type Json, type JsonObject, own } from '#keys/json.ts';
import { Lru } from '#storage/lru.ts';
import { optionalBoolean, optionalObject, optionalString } from '../body.ts';
import {
  filtersOf,
  listsOf,
  MOST_STATE_ELEMENTS,
  rangeOf,
  scopeOf,
  subscriptionsOf,
  timelineLimitOf,
} from './parse-parts.ts';
import type { Face, ListConfig, Range, RoomRequest } from './request.ts';
import {
  type CombinedConfig,
  NO_STATE,
  OWN,
  type RequiredState,
  type RoomConfig,
  type StateElement,
} from './required-state.ts';

/** Longer requests are parsed, but not kept. */
export const LONGEST_KEPT = 8_192;
const MOST_KEPT = 1_000;
/** Of one request: many rooms are in the same lists. */
const MOST_CONFIGS = 100;
const LAZY = '$LAZY';
const ME = '$ME';
const ANY = '*';
/** Where a client does not say. */
const DEFAULT_TIMELINE_LIMIT = 10;
const MOST_RANGES = 20;
/** "The list keys must follow the grammar of opaque identifiers." */
const OPAQUE_IDENTIFIER = /^[0-9a-zA-Z\-._~]{1,255}$/;

/** What clients ask of rooms, parsed, by its text: the same again and again, and mostly the same for all users. */
export class RoomRequests {
  readonly #known = new Lru<string, RoomRequest>({ maxEntries: MOST_KEPT });

  /** Throws what is wrong with it. */
  parse(face: Face, body: JsonObject): RoomRequest {
    const extensions = optionalObject(body, 'extensions') ?? {};
    const { account_data: accountData, receipts, typing } = extensions;
    const parts = [body.lists, body.room_subscriptions, accountData, receipts, typing];
    const signature = JSON.stringify(parts);
    const key = `${face} ${signature}`;
    const known = this.#known.get(key);
    if (known !== undefined) return known;
    const request = {
      lists: new Map(listsOf(body).map(([name, list]) => [name, listConfig(face, name, list)])),
      subscriptions: new Map(
        subscriptionsOf(body).map(([roomId, config]) => [roomId, roomConfig(face, config)]),
      ),
      accountData: scopeOf(extensions, 'account_data'),
      receipts: scopeOf(extensions, 'receipts'),
      typing: scopeOf(extensions, 'typing'),
      signature,
      configs: new Lru<string, CombinedConfig>({ maxEntries: MOST_CONFIGS }),
    };
    if (key.length <= LONGEST_KEPT) this.#known.set(key, request);
    return request;
  }
}

function listConfig(face: Face, name: string, list: JsonObject): ListConfig {
  if (face === 'stable' && !OPAQUE_IDENTIFIER.test(name))
    throw invalidParam('The key of a list must be an opaque identifier');
  return {
    ...roomConfig(face, list),
    ranges: face === 'stable' ? rangesOfStable(list) : rangesOfExperimental(list),
    filters: filtersOf(list, face === 'stable' ? 'is_invited' : 'is_invite'),
  };
}

function roomConfig(face: Face, config: JsonObject): RoomConfig {
  return face === 'stable'
    ? { timelineLimit: timelineLimitOf(config), requiredState: stateOfStable(config) }
    : {
        timelineLimit: timelineLimitOf(config, DEFAULT_TIMELINE_LIMIT),
        requiredState: stateOfExperimental(config),
      };
}

/** "If this field is missing, the room list is not limited by range." */
function rangesOfStable(list: JsonObject): readonly Range[] | undefined {
  const range = own(list, 'range');
  return range === undefined || range === null ? undefined : [rangeOf(range, 'range')];
}

function rangesOfExperimental(list: JsonObject): readonly Range[] | undefined {
  const ranges = own(list, 'ranges');
  if (ranges === undefined || ranges === null) return undefined;
  if (!Array.isArray(ranges)) throw invalidParam('ranges must be a list of ranges');
  if (ranges.length > MOST_RANGES) throw invalidParam(`ranges has more than ${MOST_RANGES} entries`);
  return ranges.map((range) => rangeOf(range, 'ranges'));
}

function stateOfStable(config: JsonObject): RequiredState {
  const required = own(config, 'required_state');
  if (required === undefined || required === null) throw missingParam('required_state');
  if (!isObject(required)) throw invalidParam('required_state must be an object');
  return {
    include: elementsOf(required, 'include'),
    exclude: elementsOf(required, 'exclude'),
    lazyMembers: optionalBoolean(required, 'lazy_members') ?? false,
  };
}

function elementsOf(required: JsonObject, key: string): readonly StateElement[] {
  const elements = own(required, key);
  if (elements === undefined || elements === null) return [];
  if (!Array.isArray(elements) || !elements.every(isObject))
    throw invalidParam(`required_state.${key} must be a list of objects`);
  refuseTooMany(elements);
  return elements.map((element) => ({
    type: optionalString(element, 'type'),
    stateKey: optionalString(element, 'state_key'),
  }));
}

/** Pairs of a type and a state key; either may be "*". */
function stateOfExperimental(config: JsonObject): RequiredState {
  const pairs = own(config, 'required_state');
  if (pairs === undefined || pairs === null) return NO_STATE;
  const isPair = (pair: Json): pair is readonly [string, string] => isStringArray(pair) && pair.length === 2;
  if (!Array.isArray(pairs) || !pairs.every(isPair))
    throw invalidParam('required_state must be a list of pairs of a type and a state key');
  refuseTooMany(pairs);
  const isLazy = ([type, stateKey]: readonly [string, string]) =>
    type === 'm.room.member' && stateKey === LAZY;
  return {
    include: pairs
      .filter((pair) => !isLazy(pair))
      .map(([type, stateKey]) => ({
        type: type === ANY ? undefined : type,
        stateKey: stateKeyOf(stateKey),
      })),
    exclude: [],
    lazyMembers: pairs.some(isLazy),
  };
}

function stateKeyOf(stateKey: string): string | undefined | typeof OWN {
  if (stateKey === ANY) return undefined;
  return stateKey === ME ? OWN : stateKey;
}

function refuseTooMany(elements: readonly unknown[]): void {
  if (elements.length > MOST_STATE_ELEMENTS)
    throw invalidParam(`required_state has more than ${MOST_STATE_ELEMENTS} entries`);
}

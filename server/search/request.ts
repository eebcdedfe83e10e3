/** The body of `POST /search`: https://spec.matrix.org/v1.19/client-server-api/#post_matrixclientv3search */

import { invalidParam } from '#federation/errors.ts';
import { isObject, type JsonObject, own } from '#keys/json.ts';
import { phrasesOf } from '#keys/words.ts';
import {
  optionalBoolean,
  optionalInteger,
  optionalObject,
  optionalString,
  requiredString,
  stringList,
} from '../body.ts';
import { type EventFilter, eventFilterOf } from '../sync/filter.ts';
import { TYPE_OF_KEY } from './searchable.ts';
import { parseSearchToken, type SearchToken } from './token.ts';

const orders = ['rank', 'recent'] as const;
export type SearchOrder = (typeof orders)[number];

const groupKeys = ['room_id', 'sender'] as const;
export type GroupKey = (typeof groupKeys)[number];

export interface EventContextRequest {
  readonly before: number;
  readonly after: number;
  readonly includeProfile: boolean;
}

export interface SearchRequest {
  readonly phrases: readonly (readonly string[])[];
  /** The types of the events that have the keys. */
  readonly types: readonly string[];
  readonly filter: EventFilter;
  /** Results on a page. */
  readonly limit: number;
  readonly orderBy: SearchOrder;
  readonly groupBy: readonly GroupKey[];
  readonly context: EventContextRequest | undefined;
  readonly includeState: boolean;
  /** Where the page begins; undefined for the first. */
  readonly from: SearchToken | undefined;
}

const LONGEST_TERM = 1_000;
const MOST_WORDS = 50;
const DEFAULT_LIMIT = 10;
const MAX_LIMIT = 50;
const DEFAULT_CONTEXT = 5;
const MAX_CONTEXT = 20;

/** The search in room events that a body asks for; undefined where it asks for none. Throws what is wrong with it. */
export function searchRequest(body: JsonObject, nextBatch: string | undefined): SearchRequest | undefined {
  const categories = optionalObject(body, 'search_categories');
  if (categories === undefined) throw invalidParam('search_categories is missing');
  const criteria = optionalObject(categories, 'room_events');
  if (criteria === undefined) return undefined;
  const filter = eventFilterOf(optionalObject(criteria, 'filter') ?? {});
  const orderBy = orderOf(optionalString(criteria, 'order_by'));
  return {
    phrases: phrasesIn(requiredString(criteria, 'search_term')),
    types: typesOf(criteria),
    filter,
    limit: Math.min(filter.limit ?? DEFAULT_LIMIT, MAX_LIMIT),
    orderBy,
    groupBy: groupsOf(criteria),
    context: contextOf(optionalObject(criteria, 'event_context')),
    includeState: optionalBoolean(criteria, 'include_state') ?? false,
    from: nextBatch === undefined ? undefined : tokenOf(nextBatch, orderBy),
  };
}

function phrasesIn(term: string): SearchRequest['phrases'] {
  if (term.length > LONGEST_TERM) throw invalidParam('search_term is too long');
  const phrases = phrasesOf(term);
  if (phrases.flat().length > MOST_WORDS) throw invalidParam('search_term has too many words');
  return phrases;
}

/** "The keys to search. Defaults to all." */
function typesOf(criteria: JsonObject): readonly string[] {
  if ((own(criteria, 'keys') ?? null) === null) return [...TYPE_OF_KEY.values()];
  return stringList(criteria, 'keys').map((key) => {
    const type = TYPE_OF_KEY.get(key);
    if (type === undefined) throw invalidParam(`keys: ${[...TYPE_OF_KEY.keys()].join(', ')} can be searched`);
    return type;
  });
}

/** "By default, this is `rank`." */
function orderOf(value: string | undefined): SearchOrder {
  const order = orders.find((known) => known === (value ?? 'rank'));
  if (order === undefined) throw invalidParam(`order_by is neither ${orders.join(' nor ')}`);
  return order;
}

function groupsOf(criteria: JsonObject): readonly GroupKey[] {
  const groupBy = own(optionalObject(criteria, 'groupings') ?? {}, 'group_by') ?? [];
  if (!Array.isArray(groupBy)) throw invalidParam('group_by must be a list');
  const keys = groupBy.map((group: unknown) => {
    const name = isObject(group) ? own(group, 'key') : undefined;
    const key = groupKeys.find((known) => known === name);
    if (key === undefined) throw invalidParam(`group_by: key is neither ${groupKeys.join(' nor ')}`);
    return key;
  });
  return [...new Set(keys)];
}

function contextOf(asked: JsonObject | undefined): EventContextRequest | undefined {
  if (asked === undefined) return undefined;
  return {
    before: contextLimit(asked, 'before_limit'),
    after: contextLimit(asked, 'after_limit'),
    includeProfile: optionalBoolean(asked, 'include_profile') ?? false,
  };
}

function contextLimit(asked: JsonObject, key: string): number {
  const limit = optionalInteger(asked, key) ?? DEFAULT_CONTEXT;
  if (limit < 0) throw invalidParam(`${key} is negative`);
  return Math.min(limit, MAX_CONTEXT);
}

function tokenOf(text: string, orderBy: SearchOrder): SearchToken {
  const token = parseSearchToken(text);
  if (token === undefined || token.orderBy !== orderBy)
    throw invalidParam('next_batch is not a token of this search');
  return token;
}

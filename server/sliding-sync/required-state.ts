/**
 * Which state of a room a client asks for:
 * https://github.com/matrix-org/matrix-spec-proposals/blob/main/proposals/4186-simplified-sliding-sync.md
 *
 * Pure. Both faces of sliding sync are read into this form.
 */

import type { UserId } from '#keys/ids.ts';
import type { StateKey } from '#storage/state-keys.ts';

/** Undefined matches everything. */
export interface StateElement {
  readonly type: string | undefined;
  readonly stateKey: string | undefined;
}

/** "$ME" of the experimental face, as a state key: the user who asks, so that all users may ask by the same request. */
export const OWN = { own: true } as const;

interface AskedElement {
  readonly type: string | undefined;
  readonly stateKey: string | undefined | typeof OWN;
}

/** The state that one list or subscription asks for. */
export interface RequiredState<Element = AskedElement> {
  readonly include: readonly Element[];
  readonly exclude: readonly StateElement[];
  readonly lazyMembers: boolean;
}

/** What a room is told by: of all the lists and subscriptions that it matches, the most. */
export interface RoomConfig {
  readonly timelineLimit: number;
  readonly requiredState: RequiredState;
}

export interface CombinedConfig<Element = AskedElement> {
  readonly timelineLimit: number;
  readonly states: readonly RequiredState<Element>[];
  /** Members are told where the timeline needs them. */
  readonly lazyMembers: boolean;
  /** The same for the same required state. */
  readonly key: string;
}

/** What one user asks for. */
export type UserConfig = CombinedConfig<StateElement>;

const MEMBER = 'm.room.member';
export const NO_STATE: RequiredState = { include: [], exclude: [], lazyMembers: false };

/** "The fields are combined by taking the superset." */
export function combined(configs: readonly RoomConfig[]): CombinedConfig {
  const byKey = new Map<string, RequiredState>();
  for (const { requiredState } of configs) byKey.set(JSON.stringify(requiredState), requiredState);
  const keys = [...byKey.keys()].sort();
  return {
    timelineLimit: Math.max(0, ...configs.map(({ timelineLimit }) => timelineLimit)),
    ...statesOf([...byKey.values()]),
    key: `[${keys.join(',')}]`,
  };
}

/** The required state of a `key`, with any limit of the timeline. */
export function configOfKey(key: string): CombinedConfig {
  const parsed: readonly Partial<RequiredState>[] = JSON.parse(key);
  const states = parsed.map(({ include = [], exclude = [], lazyMembers = false }) => ({
    // JSON has nothing for undefined.
    include: include.map(({ type, stateKey }) => ({ type, stateKey })),
    exclude: exclude.map(({ type, stateKey }) => ({ type, stateKey })),
    lazyMembers,
  }));
  return { timelineLimit: 0, ...statesOf(states), key };
}

/** The config as one user means it. */
export function configFor({ states, ...config }: CombinedConfig, userId: UserId): UserConfig {
  return {
    ...config,
    states: states.map(({ include, ...state }) => ({
      ...state,
      include: include.map(({ type, stateKey }) => ({
        type,
        stateKey: typeof stateKey === 'object' ? userId : stateKey,
      })),
    })),
  };
}

/**
 * "The combined config has `lazy_members` set to true if and only if a) any of the configs have `lazy_members` set to
 * true AND b) there are no configs that return all membership events (and don't have `lazy_members` set)."
 */
function statesOf(states: readonly RequiredState[]): Pick<CombinedConfig, 'states' | 'lazyMembers'> {
  const hasAllMembers = states.some((state) => !state.lazyMembers && includesAllMembers(state));
  return { states, lazyMembers: !hasAllMembers && states.some(({ lazyMembers }) => lazyMembers) };
}

/** True where a state event is asked for, not counting what is told of members lazily. */
export function isRequired({ states }: Pick<UserConfig, 'states'>, type: string, stateKey: string): boolean {
  return states.some((state) => includes(state, type, stateKey));
}

function includes(
  { include, exclude, lazyMembers }: RequiredState<StateElement>,
  type: string,
  stateKey: string,
): boolean {
  const isLazy = lazyMembers && type === MEMBER;
  const isIncluded = include.some(
    (element) => matches(element, type, stateKey) && !(isLazy && element.stateKey === undefined),
  );
  return isIncluded && !exclude.some((element) => matches(element, type, stateKey));
}

function matches(element: StateElement, type: string, stateKey: string): boolean {
  return (
    (element.type === undefined || element.type === type) &&
    (element.stateKey === undefined || element.stateKey === stateKey)
  );
}

function includesAllMembers({ include }: RequiredState): boolean {
  return include.some(
    ({ type, stateKey }) => stateKey === undefined && (type === undefined || type === MEMBER),
  );
}

/** What has to be read of a room's state for a config; what of it is asked for is another question. */
export interface StateReads {
  /** `all`, `besides members`, or what the others say. */
  readonly whole: 'all' | 'besides members' | undefined;
  /** All events of some types. */
  readonly types: ReadonlySet<string>;
  readonly keys: readonly StateKey[];
}

/** The fewest reads that have everything that is asked for. */
export function readsFor({ states }: Pick<UserConfig, 'states'>): StateReads {
  const types = new Set<string>();
  const keys = new Map<string, StateKey>();
  let whole: StateReads['whole'];
  for (const { include, lazyMembers } of states) {
    for (const { type, stateKey } of include) {
      if (type === undefined && stateKey === undefined && !lazyMembers) whole = 'all';
      else if (type === undefined) {
        whole ??= 'besides members';
        if (stateKey !== undefined) keys.set(`${MEMBER} ${stateKey}`, { type: MEMBER, stateKey });
      } else if (stateKey !== undefined) keys.set(`${type} ${stateKey}`, { type, stateKey });
      else if (type !== MEMBER || !lazyMembers) types.add(type);
    }
  }
  return { whole, types, keys: [...keys.values()] };
}

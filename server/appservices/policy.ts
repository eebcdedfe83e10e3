/** What an operator allows an application service, beside what the specification does. */

import { isObject, type Json, type JsonObject, own } from '#keys/json.ts';

/** In a registration file under `kurir`, or given with the command that adds the service. */
export interface Policy {
  /** False: the rooms that its users make are for users of this server alone. */
  readonly federation: boolean;
  /** False: its users make no room that everybody may enter, read or find. */
  readonly publicRooms: boolean;
  /** How many may be in a room that its users make. */
  readonly maxMembers: number | undefined;
}

export const FREE: Policy = { federation: true, publicRooms: true, maxMembers: undefined };

const MOST = 1_000_000;

/** The policy of a mapping such as `{"federation": false, "max_members": 50}`, or what is wrong with it. */
export function policyIn(value: Json): Policy | string {
  if (!isObject(value)) return 'it is no mapping';
  const unknown = Object.keys(value).find((key) => !KEYS.includes(key));
  // What is misspelt here would allow what is to be forbidden.
  if (unknown !== undefined) return `there is no "${unknown}": use ${KEYS.join(', ')}`;
  const federation = flagIn(value, 'federation');
  const publicRooms = flagIn(value, 'public_rooms');
  if (federation === undefined || publicRooms === undefined) return 'it is neither true nor false';
  const maxMembers = own(value, 'max_members') ?? undefined;
  if (maxMembers !== undefined && !isCount(maxMembers)) return 'max_members is no number from 1 on';
  return { federation, publicRooms, maxMembers };
}

/** What both allow. */
export function stricter(a: Policy, b: Policy): Policy {
  const caps = [a.maxMembers, b.maxMembers].filter((cap) => cap !== undefined);
  return {
    federation: a.federation && b.federation,
    publicRooms: a.publicRooms && b.publicRooms,
    maxMembers: caps.length === 0 ? undefined : Math.min(...caps),
  };
}

/** One line for the operator; empty where everything is allowed. */
export function wordsOf({ federation, publicRooms, maxMembers }: Policy): string {
  const words = [
    federation ? '' : 'no federation',
    publicRooms ? '' : 'no public rooms',
    maxMembers === undefined ? '' : `at most ${maxMembers} members`,
  ];
  return words.filter((word) => word !== '').join(', ');
}

const KEYS = ['federation', 'public_rooms', 'max_members'];

function flagIn(value: JsonObject, key: string): boolean | undefined {
  const flag = own(value, key) ?? true;
  return typeof flag === 'boolean' ? flag : undefined;
}

function isCount(value: Json): value is number {
  return typeof value === 'number' && Number.isSafeInteger(value) && value >= 1 && value <= MOST;
}

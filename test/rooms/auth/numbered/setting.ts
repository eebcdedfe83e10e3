/** Small rooms of any version in which one rule decides. */
import assert from 'node:assert/strict';
import type { EventId, UserId } from '#keys/ids.ts';
import type { JsonObject } from '#keys/json.ts';
import { authStateOf, checkStateDependent, checkStateIndependent, type Refusal } from '#rooms/auth/check.ts';
import { type Event, eventFrom } from '#rooms/event.ts';
import { type RoomVersionRules, rulesOf } from '#rooms/versions.ts';
import { roomOf, type TestRoom } from '#test/harness/room-builder.ts';
import { noteRefusal } from './rule.ts';

export const ADMIN = '@admin:a.test';
export const SENDER = '@sender:s.test';
export const TARGET = '@target:t.test';

export const MEMBERSHIPS = [undefined, 'join', 'invite', 'leave', 'ban', 'knock'] as const;
export type Membership = (typeof MEMBERSHIPS)[number];

export interface Setting {
  readonly join_rule?: string;
  readonly sender?: Membership;
  readonly target?: Membership;
  readonly senderLevel?: number;
  readonly targetLevel?: number;
  /** Further content of the power levels. */
  readonly levels?: JsonObject;
}

export function rules(version: string): RoomVersionRules {
  const found = rulesOf(version);
  assert.ok(found);
  return found;
}

/** A room of the admin, with two others whose memberships and levels are as given. */
export function roomWith(version: string, setting: Setting = {}): TestRoom {
  const { join_rule = 'invite', senderLevel = 0, targetLevel = 0 } = setting;
  const users = { ...admins(version), [SENDER]: senderLevel, [TARGET]: targetLevel };
  const room = roomOf(ADMIN, { version, join_rule, power_levels: { users, ...setting.levels } });
  if (setting.sender !== undefined) room.member(ADMIN, SENDER, setting.sender);
  if (setting.target !== undefined) room.member(ADMIN, TARGET, setting.target);
  return room;
}

/** The creator's entry in the power levels: version 12 must not have one. */
export function admins(version: string): JsonObject {
  return rules(version).privilegedCreators ? {} : { [ADMIN]: 100 };
}

/** The verdict on a membership event by the first of two users about the second. */
export function membership(
  room: TestRoom,
  users: readonly [UserId, UserId],
  value: JsonObject[string],
  more: JsonObject = {},
): Refusal | undefined {
  const [sender, target] = users;
  const content = { membership: value, ...more };
  return room.refusalOf(sender, { type: 'm.room.member', state_key: target, content });
}

export function allowed(refusal: Refusal | undefined, about = ''): void {
  assert.equal(refusal?.reason, undefined, about);
}

/** Checks that it is refused, with these words. */
export function refused(refusal: Refusal | undefined, says: RegExp, about = ''): void {
  assert.match(refusal?.reason ?? 'allowed', says, about);
  noteRefusal(refusal);
}

/** Checks that exactly these memberships allow it, and that the others are refused with these words. */
export function allowedOnlyTo(
  members: readonly Membership[],
  says: RegExp,
  verdict: (membership: Membership) => Refusal | undefined,
): void {
  for (const member of MEMBERSHIPS) {
    if (members.includes(member)) allowed(verdict(member), String(member));
    else refused(verdict(member), says, String(member));
  }
}

/** References to events, as the version writes them. */
export function cite(version: string, eventIds: readonly EventId[]): JsonObject[string] {
  if (rules(version).eventReferences === 'ids') return [...eventIds];
  return eventIds.map((eventId) => [eventId, { sha256: 'aGFzaA' }]);
}

/** The create event of a room with changed top-level keys; undefined removes a key. */
export function createWith(version: string, change: Record<string, JsonObject[string] | undefined>): Event {
  const { hashes: _h, signatures: _s, ...pdu } = roomOf(ADMIN, { version }).create.pdu;
  const entries = Object.entries({ ...pdu, ...change });
  const changed = entries.filter((entry): entry is [string, JsonObject[string]] => entry[1] !== undefined);
  const parts = { ...Object.fromEntries(changed), hashes: { sha256: 'x' }, signatures: {} };
  return eventFrom(parts, rules(version));
}

export function checkCreate(event: Event): Refusal | undefined {
  return checkStateIndependent(event, new Map(), undefined) ?? checkStateDependent(event, authStateOf([]));
}

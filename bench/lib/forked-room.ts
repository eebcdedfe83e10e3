/** A room in which two halves have not heard of each other for long: what state resolution has most work with. */

import { createHash } from 'node:crypto';
import type { EventId, UserId } from '#keys/ids.ts';
import type { JsonObject } from '#keys/json.ts';
import { type Event, eventFrom, stateMapKey } from '#rooms/event.ts';
import { type RoomVersionRules, rulesOf } from '#rooms/versions.ts';

export interface ForkedRoom {
  readonly rules: RoomVersionRules;
  /** Each after those that authorise it; unsigned, as if they had been checked on receipt. */
  readonly events: readonly Event[];
  readonly before: ReadonlyMap<string, EventId>;
  readonly sides: readonly ReadonlyMap<string, EventId>[];
}

const CREATOR: UserId = '@creator:a.example';
const MODERATOR: UserId = '@moderator:a.example';

/**
 * A room whose sides conflict in `conflicted` events: on one side all members but a twentieth change their names, on
 * the other half do, a quarter is removed by a moderator, and a quarter leaves; both sides change the power levels.
 */
export function forkedRoom(conflicted: number): ForkedRoom {
  const builder = new Builder();
  const members = Array.from(
    { length: Math.ceil(conflicted / 2) - 1 },
    (_, n): UserId => `@user${n}:b.example`,
  );
  for (const member of members) builder.add(member, 'm.room.member', member, { membership: 'join' });
  const before = new Map(builder.state);
  const sides = [1, 2].map((side) => {
    builder.state = new Map(before);
    const users = { [CREATOR]: 100, [MODERATOR]: 50, [`@promoted${side}:b.example`]: 10 };
    builder.add(CREATOR, 'm.room.power_levels', '', { users });
    for (const [index, member] of members.entries()) builder.changeMember(member, side === 1 ? 0 : index % 4);
    return builder.state;
  });
  return { rules: builder.rules, events: builder.events, before, sides };
}

class Builder {
  readonly rules: RoomVersionRules;
  readonly events: Event[] = [];
  state = new Map<string, EventId>();

  constructor() {
    const rules = rulesOf('11');
    if (rules === undefined) throw new Error('room version 11 is not known');
    this.rules = rules;
    this.add(CREATOR, 'm.room.create', '', { room_version: '11' });
    this.add(CREATOR, 'm.room.member', CREATOR, { membership: 'join' });
    const users = { [CREATOR]: 100, [MODERATOR]: 50 };
    this.add(CREATOR, 'm.room.power_levels', '', { users });
    this.add(CREATOR, 'm.room.join_rules', '', { join_rule: 'public' });
    this.add(MODERATOR, 'm.room.member', MODERATOR, { membership: 'join' });
  }

  changeMember(member: UserId, how: number): void {
    if (how === 2) this.add(MODERATOR, 'm.room.member', member, { membership: 'leave' });
    else if (how === 3) this.add(member, 'm.room.member', member, { membership: 'leave' });
    else
      this.add(member, 'm.room.member', member, {
        membership: 'join',
        displayname: `Name ${this.events.length}`,
      });
  }

  add(sender: UserId, type: string, stateKey: string, content: JsonObject): void {
    const number = this.events.length;
    const eventId: EventId = `$${createHash('sha256').update(`${number}`).digest('base64url')}`;
    const authEvents = [
      ['m.room.create', ''],
      ['m.room.power_levels', ''],
      ['m.room.member', sender],
      ...(type === 'm.room.member'
        ? [['m.room.member', stateKey] as const, ['m.room.join_rules', ''] as const]
        : []),
    ].map(([authType = '', authKey = '']) => this.state.get(stateMapKey(authType, authKey)));
    const pdu = {
      auth_events: [...new Set(authEvents.filter((id) => id !== undefined))],
      content,
      depth: number + 1,
      hashes: { sha256: createHash('sha256').update(eventId).digest('base64') },
      origin_server_ts: 1_700_000_000_000 + number,
      prev_events: this.events.slice(-1).map((event) => event.eventId),
      room_id: '!forked:a.example',
      sender,
      signatures: { 'b.example': { 'ed25519:a_key': createHash('sha512').update(eventId).digest('base64') } },
      state_key: stateKey,
      type,
    };
    this.events.push(eventFrom(pdu, this.rules, { eventId }));
    this.state.set(stateMapKey(type, stateKey), eventId);
  }
}

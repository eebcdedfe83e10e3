/** Rooms and devices that are written into a server's database before it starts: by HTTP they would take hours. */

import type { RoomId, UserId } from '#keys/ids.ts';
import { hashToken } from '#keys/tokens.ts';
import type { RoomsContext } from '#rooms/context.ts';
import { startRoom } from '#rooms/start-room.ts';
import { rulesOf } from '#rooms/versions.ts';
import * as accessTokens from '#storage/access-tokens.ts';
import type { Database } from '#storage/database.ts';
import * as devices from '#storage/devices.ts';
import * as users from '#storage/users.ts';

const DEVICE = 'BENCH';
const USERS_AT_ONCE = 500;

export interface RoomContent {
  /** The first creates it. */
  readonly members: readonly UserId[];
  /** Said by the members in turn. */
  readonly messages?: number;
}

/** Writes a public room, with all members and messages in one transaction. */
export async function writeRoom(
  ctx: RoomsContext,
  roomId: RoomId,
  { members, messages = 0 }: RoomContent,
): Promise<void> {
  const rules = rulesOf('11');
  const [creator] = members;
  if (rules === undefined || creator === undefined) throw new Error('a room without a creator');
  const state = [
    { type: 'm.room.create', stateKey: '', content: { room_version: '11' } },
    { type: 'm.room.member', stateKey: creator, content: { membership: 'join' } },
    { type: 'm.room.power_levels', stateKey: '', content: { users: { [creator]: 100 } } },
    { type: 'm.room.join_rules', stateKey: '', content: { join_rule: 'public' } },
  ].map((draft) => ({ ...draft, roomId, sender: creator }));
  const joins = members.slice(1).map((member) => {
    const content = { membership: 'join', displayname: `Member ${member}` };
    return { roomId, sender: member, type: 'm.room.member', stateKey: member, content };
  });
  const said = Array.from({ length: messages }, (_, number) => {
    const content = {
      msgtype: 'm.text',
      body: `What number ${number} says: please look at the second sheet.`,
    };
    const sender = members[(7 * number) % members.length] ?? creator;
    return { roomId, sender, type: 'm.room.message', content };
  });
  const started = await startRoom(ctx, { rules, drafts: [...state, ...joins, ...said] });
  if (started.kind !== 'started') throw new Error(`no room: ${started.reason}`);
}

/** Signs users in that had no account; the token of each is `tokenOf` it. */
export async function writeDevices(db: Database, userIds: readonly UserId[]): Promise<void> {
  for (let from = 0; from < userIds.length; from += USERS_AT_ONCE) {
    const some = userIds.slice(from, from + USERS_AT_ONCE);
    await db.write('bench.devices', async (tx) => {
      for (const userId of some) {
        await users.create(tx, { userId, passwordHash: undefined, isAdmin: false, now: 0 });
        await devices.create(tx, { userId, deviceId: DEVICE, displayName: undefined, now: 0 });
        await accessTokens.add(tx, { hash: hashToken(tokenOf(userId)), userId, deviceId: DEVICE, now: 0 });
      }
    });
  }
}

export function tokenOf(userId: UserId): string {
  return `token_of_${userId.slice(1).replaceAll(/\W/g, '_')}`;
}

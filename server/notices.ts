/**
 * What the server itself has to say to its users: https://spec.matrix.org/v1.19/client-server-api/#server-notices
 *
 * "Servers should manage exactly 1 server notices room per user", "invite the target user rather than automatically join
 * them", and "identify this room to clients with the `m.server_notice` tag".
 */

import { cannotLeaveServerNoticeRoom, notFound, unknown } from '#federation/errors.ts';
import type { EventId, RoomId, UserId } from '#keys/ids.ts';
import { type JsonObject, objectAt } from '#keys/json.ts';
import { createRoom } from '#rooms/create-room.ts';
import { changeMembership } from '#rooms/membership-local.ts';
import { getRoom } from '#rooms/room.ts';
import { type Draft, sendEvent } from '#rooms/send.ts';
import * as accountData from '#storage/account-data.ts';
import { KeyedQueue } from '#storage/locks.ts';
import * as memberships from '#storage/memberships.ts';
import * as noticeRooms from '#storage/notice-rooms.ts';
import * as profiles from '#storage/profiles.ts';
import * as users from '#storage/users.ts';
import { createAccount } from './auth/accounts.ts';
import type { ServerContext } from './context.ts';
import { memberProfile } from './rooms/membership.ts';
import { sentAnswer } from './sending/sent.ts';

export interface Notice {
  readonly content: JsonObject;
  /** `m.room.message` unless given. */
  readonly type?: string | undefined;
  readonly stateKey?: string | undefined;
  /** Sent again with the same one, it is the same notice. */
  readonly txn?: Draft['txn'];
}

type NoticesContext = ServerContext;

const TAG = 'm.server_notice';
const LOCALPART = '_server';
/** One at a time for each user, so that no two rooms are made. */
const queue = new KeyedQueue();

/** Sends a notice to a user of ours; throws `M_NOT_FOUND` where there is no such account in use. */
export async function sendNotice(
  ctx: NoticesContext,
  userId: UserId,
  { content, type = 'm.room.message', stateKey, txn }: Notice,
): Promise<{ event_id: EventId }> {
  const user = await users.of(ctx.db, userId);
  if (user === undefined || user.deactivatedTs !== undefined) throw notFound('No such user');
  return queue.run(`${ctx.serverName} ${userId}`, async () => {
    const sender = await noticeSender(ctx);
    const roomId = await noticeRoomOf(ctx, sender, userId);
    const state = stateKey === undefined ? {} : { stateKey };
    const sent = await sendEvent(ctx, {
      ...{ roomId, sender, type, content, ...state },
      ...(txn !== undefined && { txn }),
    });
    return sentAnswer(sent);
  });
}

/** "Attempting to reject the invite must result in a `M_CANNOT_LEAVE_SERVER_NOTICE_ROOM` error." */
export async function refuseToDecline(ctx: NoticesContext, userId: UserId, roomId: RoomId): Promise<void> {
  if ((await noticeRooms.of(ctx.db, userId)) !== roomId) return;
  const room = await getRoom(ctx, roomId);
  const member = room && (await memberships.of(ctx.db, room.roomNid, userId));
  if (member?.membership === 'invite') throw cannotLeaveServerNoticeRoom();
}

/** The account in whose name notices are sent; made for the first of them. */
async function noticeSender(ctx: NoticesContext): Promise<UserId> {
  const userId: UserId = `@${LOCALPART}:${ctx.serverName}`;
  if (await noticeRooms.isSender(ctx.db, userId)) return userId;
  const { serverNoticesName: name } = ctx.config;
  const made = await createAccount(ctx, {
    localpart: LOCALPART,
    password: undefined,
    alsoWrite: async (tx, sender) => {
      await noticeRooms.addSender(tx, sender);
      await profiles.set(tx, sender, 'displayname', name);
    },
  });
  if (made.kind === 'created' || (await noticeRooms.isSender(ctx.db, userId))) return userId;
  throw unknown(500, `Notices cannot be sent: the account ${userId} is somebody's`);
}

/** The user's room, to which they are invited where they are not in it. */
async function noticeRoomOf(ctx: NoticesContext, sender: UserId, userId: UserId): Promise<RoomId> {
  const known = await noticeRooms.of(ctx.db, userId);
  const room = known && (await getRoom(ctx, known));
  const own = room && (await memberships.of(ctx.db, room.roomNid, sender));
  if (room === undefined || own?.membership !== 'join') return newNoticeRoom(ctx, sender, userId);
  const member = await memberships.of(ctx.db, room.roomNid, userId);
  if (member?.membership !== 'join' && member?.membership !== 'invite') {
    const profile = await memberProfile(ctx, userId);
    const invitation = {
      roomId: room.roomId,
      sender,
      target: userId,
      membership: 'invite',
      profile,
    } as const;
    sentAnswer(await changeMembership(ctx, invitation));
    await tag(ctx, userId, room.roomId);
  }
  return room.roomId;
}

async function newNoticeRoom(ctx: NoticesContext, sender: UserId, userId: UserId): Promise<RoomId> {
  const profileOf = async (who: UserId) => [who, await memberProfile(ctx, who)] as const;
  const created = await createRoom(ctx, {
    creator: sender,
    preset: 'private_chat',
    roomVersion: ctx.config.defaultRoomVersion,
    name: ctx.config.serverNoticesName,
    invite: [userId],
    creationContent: { 'm.federate': false },
    // Users read here, and do not write.
    powerLevelContentOverride: { users_default: -10 },
    profiles: new Map([await profileOf(sender), await profileOf(userId)]),
  });
  if (created.kind === 'refused') throw unknown(500, `The room of notices cannot be made: ${created.reason}`);
  const { roomId } = created;
  await ctx.db.write('noticeRooms.set', (tx) => noticeRooms.set(tx, userId, roomId));
  await tag(ctx, userId, roomId);
  return roomId;
}

async function tag(ctx: NoticesContext, userId: UserId, roomId: RoomId): Promise<void> {
  const key = { userId, roomId, type: 'm.tag' } as const;
  await ctx.db.write('notices.tag', async (tx) => {
    const tags = objectAt((await accountData.get(tx, key)) ?? {}, 'tags') ?? {};
    if (TAG in tags) return;
    await accountData.set(tx, ctx.streams, { ...key, content: { tags: { ...tags, [TAG]: {} } } });
  });
}

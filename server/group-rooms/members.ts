/** Bringing members of groups into a room, putting out who is none any more, and giving them their levels. */

import type { FederationContext } from '#federation/context.ts';
import { join } from '#federation/membership.ts';
import type { UserId } from '#keys/ids.ts';
import { type Json, objectAt } from '#keys/json.ts';
import { changeMembership } from '#rooms/membership-local.ts';
import type { Room } from '#rooms/room.ts';
import { type Sent, sendEvent } from '#rooms/send.ts';
import * as memberships from '#storage/memberships.ts';
import * as profiles from '#storage/profiles.ts';
import { type Acting, actingIn } from './acting.ts';

export interface LevelChange {
  readonly userId: UserId;
  /** What the groups gave before, and what they give now. */
  readonly given: number | undefined;
  readonly wanted: number | undefined;
}

const REASON = 'No longer in a group of this room';

/**
 * Brings a user of ours into a room, by an invitation where the room is not for everybody. Answers what is in the way;
 * a ban is not: it stands.
 */
export async function bringIn(
  ctx: FederationContext,
  { roomId, roomNid }: Room,
  { acting, userId }: { readonly acting: Acting; readonly userId: UserId },
): Promise<string | undefined> {
  const membership = (await memberships.of(ctx.db, roomNid, userId))?.membership;
  if (membership === 'join' || membership === 'ban') return undefined;
  if (membership !== 'invite' && !acting.isPublic) {
    if (acting.power.of(acting.userId) < acting.power.invite) {
      return `${acting.userId}, the most powerful user of this server in it, may not invite`;
    }
    const profile = await profiles.of(ctx.db, userId);
    const invitation = {
      roomId,
      sender: acting.userId,
      target: userId,
      membership: 'invite',
      profile,
    } as const;
    const invited = faultOf(await changeMembership(ctx, invitation));
    if (invited !== undefined) return `${userId} cannot be invited: ${invited}`;
  }
  const joined = await join(ctx, { userId, roomIdOrAlias: roomId });
  return joined.kind === 'ok' ? undefined : `${userId} cannot join: ${joined.reason}`;
}

/** Puts a user out of a room: who acts may not do it, or is that user, they leave by themselves. */
export async function putOut(
  ctx: FederationContext,
  room: Room,
  { acting, userId }: { readonly acting: Acting; readonly userId: UserId },
): Promise<string | undefined> {
  const { roomId, roomNid } = room;
  const membership = (await memberships.of(ctx.db, roomNid, userId))?.membership;
  if (membership === undefined || membership === 'leave' || membership === 'ban') return undefined;
  const { power } = acting;
  const mayKick =
    userId !== acting.userId &&
    power.of(acting.userId) >= power.kick &&
    power.of(acting.userId) > power.of(userId);
  if (userId === acting.userId && power.of(userId) >= power.kick) {
    const other = await actingIn(ctx, room, userId);
    if (other === undefined || other.power.of(other.userId) < power.kick) {
      return `${userId} stays: nobody else of this server may put people out there. Give somebody that power`;
    }
  }
  const change = { roomId, target: userId, content: { reason: REASON } };
  const sent = mayKick
    ? await changeMembership(ctx, { ...change, sender: acting.userId, membership: 'kick' })
    : await changeMembership(ctx, { ...change, sender: userId, membership: 'leave' });
  const fault = faultOf(sent);
  return fault === undefined ? undefined : `${userId} cannot be put out: ${fault}`;
}

/** Gives users the levels that their groups have; a higher one that they have already stays. */
export async function giveLevels(
  ctx: FederationContext,
  { roomId }: Room,
  { acting, changes }: { readonly acting: Acting; readonly changes: readonly LevelChange[] },
): Promise<string | undefined> {
  const { power, levels, levelsId: upon, userId: sender } = acting;
  const own = power.of(sender);
  // Without the event the creator has 100 by it not being there.
  const before = levels === undefined ? { users: Number.isFinite(own) ? { [sender]: own } : {} } : levels;
  const users = new Map<string, Json>(Object.entries(objectAt(before, 'users') ?? {}));
  for (const { userId, given, wanted } of changes) {
    const current = power.of(userId);
    if (wanted !== undefined && (current < wanted || current === given)) users.set(userId, wanted);
    else if (wanted === undefined && given !== undefined && users.get(userId) === given) users.delete(userId);
  }
  const content = { ...before, users: Object.fromEntries(users) };
  const isSame = JSON.stringify(content) === JSON.stringify(before);
  if (isSame) return undefined;
  const fault = faultOf(
    await sendEvent(ctx, { roomId, sender, type: 'm.room.power_levels', stateKey: '', content, upon }),
  );
  return fault === undefined ? undefined : `${sender} cannot give the levels: ${fault}`;
}

function faultOf(sent: Sent): string | undefined {
  if (sent.kind === 'sent') return undefined;
  return 'reason' in sent ? sent.reason : 'the room is not known';
}

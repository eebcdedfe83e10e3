/**
 * "The list of events that the user has been, or would have been notified about":
 * https://spec.matrix.org/v1.19/client-server-api/#get_matrixclientv3notifications
 *
 * By the user's rules of now, from the newest event of their rooms on, back to when they joined. Whoever is seldom
 * notified gets pages with few events, or none, and a token to go on with: none looks through too many events.
 */

import type { RoomId, UserId } from '#keys/ids.ts';
import type { RoomsContext } from '#rooms/context.ts';
import { loadNids } from '#rooms/load.ts';
import { threadOf } from '#rooms/relations/thread.ts';
import type { StoredEvent } from '#rooms/stored-event.ts';
import { visibleTo } from '#rooms/visibility.ts';
import * as memberships from '#storage/memberships.ts';
import * as timeline from '#storage/timeline.ts';
import { effectOf, effectOfActions, matchingRule } from './evaluate.ts';
import { isRead, type ReadUpto, readUptoOf } from './read-upto.ts';
import { factsAt } from './room-facts.ts';
import type { PushRule } from './ruleset.ts';
import type { UnreadCounts } from './unread.ts';
import type { UserRules } from './user-rules.ts';

export interface Notification {
  readonly stored: StoredEvent;
  readonly roomId: RoomId;
  readonly actions: PushRule['actions'];
  readonly isRead: boolean;
}

export interface NotificationPage {
  /** The newest first. */
  readonly notifications: readonly Notification[];
  /** The position from which the next page goes on; undefined where there is nothing more. */
  readonly next: number | undefined;
}

interface PageRange {
  readonly from: number;
  /** What is up to here is not looked at. */
  readonly after?: number;
  readonly limit: number;
  readonly onlyHighlights: boolean;
}

export type NotificationsContext = RoomsContext & { readonly unread: UnreadCounts };

type Rooms = ReadonlyMap<number, { readonly roomId: RoomId; readonly joinedPosition: number }>;

/** Positions that are looked through at once, at first; of a quiet time more. */
const FIRST_WINDOW = 1_000;
const GROWTH = 4;
const MOST_AT_ONCE = 200;
/** Events that are looked through for one page. */
const MOST_LOOKED_AT = 1_000;

/** A page of what a user was notified about, from a position on, back. */
export async function notificationPage(
  ctx: NotificationsContext,
  userId: UserId,
  { from, after: end = 0, limit, onlyHighlights }: PageRange,
): Promise<NotificationPage> {
  const rules = await ctx.unread.rules.find(userId);
  const rooms: Rooms = new Map(
    (await memberships.joinedRooms(ctx.db, userId)).map((room) => [room.roomNid, room]),
  );
  const reads = new Map<number, ReadUpto>();
  const notifications: Notification[] = [];
  let upto = from;
  let window = FIRST_WINDOW;
  for (let lookedAt = 0; upto > end && lookedAt < MOST_LOOKED_AT; window *= GROWTH) {
    // One window after the other, since the first mostly has enough.
    const after = Math.max(end, upto - window);
    const rows = await timeline.newestOfRooms(ctx.db, rooms.keys(), { after, upto, limit: MOST_AT_ONCE });
    const events = await loadNids(
      ctx,
      rows.map(({ nid }) => nid),
    );
    for (const { nid, position } of rows) {
      const stored = events.get(nid);
      const found = stored && (await notificationOf(ctx, { rules, rooms, reads }, stored));
      if (found === undefined || (onlyHighlights && !effectOfActions(found.actions).highlight)) continue;
      notifications.push(found);
      if (notifications.length === limit) return { notifications, next: position - 1 };
    }
    lookedAt += rows.length;
    const last = rows.at(-1);
    upto = rows.length === MOST_AT_ONCE && last !== undefined ? last.position - 1 : after;
  }
  return { notifications, next: upto > end ? upto : undefined };
}

async function notificationOf(
  ctx: NotificationsContext,
  user: { readonly rules: UserRules; readonly rooms: Rooms; readonly reads: Map<number, ReadUpto> },
  stored: StoredEvent,
): Promise<Notification | undefined> {
  const { rules, rooms, reads } = user;
  const { event, roomNid, position } = stored;
  const room = rooms.get(roomNid);
  if (room === undefined || position === undefined || position <= room.joinedPosition) return undefined;
  if (stored.redactedBy !== undefined || event.sender === rules.userId || rules.ignored.has(event.sender))
    return undefined;
  if (effectOf(rules.compiled, event, {})?.notify === false) return undefined;
  const { roomId } = room;
  const count = await ctx.unread.members.of({ roomNid, roomId });
  const rule = matchingRule(rules.compiled, event, await factsAt(ctx, stored, rules.userId, count));
  if (rule === undefined || !effectOfActions(rule.actions).notify) return undefined;
  const [isVisible] = await visibleTo(ctx, roomNid, { userId: rules.userId }, [stored]);
  if (isVisible !== true) return undefined;
  const read = reads.get(roomNid) ?? (await readUptoOf(ctx, roomNid, rules.userId));
  reads.set(roomNid, read);
  const thread = await threadOf(ctx, stored);
  return { stored, roomId, actions: rule.actions, isRead: isRead(read, { position, thread }) };
}

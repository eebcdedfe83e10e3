/** What a letter tells a user of: the unread messages and invitations since the last letter. */

import type { UserId } from '#keys/ids.ts';
import { isObject, type Json, own, stringAt } from '#keys/json.ts';
import { loadNids } from '#rooms/load.ts';
import { getRoomByNid } from '#rooms/room.ts';
import type { StoredEvent } from '#rooms/stored-event.ts';
import * as memberships from '#storage/memberships.ts';
import type { UnreadMessage, UnreadRoom } from '../email/unread-letter.ts';
import { DONT_EMAIL } from './default-rules.ts';
import { namesOf } from './notification.ts';
import { type NotificationsContext, notificationPage } from './notifications.ts';

/** Of one letter; who has more unread is told of the newest. */
const MOST_MESSAGES = 50;
const MOST_INVITATIONS = 10;
const MOST_PAGES = 10;

type Range = { readonly after: number; readonly upto: number };

/** True where a rule notifies apps alone (MSC4062). */
export function isNotForMail(actions: readonly Json[]): boolean {
  return actions.some((action) => isObject(action) && own(action, 'set_tweak') === DONT_EMAIL);
}

/** By rooms what came to a user in a range of positions and is unread, the newest room first. */
export async function unreadRooms(
  ctx: NotificationsContext,
  userId: UserId,
  range: Range,
): Promise<UnreadRoom[]> {
  const rooms = new Map<string, { name: string | undefined; messages: UnreadMessage[] }>();
  const add = async (roomId: string, stored: StoredEvent) => {
    const { sender = stored.event.sender, room, alias } = await namesOf(ctx, { userId, stored });
    const known = rooms.get(roomId) ?? { name: room ?? alias, messages: [] };
    known.messages.unshift({ sender, ...contentOf(stored) });
    rooms.set(roomId, known);
  };
  // One after the other: they are few, and of few rooms.
  for (const { roomId, stored } of await invitationsIn(ctx, userId, range)) await add(roomId, stored);
  for (const { roomId, stored } of await unreadIn(ctx, userId, range)) await add(roomId, stored);
  return [...rooms].map(([roomId, { name, messages }]) => ({ roomId, name, messages }));
}

async function unreadIn(ctx: NotificationsContext, userId: UserId, { after, upto }: Range) {
  const found: { readonly roomId: string; readonly stored: StoredEvent }[] = [];
  let from: number | undefined = upto;
  for (let page = 0; page < MOST_PAGES && from !== undefined && found.length < MOST_MESSAGES; page++) {
    // Each page begins where the one before ended.
    const { notifications, next } = await notificationPage(ctx, userId, {
      ...{ from, after, limit: MOST_MESSAGES, onlyHighlights: false },
    });
    found.push(...notifications.filter(({ isRead, actions }) => !isRead && !isNotForMail(actions)));
    from = next;
  }
  return found.slice(0, MOST_MESSAGES);
}

async function invitationsIn(ctx: NotificationsContext, userId: UserId, { after, upto }: Range) {
  const changed = await memberships.ofUserSince(ctx.db, userId, after, upto);
  const invited = changed.filter(({ membership }) => membership === 'invite').slice(-MOST_INVITATIONS);
  const events = await loadNids(
    ctx,
    invited.map(({ eventNid }) => eventNid),
  );
  const { ignored } = await ctx.unread.rules.find(userId);
  const found: { readonly roomId: string; readonly stored: StoredEvent }[] = [];
  for (const { eventNid, roomNid } of invited.reverse()) {
    const stored = events.get(eventNid);
    const room = await getRoomByNid(ctx, roomNid);
    if (stored !== undefined && room !== undefined && !ignored.has(stored.event.sender))
      found.push({ roomId: room.roomId, stored });
  }
  return found;
}

function contentOf({ event }: StoredEvent): Omit<UnreadMessage, 'sender'> {
  if (event.type === 'm.room.encrypted') return { kind: 'encrypted' };
  if (event.type === 'm.room.member') return { kind: 'invitation' };
  const text = event.type === 'm.room.message' ? stringAt(event.content, 'body') : undefined;
  return text === undefined ? { kind: 'other' } : { kind: 'text', text };
}

/** `presence`: "The updates to the presence status of other users." */

import { isUserId, type UserId } from '#keys/ids.ts';
import * as currentState from '#storage/current-state.ts';
import * as presence from '#storage/presence.ts';
import { hasChangedSince } from '#storage/presence-entry.ts';
import { type PresenceEntry, presenceKey } from '#storage/presences.ts';
import type { SyncAnswer, SyncContext } from './context.ts';
import { passes } from './filter.ts';
import type { SyncUser } from './sync-users.ts';
import type { WatchedUser } from './watched-users.ts';

/** In one answer. */
const MOST_EVENTS = 2_000;
/** Of so many it is asked with whom they share rooms. */
const FEW = 50;
/** Of more rooms the members are not looked through. */
const MOST_ROOMS = 200;

/** The presence of those who share a room with the user: who is not offline, or what has changed; each as JSON. */
export async function presenceEvents(sync: SyncContext, answer: SyncAnswer): Promise<string[]> {
  const { server } = sync;
  const { filter } = answer.request;
  // Many clients want none at all.
  if (server.presence.mode === 'off' || !passes(filter.presence, { type: 'm.presence' })) return [];
  const shown = await shownTo(sync, answer);
  const now = server.clock.now();
  return shown.slice(0, filter.presence.limit ?? MOST_EVENTS).map((user) => user.text(now));
}

/** Who shares a room with the user and is to be told: by those who have changed, or where they are many by the rooms. */
async function shownTo(sync: SyncContext, answer: SyncAnswer): Promise<readonly WatchedUser[]> {
  const { watched } = sync;
  const { presence: known, db } = sync.server;
  const { request, user, upto } = answer;
  const { since, filter } = request;
  const fresh = new Set(since === undefined ? [] : await newInRooms(sync, answer, since));
  const isWanted = (sender: UserId) =>
    sender !== user.userId &&
    !user.ignored.has(sender) &&
    passes(filter.presence, { type: 'm.presence', sender });
  const isNews = (sender: UserId, entry: PresenceEntry | undefined) => {
    if (since === undefined) return known.of(sender, entry).state !== 'offline';
    return (entry !== undefined && hasChangedSince(entry, since)) || fresh.has(sender);
  };
  const few = since === undefined ? undefined : known.changed({ since, upto }, FEW)?.union(fresh);
  if (few === undefined || few.size > FEW) {
    const changedAfter = fresh.size === 0 ? since : undefined;
    const isShown = ({ userId, entry }: WatchedUser) => isNews(userId, entry) && isWanted(userId);
    const inRooms = await membersWho(sync, user, { isShown, changedAfter });
    if (inRooms !== undefined) return inRooms;
  }
  const isKnownNews = (sender: UserId) => isNews(sender, known.entry(sender));
  const candidates = [...(few ?? [...known.known()].filter(isKnownNews))].filter(isWanted);
  if (candidates.length === 0) return [];
  const sharing = await presence.sharingWith(db, user.userId, candidates);
  return sharing.map((sender) => watched.of(sender));
}

/**
 * Those members of the user's rooms who are to be shown, of rooms where presence may have changed after a position;
 * undefined where a room is too large to be looked through.
 */
async function membersWho(
  { server, joinedMembers }: SyncContext,
  user: SyncUser,
  who: { readonly isShown: (member: WatchedUser) => boolean; readonly changedAfter: number | undefined },
): Promise<readonly WatchedUser[] | undefined> {
  const { isShown, changedAfter } = who;
  if (user.joined.length > MOST_ROOMS) return undefined;
  const shown = new Set<WatchedUser>();
  for (const room of user.joined) {
    const key = presenceKey(room.roomId);
    if (changedAfter !== undefined && !server.streams.mayConcern(key, changedAfter)) continue;
    // From memory but for the first of the room who comes.
    const members = await joinedMembers.of(room);
    if (members === undefined) return undefined;
    for (const member of members) if (isShown(member)) shown.add(member);
  }
  // Of users beyond those that are kept there may be two.
  return [...new Map(shown.values().map((member) => [member.userId, member])).values()];
}

/** Those who are not offline and came into a room of the user's, or were there when the user came. */
async function newInRooms(
  { server }: SyncContext,
  { user, news, upto }: SyncAnswer,
  since: number,
): Promise<Iterable<UserId>> {
  if (!server.streams.mayConcern('memberships', since)) return [];
  const changed = new Set<string>();
  for (const { roomNid, keys } of news) {
    if (!server.streams.mayConcern(keys.state, since)) continue;
    // Room by room: only those where something changed.
    const deltas = await currentState.deltas(server.db, roomNid, { after: since, upto });
    for (const { type, stateKey } of deltas) if (type === 'm.room.member') changed.add(stateKey);
    if (changed.has(user.userId)) return server.presence.present();
  }
  return [...changed].filter(isUserId).filter((userId) => server.presence.of(userId).state !== 'offline');
}

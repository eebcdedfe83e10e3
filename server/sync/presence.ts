/** `presence`: "The updates to the presence status of other users." */

import { isUserId, type UserId } from '#keys/ids.ts';
import * as currentState from '#storage/current-state.ts';
import * as presence from '#storage/presence.ts';
import { presenceContent } from '../presence-content.ts';
import type { SyncAnswer, SyncContext } from './context.ts';
import { passes } from './filter.ts';

/** In one answer. */
const MOST_EVENTS = 2_000;

/** The presence of those who share a room with the user: who is not offline, or what has changed; each as JSON. */
export async function presenceEvents(sync: SyncContext, answer: SyncAnswer): Promise<string[]> {
  const { server } = sync;
  const { request, user, upto } = answer;
  const { since, filter } = request;
  if (server.presence.mode === 'off') return [];
  const candidates =
    since === undefined
      ? new Set(server.presence.present())
      : new Set([...server.presence.changed(since, upto), ...(await newInRooms(sync, answer, since))]);
  const isWanted = (sender: UserId) =>
    sender !== user.userId &&
    !user.ignored.has(sender) &&
    passes(filter.presence, { type: 'm.presence', sender });
  // Before the database is asked: many clients want none at all.
  const wanted = new Set(candidates.values().filter(isWanted));
  if (wanted.size === 0) return [];
  const shown = await presence.sharingWith(server.db, user.userId, wanted);
  const now = server.clock.now();
  return shown.slice(0, filter.presence.limit ?? MOST_EVENTS).map((sender) => {
    const content = presenceContent(server.presence.of(sender), now);
    return JSON.stringify({ type: 'm.presence', sender, content });
  });
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

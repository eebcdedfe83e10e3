/**
 * History visibility, plainly: https://spec.matrix.org/v1.19/client-server-api/#room-history-visibility
 * For rooms whose events follow each other in one line, so that "before" and "after" need no graph.
 */
import { domainOf, keyOf, membershipIn, type PlainEvent, type PlainState } from './plain-event.ts';

/** A room as a line of accepted events, with the state before and after each. */
export type PlainTimeline = readonly {
  readonly event: PlainEvent;
  readonly before: PlainState;
  readonly after: PlainState;
}[];

/** Whether a user may see the event at `index`. */
export function plainUserSees(timeline: PlainTimeline, index: number, userId: string): boolean {
  const entry = timeline[index];
  if (entry === undefined) return false;
  const { event, before, after } = entry;
  const allows = (state: PlainState): boolean => {
    const visibility = visibilityIn(state);
    const membership = membershipIn(state, userId);
    // 1. "If the `history_visibility` was set to `world_readable`, allow."
    if (visibility === 'world_readable') return true;
    // 2. "If the user's `membership` was `join`, allow."
    if (membership === 'join') return true;
    // 3. "If `history_visibility` was set to `shared`, and the user joined the room at any point after the event was
    // sent, allow."
    const later = timeline.slice(index + 1);
    if (visibility === 'shared' && later.some((entry) => membershipIn(entry.after, userId) === 'join'))
      return true;
    // 4. "If the user's `membership` was `invite`, and the `history_visibility` was set to `invited`, allow."
    if (membership === 'invite' && visibility === 'invited') return true;
    // 5. "Otherwise, deny."
    return false;
  };
  // "For `m.room.history_visibility` events themselves, the user should be allowed to see the event if the
  // `history_visibility` before or after the event would allow them to see it."
  // "Likewise, for the user's own `m.room.member` events, the user should be allowed to see the event if their
  // `membership` before or after the event would allow them to see it."
  const isVisibility = event.type === 'm.room.history_visibility' && event.stateKey === '';
  const isOwnMember = event.type === 'm.room.member' && event.stateKey === userId;
  return allows(after) || ((isVisibility || isOwnMember) && allows(before));
}

/**
 * Whether a server may see the event at `index`. The specification says it of users only; a server is its users. Of
 * what was `shared` after an event only who is still there can tell: a server whose users have all left sees no more
 * of the past than while they were there.
 */
export function plainServerSees(timeline: PlainTimeline, index: number, server: string): boolean {
  const now = timeline.at(-1)?.after ?? new Map();
  const entry = timeline[index];
  if (entry === undefined) return false;
  const { event, before, after } = entry;
  const allows = (state: PlainState): boolean => {
    const visibility = visibilityIn(state);
    if (visibility === 'world_readable') return true;
    if (visibility === 'shared' && usersOf(now, server, 'join').length > 0) return true;
    if (visibility === 'invited' && usersOf(state, server, 'invite').length > 0) return true;
    return usersOf(state, server, 'join').length > 0;
  };
  const isVisibility = event.type === 'm.room.history_visibility' && event.stateKey === '';
  const isOwnMember = event.type === 'm.room.member' && domainOf(event.stateKey ?? '') === server;
  return allows(after) || ((isVisibility || isOwnMember) && allows(before));
}

/** "If no `history_visibility` is set, or if the value is not understood, the visibility is assumed to be `shared`." */
function visibilityIn(state: PlainState): string {
  const value = state.get(keyOf('m.room.history_visibility', ''))?.content.history_visibility;
  const understood = ['world_readable', 'shared', 'invited', 'joined'].find((known) => known === value);
  return understood ?? 'shared';
}

function usersOf(state: PlainState, server: string, membership: string): PlainEvent[] {
  return [...state.values()].filter(
    ({ type, stateKey, content }) =>
      type === 'm.room.member' && domainOf(stateKey ?? '') === server && content.membership === membership,
  );
}

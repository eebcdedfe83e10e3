/**
 * Who may see which event: https://spec.matrix.org/v1.19/client-server-api/#room-history-visibility
 *
 * The one place where it is decided, for every way on which an event leaves the server, for clients and for
 * other servers. "The rules governing whether a user is allowed to see an event depend on the state of the room
 * at that event."
 *
 * 1. "If the history_visibility was set to world_readable, allow."
 * 2. "If the user's membership was join, allow."
 * 3. "If history_visibility was set to shared, and the user joined the room at any point after the event was
 *    sent, allow."
 * 4. "If the user's membership was invite, and the history_visibility was set to invited, allow."
 * 5. "Otherwise, deny."
 *
 * A server may see what any of its users may see.
 */
import { belongsTo, type ServerName, type UserId } from '#keys/ids.ts';
import { stringAt } from '#keys/json.ts';
import * as memberships from '#storage/memberships.ts';
import * as roomMembers from '#storage/room-members.ts';
import { getMany, type StateGroup, get as stateGet } from '#storage/state-groups.ts';
import { findNids } from '#storage/state-keys.ts';
import type { RoomsContext } from './context.ts';
import { membershipOf } from './event.ts';
import { loadNid, loadNids } from './load.ts';
import { currentStateEvent } from './state.ts';
import { isSticky } from './sticky.ts';
import type { StoredEvent } from './stored-event.ts';

export type Viewer = { readonly userId: UserId } | { readonly server: ServerName };

/**
 * For each event of a room whether the viewer may see it, in their order. Never true for an event whose state
 * is not known; for a user, never for one without a position (outliers, rejected and soft-failed events).
 */
export async function visibleTo(
  ctx: RoomsContext,
  roomNid: number,
  viewer: Viewer,
  events: readonly StoredEvent[],
): Promise<readonly boolean[]> {
  const ofRoom = events.filter((stored) => stored.roomNid === roomNid && stored.status !== 'rejected');
  const visible =
    'server' in viewer
      ? await visibleToServer(ctx, roomNid, viewer.server, ofRoom)
      : await visibleToUser(
          ctx,
          roomNid,
          viewer.userId,
          ofRoom.filter((stored) => stored.position !== undefined),
        );
  return events.map((stored) => visible.has(stored));
}

async function visibleToUser(
  ctx: RoomsContext,
  roomNid: number,
  userId: UserId,
  events: readonly StoredEvent[],
): Promise<ReadonlySet<StoredEvent>> {
  const isOwn = (stored: StoredEvent) => stored.event.stateKey === userId;
  const groups = groupsOf(events, isOwn);
  const visibilities = await visibilitiesAt(ctx, groups);
  const membershipsThere = await membershipsAt(ctx, groups, [userId]);
  const member = await memberships.of(ctx.db, roomNid, userId);
  // "After this API is called, however, a user will no longer be able to retrieve history for this room."
  const hasForgotten = member?.forgotten === true;
  const joinedUpto = await lastJoined(ctx, member);
  const isShownAnyway = stickyFor(ctx, member?.membership === 'join');
  return new Set(
    events.filter(
      (stored) =>
        isShownAnyway(stored) ||
        judgedGroups(stored, isOwn).some((group) => {
          const visibility = visibilities.get(group) ?? 'shared';
          const membership = membershipsThere.get(group)?.get(userId);
          const position = stored.position ?? Number.POSITIVE_INFINITY;
          if (visibility === 'world_readable') return true;
          if (hasForgotten) return false;
          // "After a user has left a room, they may see any events which they were allowed to see before they left
          // the room, but no events received after they left": although one may stand where they had not left.
          if (membership === 'join') return position <= joinedUpto;
          if (visibility === 'shared') return position < joinedUpto;
          return membership === 'invite' && visibility === 'invited';
        }),
    ),
  );
}

async function visibleToServer(
  ctx: RoomsContext,
  roomNid: number,
  server: ServerName,
  events: readonly StoredEvent[],
): Promise<ReadonlySet<StoredEvent>> {
  const isOwn = ({ event }: StoredEvent) => belongsTo(event.stateKey ?? '', server);
  const groups = groupsOf(events, isOwn);
  const visibilities = await visibilitiesAt(ctx, groups);
  // Once it is in the room, all that was ever shared is shared with it.
  const isIn = await memberships.serverIsIn(ctx.db, roomNid, server);
  const open = new Set<StateGroup>();
  const restricted: StateGroup[] = [];
  for (const group of groups) {
    const visibility = visibilities.get(group) ?? 'shared';
    if (visibility === 'world_readable' || (visibility === 'shared' && isIn)) open.add(group);
    else restricted.push(group);
  }
  for (const group of await groupsWithServer(ctx, roomNid, server, { groups: restricted, visibilities })) {
    open.add(group);
  }
  const isShownAnyway = stickyFor(ctx, isIn);
  return new Set(
    events.filter(
      (stored) => isShownAnyway(stored) || judgedGroups(stored, isOwn).some((group) => open.has(group)),
    ),
  );
}

/** "Any joined user or server is authorised to see sticky events for the duration they remain sticky" (MSC4354). */
function stickyFor({ clock }: RoomsContext, isJoined: boolean): (stored: StoredEvent) => boolean {
  const now = clock.now();
  return (stored) => isJoined && stored.status === 'accepted' && isSticky(stored, now);
}

/** Of some states, those in which a user of the server is joined, or invited where that suffices. */
export async function groupsWithServer(
  ctx: RoomsContext,
  roomNid: number,
  server: ServerName,
  asked: {
    readonly groups: readonly StateGroup[];
    readonly visibilities: ReadonlyMap<StateGroup, Visibility>;
  },
): Promise<ReadonlySet<StateGroup>> {
  const found = new Set<StateGroup>();
  let left = asked.groups;
  const users = left.length === 0 ? [] : await roomMembers.ofServer(ctx.db, roomNid, server);
  // A few first, mostly enough: a server's oldest members were there at most events.
  for (let start = 0, count = 20; start < users.length && left.length > 0; start += count, count *= 10) {
    const memberships = await membershipsAt(ctx, left, users.slice(start, start + count));
    for (const [group, ofUsers] of memberships) {
      const invitedToo = asked.visibilities.get(group) === 'invited';
      if (
        ofUsers
          .values()
          .some((membership) => membership === 'join' || (invitedToo && membership === 'invite'))
      )
        found.add(group);
    }
    left = left.filter((group) => !found.has(group));
  }
  return found;
}

const VISIBILITIES = ['world_readable', 'shared', 'invited', 'joined'] as const;
type Visibility = (typeof VISIBILITIES)[number];

/**
 * The states by which an event is judged: that after it, and for two kinds of events that before it too.
 *
 * "For m.room.history_visibility events themselves, the user should be allowed to see the event if the
 * history_visibility before or after the event would allow them to see it. Likewise, for the user's own
 * m.room.member events, the user should be allowed to see the event if their membership before or after the
 * event would allow them to see it."
 */
function judgedGroups(stored: StoredEvent, isOwn: (stored: StoredEvent) => boolean): StateGroup[] {
  const { event, stateBefore, stateAfter } = stored;
  if (stateAfter === undefined) return [];
  const changesItself =
    (event.type === 'm.room.history_visibility' && event.stateKey === '') ||
    (event.type === 'm.room.member' && isOwn(stored));
  return changesItself && stateBefore !== undefined ? [stateAfter, stateBefore] : [stateAfter];
}

function groupsOf(events: readonly StoredEvent[], isOwn: (stored: StoredEvent) => boolean): StateGroup[] {
  return [...new Set(events.flatMap((stored) => judgedGroups(stored, isOwn)))];
}

/** "If no history_visibility is set, or if the value is not understood, the visibility is assumed to be shared." */
async function visibilitiesAt(
  ctx: RoomsContext,
  groups: readonly StateGroup[],
): Promise<ReadonlyMap<StateGroup, Visibility>> {
  const at = await eventsAt(ctx, groups, [{ type: 'm.room.history_visibility', stateKey: '' }]);
  const visibilities = new Map<StateGroup, Visibility>();
  for (const [group, [stored]] of at) {
    const value = stored === undefined ? undefined : stringAt(stored.event.content, 'history_visibility');
    visibilities.set(group, VISIBILITIES.find((known) => known === value) ?? 'shared');
  }
  return visibilities;
}

/** The memberships of some users in some states; a user who has none is absent. */
export async function membershipsAt(
  ctx: RoomsContext,
  groups: readonly StateGroup[],
  users: readonly UserId[],
): Promise<ReadonlyMap<StateGroup, ReadonlyMap<string, string>>> {
  const at = await eventsAt(
    ctx,
    groups,
    users.map((userId) => ({ type: 'm.room.member', stateKey: userId })),
  );
  const memberships = new Map<StateGroup, ReadonlyMap<string, string>>();
  for (const [group, events] of at) {
    const ofUsers = new Map<string, string>();
    for (const { event } of events) ofUsers.set(event.stateKey ?? '', membershipOf(event) ?? '');
    memberships.set(group, ofUsers);
  }
  return memberships;
}

/** The events under some keys of many states: as many queries as for one state. */
async function eventsAt(
  ctx: RoomsContext,
  groups: readonly StateGroup[],
  keys: readonly { readonly type: string; readonly stateKey: string }[],
): Promise<ReadonlyMap<StateGroup, readonly StoredEvent[]>> {
  const keyNids = (await findNids(ctx.db, keys)).filter((nid) => nid !== undefined);
  const states = await getMany(ctx.db, groups, keyNids);
  const loaded = await loadNids(ctx, new Set(states.values().flatMap((state) => state.values())));
  const found = new Map<StateGroup, readonly StoredEvent[]>();
  for (const [group, state] of states) {
    const events = [...state.values()].map((nid) => loaded.get(nid));
    found.set(
      group,
      events.filter((stored) => stored !== undefined),
    );
  }
  return found;
}

/**
 * The position after which a user sees nothing of a room: that at which they left it, where it is not for all to read.
 * What stands before it is not therefore visible.
 */
export async function visibleUpto(ctx: RoomsContext, roomNid: number, userId: UserId): Promise<number> {
  const member = await memberships.of(ctx.db, roomNid, userId);
  const left = await lastJoined(ctx, member);
  if (!Number.isFinite(left)) return Number.MAX_SAFE_INTEGER;
  const stored = await currentStateEvent(ctx, roomNid, 'm.room.history_visibility', '');
  const visibility = stored && stringAt(stored.event.content, 'history_visibility');
  return visibility === 'world_readable' ? Number.MAX_SAFE_INTEGER : left;
}

/** How many membership changes back a join is looked for: whoever was invited and sent away more often waits. */
const MOST_CHANGES = 50;

/**
 * The position up to which a user counts as having been in the room: infinite for one who is in it, that of the
 * event that ended the last time they were, minus infinity for one who never was.
 */
async function lastJoined(ctx: RoomsContext, member: memberships.MembershipRow | undefined): Promise<number> {
  if (member === undefined) return Number.NEGATIVE_INFINITY;
  if (member.membership === 'join') return Number.POSITIVE_INFINITY;
  const [keyNid] = await findNids(ctx.db, [{ type: 'm.room.member', stateKey: member.userId }]);
  let end = member.position;
  let stored = await loadNid(ctx, member.eventNid);
  // One after the other: each event leads to the one before it. Mostly the first step ends it.
  for (let changes = 0; changes < MOST_CHANGES && stored !== undefined; changes++) {
    if (membershipOf(stored.event) === 'join') return end;
    end = stored.position ?? end;
    if (stored.stateBefore === undefined || keyNid === undefined) break;
    const before = await stateGet(ctx.db, stored.stateBefore, [keyNid]);
    stored = await loadNid(ctx, before.get(keyNid) ?? 0);
  }
  return Number.NEGATIVE_INFINITY;
}

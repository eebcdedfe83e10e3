/**
 * What is shown of the events of users who asked to be erased when they deactivated their account.
 *
 * "Erasure means that any users (or servers) which join the room after the erasure request are served redacted copies
 * of the events sent by this account. Users which had visibility on those events prior to the erasure are still able to
 * see unredacted copies." A server that the event was sent to has it, and so has one that was in the room before.
 *
 * Of the state of a room this is so for the membership of the user alone, and not for servers: the others need the rest.
 *
 * https://spec.matrix.org/v1.19/client-server-api/#post_matrixclientv3accountdeactivate
 */

import { belongsTo, isUserId, type UserId } from '#keys/ids.ts';
import * as erasedUsers from '#storage/erased-users.ts';
import type { RoomsContext } from './context.ts';
import type { StoredEvent } from './stored-event.ts';
import { groupsWithServer, membershipsAt, type Viewer } from './visibility.ts';

/** Those of the events, all of one room, that are served to a viewer in their redacted form. */
export async function erasedFor(
  ctx: RoomsContext,
  roomNid: number,
  viewer: Viewer,
  events: readonly StoredEvent[],
): Promise<ReadonlySet<StoredEvent>> {
  const candidates = events.filter((stored) => isErasable(ctx, stored, viewer));
  const senders = new Set(candidates.map(({ event }) => event.sender).filter(isUserId));
  if (senders.size === 0) return new Set();
  const erased = await erasedUsers.among(ctx.db, [...senders]);
  if (erased.size === 0) return new Set();
  const cameIn = (await positionOf(ctx, roomNid, viewer)) ?? Number.POSITIVE_INFINITY;
  const hidden = candidates.filter(({ event }) => (erasedSince(erased, event.sender) ?? cameIn) < cameIn);
  if (hidden.length === 0) return new Set();
  const seen = await groupsOfViewer(ctx, roomNid, viewer, hidden);
  return new Set(hidden.filter(({ stateAfter }) => stateAfter === undefined || !seen.has(stateAfter)));
}

function isErasable({ serverName }: RoomsContext, { event }: StoredEvent, viewer: Viewer): boolean {
  const isOwnMembership = event.type === 'm.room.member' && event.stateKey === event.sender;
  const isCovered = event.stateKey === undefined || (isOwnMembership && !('server' in viewer));
  return isCovered && belongsTo(event.sender, serverName);
}

function erasedSince(erased: ReadonlyMap<UserId, number>, sender: string): number | undefined {
  return isUserId(sender) ? erased.get(sender) : undefined;
}

function positionOf(ctx: RoomsContext, roomNid: number, viewer: Viewer): Promise<number | undefined> {
  return 'server' in viewer
    ? erasedUsers.serverCameIn(ctx.db, roomNid, viewer.server)
    : erasedUsers.cameIn(ctx.db, roomNid, viewer.userId);
}

/** The states, of those after the events, in which the viewer was in the room. */
async function groupsOfViewer(
  ctx: RoomsContext,
  roomNid: number,
  viewer: Viewer,
  events: readonly StoredEvent[],
): Promise<ReadonlySet<number>> {
  const groups = [...new Set(events.map(({ stateAfter }) => stateAfter).filter((at) => at !== undefined))];
  if ('server' in viewer) {
    return groupsWithServer(ctx, roomNid, viewer.server, { groups, visibilities: new Map() });
  }
  const memberships = await membershipsAt(ctx, groups, [viewer.userId]);
  return new Set(groups.filter((group) => memberships.get(group)?.get(viewer.userId) === 'join'));
}

/** Sticky events for clients: https://github.com/matrix-org/matrix-spec-proposals/pull/4354, under its unstable names. */

import type { RoomId } from '#keys/ids.ts';
import { loadNids } from '#rooms/load.ts';
import { MOST_STICKY } from '#rooms/sticky.ts';
import type { StoredEvent } from '#rooms/stored-event.ts';
import * as stickyEvents from '#storage/sticky-events.ts';
import type { Requester } from '../auth/requester.ts';
import type { ServerContext } from '../context.ts';
import { textsFor } from './format.ts';
import type { JoinedRoom, SyncUser } from './sync-users.ts';

/** What is asked for: of which rooms, between which positions, and what the client is told otherwise. */
export interface StickyRange {
  readonly rooms: readonly Pick<JoinedRoom, 'roomNid' | 'roomId'>[];
  readonly after: number;
  readonly upto: number;
  readonly limit?: number;
  /** Those in the timeline of the same answer, by numeric id: "it MUST NOT be included". */
  readonly told: ReadonlySet<number>;
}

export interface StickyTold {
  /** The events of each room, as JSON, the oldest first. */
  readonly byRoom: ReadonlyMap<RoomId, readonly string[]>;
  /** Up to where they go: there may be more. */
  readonly upto: number;
}

/** The sticky events of rooms that a user is in, whatever the visibility of their history. */
export async function stickyFor(
  server: ServerContext,
  { requester, user }: { readonly requester: Requester; readonly user: SyncUser },
  range: StickyRange,
): Promise<StickyTold> {
  const { rooms, after, upto, told, limit = MOST_STICKY } = range;
  const byNid = new Map(rooms.map(({ roomNid, roomId }) => [roomNid, roomId]));
  const now = server.clock.now();
  const found = await stickyEvents.between(server.db, byNid.keys(), { after, upto, now, limit });
  const events = await loadNids(
    server,
    found.map(({ nid }) => nid),
  );
  const shown = new Map<RoomId, StoredEvent[]>();
  for (const { nid, roomNid } of found) {
    const stored = events.get(nid);
    const roomId = byNid.get(roomNid);
    if (stored === undefined || roomId === undefined || told.has(nid)) continue;
    // "Sticky events sent by ignored users MUST NOT be delivered to clients."
    if (user.ignored.has(stored.event.sender)) continue;
    shown.set(roomId, [...(shown.get(roomId) ?? []), stored]);
  }
  const byRoom = new Map<RoomId, readonly string[]>();
  for (const [roomId, ofRoom] of shown) {
    // Room by room: mostly there is one.
    byRoom.set(roomId, await textsFor(server, requester, ofRoom, { withRoomId: false }));
  }
  return { byRoom, upto: found.length < limit ? upto : (found.at(-1)?.position ?? upto) };
}

import type { UserId } from '#keys/ids.ts';
import type { Requester } from '../auth/requester.ts';
import type { SyncContext, SyncRequest } from '../sync/context.ts';
import { NO_FILTER } from '../sync/filter.ts';
import type { SyncUser } from '../sync/sync-users.ts';
import { Bodies } from './bodies.ts';
import { BumpStamps } from './bump-stamps.ts';
import { Connections, type SentState } from './connections.ts';
import type { SlidingRequest } from './request.ts';
import { RoomFactsCache } from './room-facts.ts';
import { type RoomOrder, RoomOrders } from './room-order.ts';

/** What the parts of sliding sync take first: what /sync has, and what they keep besides. */
export interface SlidingContext {
  readonly sync: SyncContext;
  readonly connections: Connections;
  readonly bodies: Bodies;
  readonly orders: RoomOrders;
  readonly facts: RoomFactsCache;
  readonly bumps: BumpStamps;
}

/** One answer: for whom, what was asked, what the client has, and up to where it goes. */
export interface SlidingAnswer {
  readonly request: SlidingRequest;
  readonly user: SyncUser;
  readonly upto: number;
  /** Undefined in the first answer of a connection. */
  readonly since: number | undefined;
  readonly state: SentState;
  readonly order: RoomOrder;
}

/** Everything of sliding sync for one server. */
export function createSlidingContext(sync: SyncContext): SlidingContext {
  const { server } = sync;
  return {
    sync,
    connections: new Connections(server),
    bodies: new Bodies(),
    orders: new RoomOrders(server),
    facts: new RoomFactsCache(server),
    bumps: new BumpStamps(server),
  };
}

/** A connection, where members that were sent are noted by device. */
export function deviceOf({ requester, face, connId }: SlidingRequest): { userId: UserId; deviceId: string } {
  return { userId: requester.userId, deviceId: `${requester.deviceId} ${face} ${connId}` };
}

/** What the parts of /sync take, for a timeline of at most `limit` events. */
export function timelineRequest(requester: Requester, limit: number): SyncRequest {
  const timeline = { ...NO_FILTER.timeline, limit };
  const filter = limits.get(limit) ?? { ...NO_FILTER, timeline };
  limits.set(limit, filter);
  return { requester, since: undefined, inbox: 0, filter, fullState: false, stateMember: 'state_after' };
}

/** By the limits that are granted, which are few. */
const limits = new Map<number, SyncRequest['filter']>();

/** What a request finds when it comes: on which connection, and whether it may wait at once for something to happen. */

import { deviceKey } from '../auth/sessions.ts';
import type { SyncUser } from '../sync/sync-users.ts';
import type { WaitingPoint } from '../sync/wait.ts';
import type { ConnectionPoint, ConnectionRef } from './connections.ts';
import type { SlidingContext } from './context.ts';
import type { SlidingRequest } from './request.ts';

/** Who waits, for `LongPolls`. */
export function pollerOf({ requester, face, connId }: SlidingRequest): string {
  return `${deviceKey(requester)} ${face} ${connId}`;
}

export function refOf({ requester, face, connId }: SlidingRequest): ConnectionRef {
  const { userId, deviceId } = requester;
  return { userId, deviceId, connId: `${face} ${connId}`, key: deviceKey(requester) };
}

/** True where nothing is stored still of what the device has by its own words. */
export function isAcknowledged({ sync }: SlidingContext, { requester, toDevice }: SlidingRequest): boolean {
  if (toDevice === undefined || toDevice.since === 0 || toDevice.since > sync.server.streams.upto())
    return true;
  return sync.inboxes.isAcknowledged(requester, toDevice.since);
}

/** Undefined where there may be something to tell already: what is asked for is not what was told. */
export function lastAnswered(
  { follower }: SyncUser,
  { rooms, toDevice, threadSubscriptions }: SlidingRequest,
  { since, state }: ConnectionPoint,
): WaitingPoint | undefined {
  if (since === undefined || state.settled?.signature !== rooms.signature) return undefined;
  if (toDevice !== undefined && toDevice.since < since) return undefined;
  const isNew = (isAsked: boolean, isTold: boolean) => isAsked && !isTold;
  if (isNew(threadSubscriptions !== undefined, state.whole.threadSubscriptions)) return undefined;
  if (isNew(rooms.accountData !== undefined, state.whole.accountData)) return undefined;
  return { upto: since, follower };
}

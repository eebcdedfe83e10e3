/** What a user has said of threads, as clients see it: https://github.com/matrix-org/matrix-spec-proposals/pull/4308 */

import type { UserId } from '#keys/ids.ts';
import * as threadSubscriptions from '#storage/thread-subscriptions.ts';
import type { ServerContext } from '../context.ts';

export interface SubscriptionChanges {
  /** `subscribed` and `unsubscribed`, as far as there is something in them, as JSON. */
  readonly members: readonly string[];
  readonly isEmpty: boolean;
  /** Where those before it are, if there are any. */
  readonly next: number | undefined;
}

type Threads = Record<string, Record<string, { automatic?: boolean; bump_stamp: number }>>;

/** The newest changes after one position and up to another. Who has nothing yet is told nothing of what ended. */
export async function threadSubscriptionsJson(
  { db }: Pick<ServerContext, 'db'>,
  userId: UserId,
  range: { readonly after: number; readonly upto: number; readonly limit: number },
): Promise<SubscriptionChanges> {
  const { limit } = range;
  const rows = await threadSubscriptions.newestFirst(db, userId, { ...range, limit: limit + 1 });
  const told = rows.slice(0, limit);
  const subscribed: Threads = {};
  const unsubscribed: Threads = {};
  for (const { roomId, rootId, subscribed: isSubscribed, automatic, position } of told) {
    const rooms = isSubscribed ? subscribed : unsubscribed;
    rooms[roomId] ??= {};
    rooms[roomId][rootId] = { ...(isSubscribed && { automatic }), bump_stamp: position };
  }
  const members = Object.entries({ subscribed, unsubscribed })
    .filter(([, rooms]) => Object.keys(rooms).length > 0)
    .map(([name, rooms]) => `"${name}":${JSON.stringify(rooms)}`);
  const last = told.at(-1);
  const next = rows.length > limit && last !== undefined ? last.position - 1 : undefined;
  return { members, isEmpty: told.length === 0, next };
}

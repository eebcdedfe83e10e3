/** The extensions that are for the whole account: to-device messages, keys of devices, subscriptions of threads. */

import { threadSubscriptionsJson } from '../reading/thread-subscription-changes.ts';
import type { AccountPart } from '../sync/account.ts';
import { changedLists, keyCounts } from '../sync/device.ts';
import { stickyFor } from '../sync/sticky.ts';
import type { JoinedRoom } from '../sync/sync-users.ts';
import { formatToken } from '../sync/token.ts';
import type { SlidingAnswer, SlidingContext } from './context.ts';

/** Of an extension: its members of `extensions`, and whether the client should be told at once. */
export interface ExtensionTold {
  /** `"name":{...}`; undefined where there is nothing to say. */
  readonly json: string | undefined;
  readonly hasNews: boolean;
}

const NOTHING: ExtensionTold = { json: undefined, hasNews: false };

/** Messages to the device: https://github.com/matrix-org/matrix-spec-proposals/pull/3885 */
export async function toDeviceExtension(
  { sync }: SlidingContext,
  { request, upto }: SlidingAnswer,
): Promise<ExtensionTold> {
  const { toDevice, requester } = request;
  if (toDevice === undefined) return NOTHING;
  // From a database that was put back to an earlier time, where it counts as nothing.
  const after = toDevice.since > upto ? 0 : toDevice.since;
  const inbox = await sync.inboxes.read(sync.server, requester, { after, upto, limit: toDevice.limit });
  const events = `[${inbox.messages.join(',')}]`;
  return {
    json: `"to_device":{"next_batch":"${formatToken(inbox.last)}","events":${events}}`,
    hasNews: inbox.messages.length > 0,
  };
}

/** https://github.com/matrix-org/matrix-spec-proposals/pull/3884 */
export async function e2eeExtension(
  { sync }: SlidingContext,
  { request, user, upto, since }: SlidingAnswer,
  news: Iterable<JoinedRoom>,
): Promise<ExtensionTold> {
  if (!request.e2ee) return NOTHING;
  const counts = await keyCounts(sync, request, upto);
  const lists = await changedLists(sync, { request: { since }, user, news, upto });
  const members = lists === undefined ? [counts] : [`"device_lists":${JSON.stringify(lists)}`, counts];
  return { json: `"e2ee":{${members.join(',')}}`, hasNews: lists !== undefined };
}

/** `thread_subscriptions`: https://github.com/matrix-org/matrix-spec-proposals/pull/4308 */
export async function threadSubscriptionsExtension(
  { sync }: SlidingContext,
  { request, user, upto, since, state }: SlidingAnswer,
): Promise<ExtensionTold> {
  const asked = request.threadSubscriptions;
  if (asked === undefined) return NOTHING;
  const after = state.whole.threadSubscriptions ? (since ?? 0) : 0;
  if (after > 0 && !sync.server.streams.mayConcern(user.key, after)) return NOTHING;
  const changes = await threadSubscriptionsJson(sync.server, user.userId, {
    after,
    upto,
    limit: asked.limit,
  });
  if (changes.isEmpty) return NOTHING;
  const members = [...changes.members];
  if (changes.next !== undefined) members.push(`"prev_batch":"${formatToken(changes.next)}"`);
  return { json: `"io.element.msc4308.thread_subscriptions":{${members.join(',')}}`, hasNews: true };
}

/** `sticky_events`: https://github.com/matrix-org/matrix-spec-proposals/pull/4480 */
export async function stickyEventsExtension(
  { sync }: SlidingContext,
  { request, user, upto, since }: SlidingAnswer,
  told: { readonly news: Iterable<JoinedRoom>; readonly timeline: ReadonlySet<number> },
): Promise<ExtensionTold> {
  const asked = request.stickyEvents;
  if (asked === undefined) return NOTHING;
  const { requester, rooms: wanted } = request;
  // From a database that was put back to an earlier time, where it counts as nothing.
  const after = asked.since > upto ? 0 : asked.since;
  const isUpToDate = since !== undefined && after >= since;
  // "The server MUST include sticky events across all rooms that would be matched by at least one" list.
  const rooms = [...(isUpToDate ? told.news : user.joined)].filter(
    ({ roomId }) => wanted.lists.size > 0 || wanted.subscriptions.has(roomId),
  );
  if (rooms.length === 0) return NOTHING;
  const range = { rooms, after, upto, limit: asked.limit, told: told.timeline };
  const found = await stickyFor(sync.server, { requester, user }, range);
  if (found.byRoom.size === 0 && found.upto === upto) return NOTHING;
  const sections = [...found.byRoom].map(
    ([roomId, events]) => `${JSON.stringify(roomId)}:{"events":[${events.join(',')}]}`,
  );
  const json = `"org.matrix.msc4354.sticky_events":{"next_batch":"${formatToken(found.upto)}","rooms":{${sections.join(',')}}}`;
  return { json, hasNews: true };
}

/** Account data of the whole account; that of rooms is told with the rooms. */
export function globalAccountData({ events }: AccountPart): string | undefined {
  return events.length === 0 ? undefined : `"global":[${events.join(',')}]`;
}

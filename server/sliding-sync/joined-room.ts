/** What one answer tells of a room that the user is in. */

import type { StoredEvent } from '#rooms/stored-event.ts';
import type { Unread } from '../push/unread.ts';
import { totalOf } from '../push/unread-json.ts';
import { comingSince } from '../sync/joined-rooms.ts';
import { BEGINNING } from '../sync/recent-timelines.ts';
import type { JoinedRoom } from '../sync/sync-users.ts';
import { type TimelinePart, timelinePart } from '../sync/timeline-part.ts';
import { formatToken } from '../sync/token.ts';
import { type SlidingAnswer, type SlidingContext, timelineRequest } from './context.ts';
import { namingMembers } from './naming.ts';
import type { CombinedConfig } from './required-state.ts';
import { configOfKey } from './required-state.ts';
import type { ListedRoom } from './room-order.ts';
import { LIVE, type SentRoom } from './sent-rooms.ts';
import { requiredState } from './state.ts';
import type { WindowRoom } from './windows.ts';

/** What a room is told by, and what the client has of it. */
export interface RoomAsked {
  readonly window: WindowRoom;
  /** Undefined where the client has nothing of the room. */
  readonly sent: SentRoom | undefined;
  readonly isDirect: boolean;
  readonly wasDirect: boolean;
}

export interface RoomTold {
  /** The room's object; undefined where there is nothing to tell. */
  readonly json: string | undefined;
  /** What the client has afterwards, of events and state. */
  readonly sent: Pick<SentRoom, 'timelineLimit' | 'stateKey'>;
  /** True where the client has nothing of before. */
  readonly isInitial: boolean;
  readonly timeline: readonly StoredEvent[];
}

/** What is new of a room, or all that the client asks for. */
export async function joinedRoom(
  sliding: SlidingContext,
  answer: SlidingAnswer,
  { listed, joined }: { readonly listed: ListedRoom; readonly joined: JoinedRoom },
  asked: RoomAsked,
): Promise<RoomTold> {
  const { window, isDirect, wasDirect } = asked;
  const { config } = window;
  const sent = await stillHas(sliding, answer, joined, asked.sent);
  const isInitial = sent === undefined;
  const since = sent === undefined ? undefined : sinceOf(sent, answer);
  const isExpanded = sent !== undefined && config.timelineLimit > sent.timelineLimit;
  const timeline = await timelinePart(
    sliding.sync,
    { request: timelineRequest(answer.request.requester, config.timelineLimit), user: answer.user },
    joined,
    { after: isExpanded ? BEGINNING : (since ?? BEGINNING), upto: answer.upto },
  );
  const before = sent && configBefore(sent, config);
  const state = await requiredState(sliding, answer, listed, {
    ...{ config, before, since, upto: answer.upto, timeline },
  });
  const naming = await namingMembers(sliding.sync.server, {
    ...{ roomNid: joined.roomNid, userId: answer.user.userId, face: answer.request.face },
    changedTypes: isInitial ? undefined : state.changedTypes,
  });
  const unread = await unreadMembers(sliding, answer, joined, since);
  const isDmChange = isInitial ? isDirect : isDirect !== wasDirect;
  const hasEvents = timeline.events.length > 0 || timeline.limited;
  const isQuiet = !hasEvents && state.events.length === 0 && naming.length === 0 && !unread.hasChanged;
  const json =
    !isInitial && !isExpanded && isQuiet && !isDmChange
      ? undefined
      : roomJson([
          ...(await commonMembers(sliding, answer, { joined, timeline }, window)),
          ...(isInitial ? ['"initial":true'] : []),
          ...naming,
          ...(isDmChange ? [`"is_dm":${isDirect}`] : []),
          ...(state.events.length > 0 || isInitial ? [`"required_state":[${state.events.join(',')}]`] : []),
          ...timelineMembers(answer, timeline, { isExpanded, isTold: hasEvents || isInitial || isExpanded }),
          ...unread.members,
        ]);
  return {
    ...{ json, isInitial, timeline: timeline.events },
    sent: { timelineLimit: limitAfter(sent, config, timeline), stateKey: config.key },
  };
}

/** Undefined where the client has nothing that still holds: the user was not in the room all the time. */
async function stillHas(
  { sync }: SlidingContext,
  answer: SlidingAnswer,
  joined: JoinedRoom,
  sent: SentRoom | undefined,
): Promise<SentRoom | undefined> {
  if (sent === undefined) return undefined;
  const at = { userId: answer.user.userId, since: sinceOf(sent, answer) };
  return (await comingSince(sync, joined, at)) === 'stayed' ? sent : undefined;
}

/** From where on the client lacks what happened. */
export function sinceOf(sent: SentRoom, { since = BEGINNING }: Pick<SlidingAnswer, 'since'>): number {
  return sent.since === LIVE ? since : sent.since;
}

function configBefore({ stateKey }: SentRoom, config: CombinedConfig): CombinedConfig {
  return stateKey === config.key ? config : configOfKey(stateKey);
}

/** How many of the newest events the client has: those that it had stay the newest only where none are left out. */
function limitAfter(
  sent: SentRoom | undefined,
  { timelineLimit }: CombinedConfig,
  timeline: TimelinePart,
): number {
  if (sent === undefined || timeline.limited) return timelineLimit;
  return Math.max(sent.timelineLimit, timelineLimit);
}

/** Of every room, joined or not. */
async function commonMembers(
  { bumps }: SlidingContext,
  { request }: SlidingAnswer,
  { joined, timeline }: { readonly joined: JoinedRoom; readonly timeline: TimelinePart },
  { lists }: WindowRoom,
): Promise<string[]> {
  const stamp = (await bumps.of(joined, timeline.events)) ?? joined.joinedAt;
  return [`"bump_stamp":${Math.max(0, stamp)}`, ...stableMembers(request, 'join', lists)];
}

/** `membership` and `lists`, which are new with the stable face. */
export function stableMembers(
  { face }: Pick<SlidingAnswer['request'], 'face'>,
  membership: string,
  lists: readonly string[],
): string[] {
  if (face !== 'stable') return [];
  const members = [`"membership":${JSON.stringify(membership)}`];
  return lists.length === 0 ? members : [...members, `"lists":${JSON.stringify(lists)}`];
}

/** `timeline` and what is said of it. */
export function timelineMembers(
  { request, since }: Pick<SlidingAnswer, 'request' | 'since'>,
  { events, json, limited, start }: TimelinePart,
  { isExpanded, isTold }: { readonly isExpanded: boolean; readonly isTold: boolean },
): string[] {
  if (!isTold) return [];
  const members = [`"timeline":${json}`, `"prev_batch":"${formatToken(start)}"`];
  members.push(`"limited":${limited}`, `"num_live":${liveOf(events, since)}`);
  if (isExpanded)
    members.push(`"${request.face === 'stable' ? 'expanded_timeline' : 'unstable_expanded_timeline'}":true`);
  return members;
}

/** "The number of timeline events which have "just occurred" and are not historical." */
function liveOf(events: readonly StoredEvent[], since: number | undefined): number {
  if (since === undefined) return 0;
  return events.filter(({ position = BEGINNING }) => position > since).length;
}

/** `notification_count` and `highlight_count`, which the stable face has not. */
async function unreadMembers(
  { sync }: SlidingContext,
  { request, user, upto }: SlidingAnswer,
  joined: JoinedRoom,
  since: number | undefined,
): Promise<{ readonly members: readonly string[]; readonly hasChanged: boolean }> {
  if (request.face === 'stable') return { members: [], hasChanged: false };
  const counts = sync.server.unread;
  const unread = counts.ofNow(user.userId, joined, upto) ?? (await counts.of(user.userId, joined, upto));
  return { members: unreadTexts(unread), hasChanged: since !== undefined && unread.changedAt > since };
}

/** The counts of what is unread, as members of a room's object. */
export function unreadTexts({ threads }: Unread): string[] {
  const { notifications, highlights } = totalOf(threads);
  return [`"notification_count":${notifications}`, `"highlight_count":${highlights}`];
}

/** The members that are there. */
export function roomJson(members: readonly string[]): string {
  return `{${members.join(',')}}`;
}

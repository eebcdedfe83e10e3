/** One answer of /sync: https://spec.matrix.org/v1.19/client-server-api/#get_matrixclientv3sync */

import type { Follower } from '#storage/streams.ts';
import { accountPart } from './account.ts';
import type { SyncAnswer, SyncContext, SyncRequest } from './context.ts';
import { devicePart } from './device.ts';
import { eventsJson, joinedRooms } from './joined-rooms.ts';
import { roomsWithNews } from './news.ts';
import { otherRooms } from './other-rooms.ts';
import { presenceEvents } from './presence.ts';
import { quickAnswer } from './quick-answer.ts';
import { formatSyncToken } from './token.ts';

export interface Answer {
  /** The whole body, JSON. */
  readonly text: string;
  /** False where the client may as well wait for something to happen. */
  readonly hasNews: boolean;
  /** Up to where it goes. */
  readonly upto: number;
  /** What to wait for until there is more to tell. */
  readonly follower: Follower;
}

/** What there is to tell now: all, or what happened since the last answer. */
export async function answerNow(sync: SyncContext, request: SyncRequest): Promise<Answer> {
  return quickAnswer(sync, request) ?? wholeAnswer(sync, request);
}

/** The same, where not all of it is in memory or it is more than a few messages. */
export async function wholeAnswer(sync: SyncContext, request: SyncRequest): Promise<Answer> {
  const { user, upto } = await sync.users.find(request.requester.userId);
  const { since } = request;
  const account = await accountPart(sync, request, upto);
  const news = since === undefined ? user.joined : await roomsWithNews(sync, user, since);
  const answer: SyncAnswer = { request, user, upto, news, roomAccountData: account.roomAccountData };
  const device = await devicePart(sync, answer);
  const joined = await joinedRooms(sync, answer);
  const others = await otherRooms(sync, answer);
  const presence = await presenceEvents(sync, answer);

  const rooms = roomsJson({ join: joined, ...others });
  const nextBatch = formatSyncToken({ position: upto, inbox: device.inbox });
  const parts = [`"next_batch":"${nextBatch}"`, device.json];
  if (rooms !== undefined) parts.push(`"rooms":${rooms}`);
  if (account.events.length > 0) parts.push(`"account_data":${eventsJson(account.events)}`);
  if (presence.length > 0) parts.push(`"presence":${eventsJson(presence)}`);
  return {
    text: `{${parts.join(',')}}`,
    hasNews: rooms !== undefined || account.events.length > 0 || device.hasNews || presence.length > 0,
    upto,
    follower: user.follower,
  };
}

/** Undefined where there is nothing in any of the kinds. */
function roomsJson(sections: Readonly<Record<string, readonly string[]>>): string | undefined {
  const kinds = Object.entries(sections).filter(([, ofKind]) => ofKind.length > 0);
  if (kinds.length === 0) return undefined;
  return `{${kinds.map(([kind, ofKind]) => `"${kind}":{${ofKind.join(',')}}`).join(',')}}`;
}

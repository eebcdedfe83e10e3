/**
 * One answer of sliding sync:
 * https://github.com/matrix-org/matrix-spec-proposals/blob/main/proposals/4186-simplified-sliding-sync.md
 *
 * 1. Which rooms is the request about, by the windows of its lists and by its subscriptions? Where the client asks as it
 *    did last, and nothing but news has changed the order of the rooms, only the rooms with news are looked at.
 * 2. Each of them that the client does not have is told as it is; of each other one what is new.
 * 3. Where something happened in a room that the client has and does not look at, it is noted that this is missing.
 * 4. What the client has after the answer is kept with it until it comes back (`connections.ts`).
 */

import type { RoomId } from '#keys/ids.ts';
import { Slices } from '#rooms/slices.ts';
import type { Follower } from '#storage/streams.ts';
import { type AccountPart, accountPart } from '../sync/account.ts';
import { roomsWithNews } from '../sync/news.ts';
import type { JoinedRoom } from '../sync/sync-users.ts';
import type { AnswerChanges, ConnectionPoint } from './connections.ts';
import { type SlidingAnswer, type SlidingContext, timelineRequest } from './context.ts';
import {
  e2eeExtension,
  globalAccountData,
  stickyEventsExtension,
  threadSubscriptionsExtension,
  toDeviceExtension,
} from './extensions.ts';
import { quickAnswer } from './quick-answer.ts';
import type { SlidingRequest } from './request.ts';
import { RoomExtensions } from './room-extensions.ts';
import { RoomTellings } from './room-tellings.ts';
import { lookAt } from './rooms-to-look-at.ts';

export interface Answer {
  /** False where the client may as well wait for something to happen. */
  readonly hasNews: boolean;
  readonly upto: number;
  readonly follower: Follower;
  /** The whole body, JSON; what the client has by it is kept from now on. */
  send(): string;
}

/** What there is to tell now. */
export async function answerNow(
  sliding: SlidingContext,
  request: SlidingRequest,
  point: ConnectionPoint,
): Promise<Answer> {
  return quickAnswer(sliding, request, point) ?? wholeAnswer(sliding, request, point);
}

/** The same, where not all of it is in memory or it is more than a few messages. */
export async function wholeAnswer(
  sliding: SlidingContext,
  request: SlidingRequest,
  point: ConnectionPoint,
): Promise<Answer> {
  const { sync } = sliding;
  const { user, upto } = await sync.users.find(request.requester.userId);
  const order = await sliding.orders.of(user);
  const { since, state } = point;
  const answer: SlidingAnswer = { request, user, upto, since, state, order };
  const news = since === undefined ? new Set<JoinedRoom>() : await roomsWithNews(sync, user, since);
  const account = await changedAccount(sliding, answer);
  const extensions = new RoomExtensions(sliding, answer, account.roomAccountData);
  const direct = await sliding.facts.directOf(user.userId);
  const look = await lookAt(sliding, answer, {
    ...{ news, direct, accountRooms: account.roomAccountData, hasAccountChange: account.hasChanged },
  });
  const tellings = new RoomTellings(sliding, answer, { extensions, direct });
  const slices = new Slices();
  for (const window of look.windows.rooms.values()) {
    await tellings.tell(window);
    await slices.rest();
  }
  tellings.noteOthers(look.others);

  const parts = [
    await toDeviceExtension(sliding, answer),
    await e2eeExtension(sliding, answer, news),
    await stickyEventsExtension(sliding, answer, { news, timeline: extensions.inTimelines }),
    await threadSubscriptionsExtension(sliding, answer),
    accountExtension(answer, account, extensions),
    roomsExtension('receipts', extensions.receipts),
    roomsExtension('typing', extensions.typing),
  ];
  const changes: AnswerChanges = {
    rooms: tellings.changes,
    whole: {
      accountData: request.rooms.accountData !== undefined,
      threadSubscriptions: request.threadSubscriptions !== undefined,
    },
    settled: { signature: request.rooms.signature, order, counts: look.windows.counts },
  };
  const rooms = [...tellings.told].map(([roomId, json]) => `${JSON.stringify(roomId)}:${json}`);
  const lists = [...look.windows.counts].map(([name, count]) => `${JSON.stringify(name)}:{"count":${count}}`);
  const extensionTexts = parts.map(({ json }) => json).filter((json) => json !== undefined);
  return {
    hasNews: rooms.length > 0 || parts.some(({ hasNews }) => hasNews),
    upto,
    follower: user.follower,
    send: () => {
      const pos = sliding.connections.offer(point, upto, changes);
      return `{"pos":"${pos}","lists":{${lists.join(',')}},"rooms":{${rooms.join(',')}},"extensions":{${extensionTexts.join(',')}}}`;
    },
  };
}

interface ChangedAccount extends AccountPart {
  /** False where it is certain that nothing of the account's data has changed. */
  readonly hasChanged: boolean;
}

/** The account data that is new: by it rooms come into lists, too. */
async function changedAccount(
  { sync }: SlidingContext,
  { request, upto, since, state }: SlidingAnswer,
): Promise<ChangedAccount> {
  const isAsked = request.rooms.accountData !== undefined;
  if (since === undefined && !isAsked) return { events: [], roomAccountData: new Map(), hasChanged: false };
  const asked = timelineRequest(request.requester, 0);
  const changed = await accountPart(sync, { ...asked, since }, upto);
  const hasChanged = changed.events.length > 0 || changed.roomAccountData.size > 0;
  if (since === undefined || state.whole.accountData || !isAsked) return { ...changed, hasChanged };
  // Asked for now for the first time.
  const all = await accountPart(sync, { ...asked, since: undefined }, upto);
  return { events: all.events, roomAccountData: changed.roomAccountData, hasChanged };
}

function accountExtension(
  { request }: SlidingAnswer,
  account: AccountPart,
  { accountData }: RoomExtensions,
): { readonly json: string | undefined; readonly hasNews: boolean } {
  if (request.rooms.accountData === undefined) return { json: undefined, hasNews: false };
  const members = [globalAccountData(account), roomsMember(accountData)].filter(
    (member) => member !== undefined,
  );
  if (members.length === 0) return { json: undefined, hasNews: false };
  return { json: `"account_data":{${members.join(',')}}`, hasNews: true };
}

function roomsExtension(
  name: string,
  rooms: ReadonlyMap<RoomId, string>,
): { readonly json: string | undefined; readonly hasNews: boolean } {
  const member = roomsMember(rooms);
  return { json: member && `"${name}":{${member}}`, hasNews: member !== undefined };
}

function roomsMember(rooms: ReadonlyMap<RoomId, string>): string | undefined {
  if (rooms.size === 0) return undefined;
  return `"rooms":{${[...rooms].map(([roomId, json]) => `${JSON.stringify(roomId)}:${json}`).join(',')}}`;
}

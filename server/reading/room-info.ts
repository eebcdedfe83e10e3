/** A room as the deprecated ways of synchronising tell it: its state, its newest messages, and what the user set there. */

import type { JsonObject } from '#keys/json.ts';
import * as accountData from '#storage/account-data.ts';
import * as memberships from '#storage/memberships.ts';
import * as roomDirectory from '#storage/room-directory.ts';
import type { Requester } from '../auth/requester.ts';
import type { ServerContext } from '../context.ts';
import { NO_FILTER } from '../sync/filter.ts';
import { stateTexts } from '../sync/format.ts';
import { formatToken } from '../sync/token.ts';
import { bundledTextsFor } from './bundles.ts';
import { readPage } from './message-page.ts';
import { type ReadableRoom, readableState } from './readable-room.ts';

/** `RoomInfo`, as JSON, up to a position; with at most `limit` messages. */
export async function roomInfoText(
  ctx: ServerContext,
  requester: Requester,
  readable: ReadableRoom,
  { upto, limit }: { readonly upto: number; readonly limit: number },
): Promise<string> {
  const { userId } = requester;
  const { room, left } = readable;
  const from = Math.min(left?.position ?? upto, upto);
  const read = await readPage(ctx, { room, userId }, NO_FILTER.timeline, {
    ...{ from, direction: 'b', limit: Math.max(1, limit) },
  });
  const events = limit === 0 ? [] : read.events.toReversed();
  const chunk = await bundledTextsFor(ctx, requester, events, { withRoomId: true });
  const start = limit === 0 ? from : read.end;
  const state = stateTexts(await readableState(ctx, readable), { now: ctx.clock.now(), withRoomId: true });
  const member = await memberships.of(ctx.db, room.roomNid, userId);
  const isPublished = await roomDirectory.isPublished(ctx.db, room.roomNid);
  const data = await accountData.ofRoom(ctx.db, userId, room.roomId);
  const parts = [
    `"room_id":${JSON.stringify(room.roomId)}`,
    ...(member === undefined ? [] : [`"membership":"${member.membership}"`]),
    `"messages":{${[
      // "If no earlier events are available, this property may be omitted from the response."
      ...(start === undefined ? [] : [`"start":"${formatToken(start)}"`]),
      `"end":"${formatToken(from)}"`,
      `"chunk":[${chunk.join(',')}]`,
    ].join(',')}}`,
    `"state":[${state.join(',')}]`,
    `"visibility":"${isPublished ? 'public' : 'private'}"`,
    `"account_data":${JSON.stringify(data.map(dataEvent))}`,
  ];
  return `{${parts.join(',')}}`;
}

function dataEvent({ type, content }: accountData.AccountData): JsonObject {
  return { type, content };
}

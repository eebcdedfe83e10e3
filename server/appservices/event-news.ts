/** The `events` of a transaction: "A list of events, formatted as per the Client-Server API." */

import { belongsTo, isUserId } from '#keys/ids.ts';
import { membershipOf } from '#rooms/event.ts';
import { loadNids } from '#rooms/load.ts';
import type { StoredEvent } from '#rooms/stored-event.ts';
import * as arrivals from '#storage/arrivals.ts';
import { type EventText, eventText, textsOf } from '../sync/format.ts';
import { strippedStateFor } from '../sync/stripped-state.ts';
import type { Appservice } from './appservice.ts';
import type { NewsContext } from './context.ts';
import type { Interest } from './interest.ts';

/** An event that the service is told of. */
export interface EventNews {
  readonly stored: StoredEvent;
  readonly arrived: number;
}

export interface EventPage {
  readonly arrived: readonly arrivals.Arrival[];
  /** Up to where the page goes. */
  readonly upto: number;
}

const BATCH = 100;
const MOST_BYTES = 2 * 1024 * 1024;

/** The next events of all rooms, of which the service may be told. */
export async function eventPage(
  ctx: NewsContext,
  { after, upto }: { readonly after: number; readonly upto: number },
): Promise<EventPage> {
  const arrived = await arrivals.page(ctx.db, { after, upto, limit: BATCH });
  const last = arrived.at(-1);
  return { arrived, upto: arrived.length === BATCH && last !== undefined ? last.arrived : upto };
}

/** Those of them that the service is told of. */
export async function eventNews(
  ctx: NewsContext,
  { service, interest }: { readonly service: Appservice; readonly interest: Interest },
  arrived: readonly arrivals.Arrival[],
): Promise<EventNews[]> {
  const loaded = await loadNids(
    ctx,
    arrived.map(({ nid }) => nid),
  );
  const news: EventNews[] = [];
  for (const { nid, arrived: at } of arrived) {
    const stored = loaded.get(nid);
    if (stored === undefined || !isNew(stored)) continue;
    const { event, roomNid } = stored;
    const concernsUser =
      service.hasUser(event.sender) ||
      (event.type === 'm.room.member' && event.stateKey !== undefined && service.hasUser(event.stateKey));
    // In their order: what is known of a room is known for the events after it.
    const isTold = concernsUser || (await interest.inRoom({ roomNid, roomId: event.roomId }, at));
    if (isTold) news.push({ stored, arrived: at });
  }
  return news;
}

/** Not history that was fetched later; but an invitation to a room that the server is not in. */
function isNew({ position, event }: StoredEvent): boolean {
  return position === undefined ? event.type === 'm.room.member' : position > 0;
}

/** The texts of the first of them, as many as fit into one transaction: at least one. */
export async function eventTexts(
  ctx: NewsContext,
  service: Appservice,
  news: readonly EventNews[],
): Promise<{ texts: string[]; upto: number | undefined }> {
  const whole = await textsOf(
    ctx,
    news.map(({ stored }) => stored),
  );
  const now = ctx.clock.now();
  const texts: string[] = [];
  let size = 0;
  for (const [index, text] of whole.entries()) {
    const shown = { now, showsPrevContent: true, withRoomId: true };
    const one = eventText(await withShownRoom(ctx, service, text), shown);
    size += Buffer.byteLength(one);
    if (texts.length > 0 && size > MOST_BYTES) return { texts, upto: news[index - 1]?.arrived };
    texts.push(one);
  }
  return { texts, upto: undefined };
}

/** With what a user of the service, who is invited or knocks, is shown of the room. */
async function withShownRoom(ctx: NewsContext, service: Appservice, text: EventText): Promise<EventText> {
  const { event, roomNid, nid } = text.stored;
  const { stateKey } = event;
  const membership = membershipOf(event);
  if (!isUserId(stateKey) || (membership !== 'invite' && membership !== 'knock')) return text;
  if (!belongsTo(stateKey, ctx.serverName) || !service.hasUser(stateKey)) return text;
  const state = await strippedStateFor(ctx, { roomNid, userId: stateKey, eventNid: nid });
  return { ...text, unsigned: `${text.unsigned},"${membership}_room_state":${JSON.stringify(state)}` };
}

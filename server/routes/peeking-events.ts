/**
 * The deprecated stream of events, of all rooms or of one that may be looked into:
 * https://spec.matrix.org/v1.19/client-server-api/#get_matrixclientv3events
 */

import type { FastifyInstance, FastifyReply, FastifyRequest } from 'fastify';
import { invalidParam } from '#federation/errors.ts';
import type { UserId } from '#keys/ids.ts';
import type { Room } from '#rooms/room.ts';
import type { StoredEvent } from '#rooms/stored-event.ts';
import { page } from '#rooms/timeline.ts';
import { visibleTo } from '#rooms/visibility.ts';
import * as memberships from '#storage/memberships.ts';
import { type Requester, requireRequester } from '../auth/requester.ts';
import { deviceKey } from '../auth/sessions.ts';
import type { ServerContext } from '../context.ts';
import { sendJsonText } from '../json-text.ts';
import { type Query, queryPosition, queryString } from '../query.ts';
import { bundledTextsFor } from '../reading/bundles.ts';
import { ignoredBy, isFromOthers } from '../reading/ignored-users.ts';
import { readableRoom } from '../reading/readable-room.ts';
import { formatToken } from '../sync/token.ts';
import { LongPolls } from '../sync/wait.ts';

type EventsRequest = FastifyRequest<{ Querystring: Query }>;

const DEFAULT_WAIT_MS = 30_000;
const LONGEST_WAIT_MS = 60_000;
const MOST_EVENTS = 100;
const TIMEOUT = /^\d{1,15}$/;

/** Waits for events, and tells them once. */
export function peekingEventsRoutes(app: FastifyInstance, ctx: ServerContext): void {
  const polls = new LongPolls(ctx);
  app.get(
    '/_matrix/client/v3/events',
    { config: { longPoll: true } },
    async (request: EventsRequest, reply) => {
      const requester = await requireRequester(ctx, request);
      const wanted = parse(ctx, request);
      const look = () => lookFor(ctx, { requester, ...wanted });
      let seen = await look();
      if (isEmpty(seen) && wanted.timeoutMs > 0) {
        const device = deviceKey(requester);
        const http = { timeoutMs: wanted.timeoutMs, response: reply.raw };
        using poll = polls.hold(device, http);
        while (isEmpty(seen)) {
          const follower = ctx.streams.follow(seen.keys);
          const how = await poll.wait({ upto: seen.upto, follower });
          ctx.streams.release(follower);
          if (how === 'over') break;
          await polls.gather(device);
          // The device may have been signed out while it waited.
          await requireRequester(ctx, request);
          seen = await look();
        }
      }
      return answer(reply, wanted.from, seen);
    },
  );
}

interface Wanted {
  readonly from: number;
  readonly timeoutMs: number;
  readonly roomId: string | undefined;
}

function parse(ctx: ServerContext, { query }: EventsRequest): Wanted {
  const timeout = queryString(query, 'timeout') ?? String(DEFAULT_WAIT_MS);
  if (!TIMEOUT.test(timeout)) throw invalidParam('timeout must be an integer');
  const now = ctx.streams.upto();
  // A token from a database that was put back to an earlier time stands for now.
  const from = Math.min(queryPosition(query, 'from') ?? now, now);
  const timeoutMs = Math.min(Number(timeout), LONGEST_WAIT_MS);
  return { from, timeoutMs, roomId: queryString(query, 'room_id') };
}

function answer(reply: FastifyReply, from: number, { texts, end }: Seen): FastifyReply {
  const text = `{"start":"${formatToken(from)}","end":"${formatToken(end)}","chunk":[${texts.join(',')}]}`;
  return sendJsonText(reply, text);
}

interface Seen {
  readonly texts: readonly string[];
  /** Up to where they go. */
  readonly end: number;
  readonly upto: number;
  /** What to wait for until there is more. */
  readonly keys: readonly string[];
}

/** Nothing to tell, and nothing more to look through. */
function isEmpty({ texts, end, upto }: Seen): boolean {
  return texts.length === 0 && end === upto;
}

/** The first events after a position, of all rooms in the order of their positions. */
async function lookFor(
  ctx: ServerContext,
  { requester, from, roomId }: Wanted & { readonly requester: Requester },
): Promise<Seen> {
  const { userId } = requester;
  const upto = ctx.streams.upto();
  const rooms =
    roomId === undefined
      ? (await memberships.ofUser(ctx.db, userId)).filter(({ membership }) => membership === 'join')
      : [(await readableRoom(ctx, userId, roomId)).room];
  const keys = [`user:${userId}`, ...rooms.map((room) => `room:${room.roomId}`)];
  const ignored = await ignoredBy(ctx.db, userId);
  let end = upto;
  const found: { position: number; text: string }[] = [];
  for (const room of rooms) {
    if (!ctx.streams.mayConcern(`room:${room.roomId}`, from)) continue;
    // One after the other: a single answer must not crowd out all others.
    const read = await page(ctx, room.roomNid, { from, to: upto, direction: 'f', limit: MOST_EVENTS });
    if (read.end !== undefined) end = Math.min(end, read.end);
    const shown = await shownOf(ctx, { userId, ignored }, room, read.events);
    const texts = await bundledTextsFor(ctx, requester, shown, { withRoomId: true });
    for (const [index, { position }] of shown.entries())
      found.push({ position: position ?? 0, text: texts[index] ?? '{}' });
  }
  found.sort((a, b) => a.position - b.position);
  const last = found.filter(({ position }) => position <= end).slice(0, MOST_EVENTS + 1);
  // More than are told at once: the others come with the next request.
  if (last.length > MOST_EVENTS) end = last[MOST_EVENTS - 1]?.position ?? end;
  return { texts: last.slice(0, MOST_EVENTS).map(({ text }) => text), end, upto, keys };
}

async function shownOf(
  ctx: ServerContext,
  { userId, ignored }: { readonly userId: UserId; readonly ignored: ReadonlySet<string> },
  { roomNid }: Pick<Room, 'roomNid'>,
  events: readonly StoredEvent[],
): Promise<StoredEvent[]> {
  const visible = await visibleTo(ctx, roomNid, { userId }, events);
  return events.filter(({ event }, index) => visible[index] === true && isFromOthers(event, ignored));
}

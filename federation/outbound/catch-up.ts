/**
 * Servers that missed much. Queuing every event for a server that is away for weeks would fill the disk, so beyond a
 * bound its outbox is cut: of each room that it is in, it gets the newest events when it is back, and fetches from us
 * what lies before them (`/get_missing_events`, `/backfill`). What it could not fetch stays queued one by one: the
 * events of rooms that it is not in, such as a withdrawn invitation, and all that it missed of a room that it is
 * removed from meanwhile. A server whose profile asks for it gets everything, in order (`replayOf`).
 *
 * All of this runs in the sender's own loop, beside the queuing of new events and never at the same time.
 */

import { belongsTo, type ServerName } from '#keys/ids.ts';
import { loadNids } from '#rooms/load.ts';
import { MOST_STICKY } from '#rooms/sticky.ts';
import type { StoredEvent } from '#rooms/stored-event.ts';
import * as catchUp from '#storage/catch-up.ts';
import * as destinations from '#storage/destinations.ts';
import * as stickyEvents from '#storage/sticky-events.ts';
import type { FederationContext } from '../context.ts';

type CatchUpContext = Omit<FederationContext, 'sender' | 'inbound'>;

/** The servers in a room before or after an event. */
type ServersAround = (stored: StoredEvent) => Promise<ReadonlySet<ServerName>>;

/** Events that are queued for a server that does not answer, for one that does and is slow, and for full replay. */
export const MOST_OF_FAILING = 1_000;
const MOST_OF_ANSWERING = 20_000;
const MOST_OF_FULL = 250_000;
const CUT_AT_ONCE = 5_000;
const PAGE = 200;

/**
 * Cuts a server's outbox where it is too long, but for the transaction under way; answers how many events were taken
 * off. From then on its events are not queued, until `sendLatest`.
 */
export async function cutOutbox(ctx: CatchUpContext, server: ServerName): Promise<number> {
  const { db } = ctx;
  const most = await mostPending(ctx, server);
  if (!(await destinations.hasMorePending(db, server, most))) return 0;
  const first = await db.write('federation.fallBehind', async (tx) => {
    const row = await destinations.of(tx, server);
    const keep = row?.transaction?.upto ?? 0;
    const position = await catchUp.firstCollapsible(tx, server, keep);
    if (row === undefined || position === undefined) return undefined;
    await destinations.setBehind(tx, server, Math.min(row.behindAfter ?? position, position - 1));
    return { keep, taken: await catchUp.collapse(tx, server, { keep, limit: CUT_AT_ONCE }) };
  });
  if (first === undefined) return 0;
  let taken = first.taken;
  for (let last = taken; last === CUT_AT_ONCE; ) {
    // A portion in each write: others want to write too. Should we die in between, the rest is sent, which does no harm.
    last = await db.write('federation.cutOutbox', async (tx) => {
      const keep = (await destinations.of(tx, server))?.transaction?.upto ?? 0;
      return catchUp.collapse(tx, server, { keep, limit: CUT_AT_ONCE });
    });
    taken += last;
  }
  return taken;
}

/** Queues for a server that is behind the newest events of its rooms; from then on it gets every event. */
export async function sendLatest(
  ctx: CatchUpContext,
  server: ServerName,
  serversAround: ServersAround,
): Promise<number> {
  const { db } = ctx;
  const position = (await destinations.of(db, server))?.behindAfter;
  if (position === undefined) return 0;
  let queued = 0;
  for (let afterRoom: number | undefined = 0; afterRoom !== undefined; ) {
    // Page by page, each after the last.
    const page: catchUp.RoomEvent[] = await catchUp.latest(db, server, { position, afterRoom, limit: PAGE });
    const isLast = page.length < PAGE;
    // The last room of a full page may go on in the next one. No room has as many extremities as fill a page.
    const cutRoom = isLast ? undefined : page.at(-1)?.roomNid;
    const whole = page.filter(({ roomNid }) => roomNid !== cutRoom);
    const latest = await meantFor(ctx, server, {
      nids: whole.map(({ eventNid }) => eventNid),
      serversAround,
    });
    // "Large volumes of events to send MUST NOT cause the sticky event to be dropped" (MSC4354).
    const sticky = await stickyEvents.own(db, new Set(whole.map(({ roomNid }) => roomNid)), {
      ...{ after: position, now: ctx.clock.now(), limit: MOST_STICKY },
    });
    const nids = [...new Set([...sticky, ...latest])];
    await db.write('federation.sendLatest', async (tx) => {
      for (const nid of nids) await destinations.enqueueAlways(tx, nid, [server]);
      if (isLast) await destinations.setBehind(tx, server, undefined);
    });
    queued += nids.length;
    afterRoom = isLast ? undefined : whole.at(-1)?.roomNid;
  }
  return queued;
}

/** What a server that is behind missed of a room, of our users' events before one that removes it from the room. */
export async function missedIn(
  ctx: CatchUpContext,
  server: ServerName,
  missed: { room: number; after: number; before: number; serversAround: ServersAround },
): Promise<number[]> {
  const { room, before, serversAround } = missed;
  const found: number[] = [];
  let { after } = missed;
  while (found.length < MOST_OF_ANSWERING) {
    const range = { after, before, by: ctx.serverName, limit: PAGE };
    // Page by page, each after the last.
    const page = await catchUp.sentIn(ctx.db, room, range);
    const nids = page.map(({ eventNid }) => eventNid);
    found.push(...(await meantFor(ctx, server, { nids, serversAround })));
    const last = page.at(-1);
    if (last === undefined || page.length < PAGE) break;
    after = last.position;
  }
  return found;
}

/** Those of the events that were sent while the server was in the room, and not by it: in the given order. */
async function meantFor(
  ctx: CatchUpContext,
  server: ServerName,
  { nids, serversAround }: { nids: readonly number[]; serversAround: ServersAround },
): Promise<number[]> {
  const loaded = await loadNids(ctx, nids);
  const meant: number[] = [];
  for (const nid of nids) {
    const stored = loaded.get(nid);
    if (stored === undefined || belongsTo(stored.event.sender, server)) continue;
    // In order: each room's state is reached from the one before.
    if ((await serversAround(stored)).has(server)) meant.push(nid);
  }
  return meant;
}

async function mostPending(ctx: CatchUpContext, server: ServerName): Promise<number> {
  if (ctx.replayOf?.(server) === 'full') return MOST_OF_FULL;
  const isFailing = (await ctx.backoff.failingSince(server)) !== undefined;
  return isFailing ? MOST_OF_FAILING : MOST_OF_ANSWERING;
}

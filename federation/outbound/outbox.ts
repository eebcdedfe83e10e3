/**
 * What is sent next to one server, from the database: events in the order of the outbox, and beside them the EDUs
 * that it must get. All in one write, so that a crash repeats the same transaction.
 */

import { randomUUID } from 'node:crypto';
import type { ServerName } from '#keys/ids.ts';
import type { Tx } from '#storage/database.ts';
import * as destinations from '#storage/destinations.ts';
import * as eduOutbox from '#storage/edu-outbox.ts';
import * as refusedEvents from '#storage/refused-events.ts';
import { MAX_EDUS, MAX_PDUS } from './transaction.ts';

/** What a transaction holds from the database. */
export interface Stored {
  readonly txnId: string;
  /** Its `origin_server_ts`. */
  readonly ts: number;
  readonly rows: readonly destinations.OutboxRow[];
  readonly edus: readonly eduOutbox.EduRow[];
}

/** The most that the next transaction may hold. */
export interface Portion {
  readonly pdus: number;
  readonly edus: number;
}

export interface Refused {
  readonly eventNid: number;
  /** What the server said. */
  readonly reason: string;
}

export const WHOLE: Portion = { pdus: MAX_PDUS, edus: MAX_EDUS };

/**
 * Takes the transaction that was begun before, else the next portion; undefined where nothing waits. `isRepeated`:
 * it may have arrived already.
 */
export async function begin(
  tx: Tx,
  server: ServerName,
  { portion, now, anew = false }: { portion: Portion; now: number; anew?: boolean },
): Promise<(Stored & { isRepeated: boolean }) | undefined> {
  const open = anew ? undefined : (await destinations.of(tx, server))?.transaction;
  if (open !== undefined) {
    const { txnId, upto, ts } = open;
    const rows = upto > 0 ? await destinations.pendingUpto(tx, server, { upto, limit: MAX_PDUS }) : [];
    const edus = await eduOutbox.inFlight(tx, server, MAX_EDUS);
    if (rows.length > 0 || edus.length > 0) return { txnId, ts, rows, edus, isRepeated: true };
  }
  if (anew) await eduOutbox.land(tx, server);
  const rows = portion.pdus > 0 ? await destinations.pendingOf(tx, server, portion.pdus) : [];
  const edus = portion.edus > 0 ? await eduOutbox.pendingOf(tx, server, portion.edus) : [];
  if (rows.length === 0 && edus.length === 0) return undefined;
  const txnId = randomUUID();
  await eduOutbox.takeOff(tx, edus);
  await destinations.beginTransaction(tx, server, { txnId, upto: rows.at(-1)?.seq ?? 0, ts: now });
  return { txnId, ts: now, rows, edus, isRepeated: false };
}

/** What the reason of an event begins with that was set aside: the server has not taken it, nor judged it. */
export const SET_ASIDE = 'set aside: ';

/** Takes a transaction that the server has answered, or that is set aside, off the outbox. */
export async function end(
  tx: Tx,
  server: ServerName,
  done: {
    stored: Stored;
    refused: readonly Refused[];
    ts: number;
    clockSkew: number | undefined;
    isSetAside?: true | undefined;
  },
): Promise<void> {
  const { stored, refused, ts, clockSkew, isSetAside = false } = done;
  const delivered = stored.rows.length - refused.length;
  const answered = { ts, clockSkew, delivered, refused: refused.length };
  await destinations.endTransaction(tx, server, { upto: stored.rows.at(-1)?.seq ?? 0, answered });
  if (stored.edus.length > 0) await (isSetAside ? eduOutbox.setAside : eduOutbox.forget)(tx, server);
  await refusedEvents.add(tx, server, { ts, events: refused });
}

/** Queues again what was set aside for a server, in its order; answers how much that is. */
export async function requeue(tx: Tx, server: ServerName): Promise<{ events: number; edus: number }> {
  const refused = await refusedEvents.last(tx, server, refusedEvents.MOST_REFUSED);
  const setAside = refused.filter(({ reason }) => reason.startsWith(SET_ASIDE)).reverse();
  // Few: a server that calls everything malformed has three of them set aside at a time.
  for (const { eventNid } of setAside) await destinations.enqueueAlways(tx, eventNid, [server]);
  await refusedEvents.forget(
    tx,
    setAside.map(({ seq }) => seq),
  );
  await destinations.takeBackRefused(tx, server, setAside.length);
  return { events: setAside.length, edus: await eduOutbox.requeue(tx, server) };
}

/**
 * The next portion after one that the server calls malformed: first its events without the EDUs, then half of them,
 * and so on; undefined where it is one event or one EDU alone.
 */
export function smaller({ rows, edus }: Pick<Stored, 'rows' | 'edus'>): Portion | undefined {
  if (rows.length > 0 && edus.length > 0) return { pdus: rows.length, edus: 0 };
  if (rows.length > 1) return { pdus: Math.ceil(rows.length / 2), edus: 0 };
  if (edus.length > 1) return { pdus: 0, edus: Math.ceil(edus.length / 2) };
  return undefined;
}

/** The next portion after one that arrived: EDUs that were left out go by themselves, as one of them may be bad. */
export function following(portion: Portion): Portion {
  return portion.edus === 0 ? { pdus: 0, edus: MAX_EDUS } : WHOLE;
}

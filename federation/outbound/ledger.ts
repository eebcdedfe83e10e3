/** What became of what we sent: for each server what it has, what it refused, what waits for it and why, in words. */

import type { ServerName } from '#keys/ids.ts';
import { integerAt, isObject, stringAt } from '#keys/json.ts';
import type { Reader } from '#storage/database.ts';
import * as ledger from '#storage/delivery-ledger.ts';
import * as refusedEvents from '#storage/refused-events.ts';
import { clockFault, duration, type FaultCause, fault, isFaultCause } from '../fault.ts';
import { SET_ASIDE } from './outbox.ts';

/** The fault that a server was last seen with. */
interface NotedFault {
  readonly cause: FaultCause;
  readonly words: string;
  /** Since when, in milliseconds since 1970. */
  readonly ts: number;
}

/** Refused events that are shown of one server. */
const SHOWN_REFUSED = 10;

/** A fault as it is stored. */
export function encodeFault(noted: NotedFault): string {
  return JSON.stringify(noted);
}

/** One line for each server, in pages: the first `limit` after a name. `now` in milliseconds since 1970. */
export async function listLines(
  db: Reader,
  { after, limit, now }: { after: ServerName; limit: number; now: number },
): Promise<{ lines: string[]; next: ServerName | undefined }> {
  const rows = await ledger.list(db, after, limit);
  const lines = rows.map((row) => `${row.server}  ${summaryOf(row, now)}`);
  return { lines, next: rows.length === limit ? rows.at(-1)?.server : undefined };
}

/** All that is known of one server; undefined where nothing was ever sent to it. */
export async function detailLines(
  db: Reader,
  server: ServerName,
  now: number,
): Promise<string[] | undefined> {
  const row = await ledger.of(db, server);
  if (row === undefined) return undefined;
  const remembered = await refusedEvents.last(db, server, refusedEvents.MOST_REFUSED);
  const refused = remembered.slice(0, SHOWN_REFUSED);
  const aside = remembered.filter(({ reason }) => reason.startsWith(SET_ASIDE)).length + row.edusAside;
  const noted = decodeFault(row.fault);
  const never = row.lastSuccessTs === 0;
  return [
    `${server}: ${summaryOf(row, now)}`,
    ...(noted === undefined ? [] : [`What to do: ${fault(noted.cause, noted.words).remedy}.`]),
    ...(row.retryAt > now && row.failures > 0
      ? [`Next attempt in ${duration(row.retryAt - now)}, or when it calls; ${row.failures} failed so far.`]
      : []),
    `Delivered: ${row.delivered} events; refused: ${row.refused}.`,
    `Waiting: ${row.events} events, ${row.edus} other messages${row.behind ? ', and the newest event of each room that changed' : ''}.`,
    ...(aside === 0 ? [] : [`Set aside: ${aside}; once it takes them, "federation resend ${server}".`]),
    never ? 'It has not answered a transaction yet.' : `Last answer: ${ago(row.lastSuccessTs, now)}.`,
    ...refused.map(
      ({ eventId, reason, refusedTs }) => `Refused ${ago(refusedTs, now)}: ${eventId}: ${reason}`,
    ),
  ];
}

function summaryOf(row: ledger.LedgerRow, now: number): string {
  const noted = decodeFault(row.fault);
  const isWaiting = row.events > 0 || row.edus > 0 || row.behind;
  const since = row.oldestTs === undefined ? '' : `, since ${ago(row.oldestTs, now)}`;
  const waiting = isWaiting ? `; ${row.events + row.edus} wait${since}` : '';
  if (noted !== undefined) {
    const failing = row.failingSince > 0 ? row.failingSince : noted.ts;
    return `${noted.words}, for ${duration(now - failing)}${waiting}`;
  }
  const clock = clockFault(row.clockSkew);
  if (clock !== undefined) return `${clock.words}${waiting}`;
  return isWaiting ? `being sent${waiting}` : 'up to date';
}

function decodeFault(text: string | undefined): NotedFault | undefined {
  const value: unknown = text === undefined ? undefined : JSON.parse(text);
  if (!isObject(value)) return undefined;
  const cause = stringAt(value, 'cause') ?? 'unknown';
  const words = stringAt(value, 'words') ?? '';
  return { cause: isFaultCause(cause) ? cause : 'unknown', words, ts: integerAt(value, 'ts') ?? 0 };
}

function ago(ts: number, now: number): string {
  return `${duration(Math.max(now - ts, 0))} ago`;
}

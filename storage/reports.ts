/** What users have reported to the administrators, until it is dealt with and after. */

import type { EventId, RoomId, UserId } from '#keys/ids.ts';
import type { Reader, Tx } from './database.ts';
import { sql } from './sql.ts';
import { fromTextColumn, textColumn } from './text-column.ts';

/** What is reported: an event of a room, a room, or a user. */
export type ReportSubject =
  | { readonly kind: 'event'; readonly roomId: RoomId; readonly eventId: EventId }
  | { readonly kind: 'room'; readonly roomId: RoomId }
  | { readonly kind: 'user'; readonly userId: UserId };

export interface NewReport {
  readonly reporter: UserId;
  readonly subject: ReportSubject;
  readonly reason: string | undefined;
  /** Milliseconds since 1970, as are all times. */
  readonly createdTs: number;
}

export interface Report extends NewReport {
  readonly reportId: number;
  /** Undefined while nobody has dealt with it. */
  readonly resolvedTs: number | undefined;
  readonly note: string | undefined;
}

interface Row {
  report_id: number;
  reporter: UserId;
  room_id: RoomId | null;
  event_id: EventId | null;
  user_id: UserId | null;
  reason: string | null;
  created_ts: number;
  resolved_ts: number | null;
  note: string | null;
}

const COLUMNS = 'report_id, reporter, room_id, event_id, user_id, reason, created_ts, resolved_ts, note';

const INSERT = sql<
  [string, string | null, string | null, string | null, string | null, number],
  { report_id: number }
>(
  'reports.insert',
  `INSERT INTO reports (reporter, room_id, event_id, user_id, reason, created_ts)
   VALUES (?, ?, ?, ?, ?, ?) RETURNING report_id`,
);
const COUNT_OPEN = sql<[string], { open: number }>(
  'reports.countOpen',
  'SELECT COUNT(*) AS open FROM reports WHERE reporter = ? AND resolved_ts IS NULL',
);
const OF = sql<[number], Row>('reports.of', `SELECT ${COLUMNS} FROM reports WHERE report_id = ?`);
const PAGE = sql<[number, number], Row>(
  'reports.page',
  `SELECT ${COLUMNS} FROM reports WHERE report_id > ? ORDER BY report_id LIMIT ?`,
);
const OPEN_PAGE = sql<[number, number], Row>(
  'reports.openPage',
  `SELECT ${COLUMNS} FROM reports WHERE resolved_ts IS NULL AND report_id > ? ORDER BY report_id LIMIT ?`,
);
const RESOLVE = sql<[number, string | null, number]>(
  'reports.resolve',
  'UPDATE reports SET resolved_ts = ?, note = ? WHERE report_id = ? AND resolved_ts IS NULL',
);

/** Keeps a report and answers its number; undefined where the reporter has `mostOpen` that nobody has dealt with. */
export async function insert(tx: Tx, report: NewReport, mostOpen: number): Promise<number | undefined> {
  const open = (await tx.get(COUNT_OPEN, report.reporter))?.open ?? 0;
  if (open >= mostOpen) return undefined;
  const { subject, reason } = report;
  const row = await tx.get(
    INSERT,
    report.reporter,
    subject.kind === 'user' ? null : textColumn(subject.roomId),
    subject.kind === 'event' ? textColumn(subject.eventId) : null,
    subject.kind === 'user' ? textColumn(subject.userId) : null,
    reason === undefined ? null : textColumn(reason),
    report.createdTs,
  );
  return row?.report_id;
}

/** One report, by its number. */
export async function of(reader: Reader, reportId: number): Promise<Report | undefined> {
  const row = await reader.get(OF, reportId);
  return row && reportFrom(row);
}

/** Reports with a higher number than `after`, in their order; all, or those that nobody has dealt with. */
export async function page(
  reader: Reader,
  { after, limit, all }: { readonly after: number; readonly limit: number; readonly all: boolean },
): Promise<Report[]> {
  return (await reader.all(all ? PAGE : OPEN_PAGE, after, limit)).map(reportFrom);
}

/** Notes that a report is dealt with; false where there is none, or it was before. */
export async function resolve(
  tx: Tx,
  reportId: number,
  { resolvedTs, note }: { readonly resolvedTs: number; readonly note: string | undefined },
): Promise<boolean> {
  return (await tx.run(RESOLVE, resolvedTs, note === undefined ? null : textColumn(note), reportId)) > 0;
}

function reportFrom(row: Row): Report {
  return {
    reportId: row.report_id,
    reporter: row.reporter,
    subject: subjectFrom(row),
    reason: row.reason === null ? undefined : fromTextColumn(row.reason),
    createdTs: row.created_ts,
    resolvedTs: row.resolved_ts ?? undefined,
    note: row.note === null ? undefined : fromTextColumn(row.note),
  };
}

function subjectFrom({ report_id, room_id: roomId, event_id: eventId, user_id: userId }: Row): ReportSubject {
  if (userId !== null) return { kind: 'user', userId };
  if (roomId === null) throw new TypeError(`report ${report_id} is of nothing`);
  return eventId === null ? { kind: 'room', roomId } : { kind: 'event', roomId, eventId };
}

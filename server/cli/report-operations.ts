/** What the operator's command does with reports: by the running server, or on its database. */

import { integerAt, type JsonObject, own, stringAt } from '#keys/json.ts';
import type { Clock, RoomsReader } from '#rooms/context.ts';
import { loadEvent } from '#rooms/load.ts';
import type { Database } from '#storage/database.ts';
import * as reports from '#storage/reports.ts';
import type { Outcome } from './operations.ts';

type ReportOperationContext = RoomsReader & { readonly db: Database; readonly clock: Clock };

const PAGE = 100;
const NUMBER = /^\d{1,15}$/;
const LONGEST_NOTE = 2_000;
const LONGEST_CONTENT = 4_000;

/** Does one thing: `{"operation": "report.list", ...}`; undefined for what is none of these. */
export async function performOnReports(
  ctx: ReportOperationContext,
  operation: JsonObject,
): Promise<Outcome | undefined> {
  switch (own(operation, 'operation')) {
    case 'report.list':
      return list(ctx, integerAt(operation, 'after') ?? 0, own(operation, 'all') === true);
    case 'report.show':
      return show(ctx, stringAt(operation, 'report') ?? '');
    case 'report.resolve':
      return resolve(ctx, stringAt(operation, 'report') ?? '', stringAt(operation, 'note'));
    default:
      return undefined;
  }
}

async function list({ db }: ReportOperationContext, after: number, all: boolean): Promise<Outcome> {
  const page = await reports.page(db, { after, limit: PAGE, all });
  const lines = page.map((report) => {
    const { reportId, createdTs, reporter, resolvedTs } = report;
    const notes = resolvedTs === undefined ? [] : ['dealt with'];
    return [String(reportId), timeText(createdTs), reporter, subjectText(report), ...notes].join('  ');
  });
  const last = page.at(-1);
  return last !== undefined && page.length === PAGE
    ? { kind: 'done', lines, next: last.reportId }
    : { kind: 'done', lines };
}

async function show(ctx: ReportOperationContext, word: string): Promise<Outcome> {
  const report = NUMBER.test(word) ? await reports.of(ctx.db, Number(word)) : undefined;
  if (report === undefined) return refused(`there is no report "${word}": see "report list --all"`);
  const { reporter, reason, createdTs, resolvedTs, note } = report;
  const lines = [
    `Report ${report.reportId} of ${timeText(createdTs)}`,
    `by       ${reporter}`,
    `of       ${subjectText(report)}`,
    // Quoted, so that no reason says more than a reason.
    `reason   ${reason === undefined || reason === '' ? 'none given' : JSON.stringify(reason)}`,
    ...(await eventLines(ctx, report)),
  ];
  if (resolvedTs !== undefined) lines.push(`dealt with on ${timeText(resolvedTs)}`);
  if (note !== undefined) lines.push(`note     ${JSON.stringify(note)}`);
  return { kind: 'done', lines };
}

async function eventLines(ctx: ReportOperationContext, { subject }: reports.Report): Promise<string[]> {
  if (subject.kind !== 'event') return [];
  const stored = await loadEvent(ctx, subject.eventId);
  if (stored === undefined) return ['The event is not here any more.'];
  const { sender, type, content, originServerTs } = stored.event;
  return [
    `sender   ${sender}`,
    `sent     ${timeText(originServerTs)}`,
    `type     ${JSON.stringify(type)}`,
    `content  ${JSON.stringify(content).slice(0, LONGEST_CONTENT)}`,
    ...(stored.redactedBy === undefined ? [] : ['It was redacted since.']),
  ];
}

async function resolve(
  { db, clock }: ReportOperationContext,
  word: string,
  note: string | undefined,
): Promise<Outcome> {
  const report = NUMBER.test(word) ? await reports.of(db, Number(word)) : undefined;
  if (report === undefined) return refused(`there is no report "${word}": see "report list --all"`);
  const resolution = { resolvedTs: clock.now(), note: note?.slice(0, LONGEST_NOTE) };
  const isNew = await db.write('reports.resolve', (tx) => reports.resolve(tx, report.reportId, resolution));
  return isNew
    ? { kind: 'done', lines: [`Report ${report.reportId} is dealt with.`] }
    : refused(`report ${report.reportId} is dealt with already`);
}

function subjectText({ subject }: reports.Report): string {
  switch (subject.kind) {
    case 'event':
      return `event ${subject.eventId} in ${subject.roomId}`;
    case 'room':
      return `room ${subject.roomId}`;
    case 'user':
      return `user ${subject.userId}`;
  }
}

/** A time that a server may have made up is no reason to fail. */
function timeText(ts: number): string {
  const date = new Date(ts);
  return Number.isNaN(date.getTime()) ? 'an unknown time' : date.toISOString().slice(0, 16).concat('Z');
}

function refused(problem: string): Outcome {
  return { kind: 'refused', problem };
}

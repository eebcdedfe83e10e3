import type { JsonObject } from '#keys/json.ts';
import { RoomCache } from '#rooms/room-cache.ts';
import type { Config } from '../config-options.ts';
import { carryOut } from './carry-out.ts';
import type { Outcome } from './operations.ts';
import { performOnReports } from './report-operations.ts';

/** What users have reported, page by page. */
export async function listReports(config: Config, all: boolean): Promise<Outcome> {
  const lines: string[] = [];
  for (let after: number | undefined = 0; after !== undefined; ) {
    // Each page begins where the one before ended.
    const page: Outcome = await operate(config, { operation: 'report.list', after, all });
    if (page.kind === 'refused') return page;
    lines.push(...page.lines);
    after = page.next;
  }
  return { kind: 'done', lines: lines.length > 0 ? lines : ['No reports.'] };
}

/** All that is known of one report. */
export function showReport(config: Config, report: string): Promise<Outcome> {
  return operate(config, { operation: 'report.show', report });
}

/** Notes that a report is dealt with. */
export function resolveReport(config: Config, report: string, note: string | undefined): Promise<Outcome> {
  return operate(config, { operation: 'report.resolve', report, ...(note !== undefined && { note }) });
}

/** By the running server where there is one, else on its database. */
function operate(config: Config, operation: JsonObject): Promise<Outcome> {
  return carryOut(config, operation, (opened) =>
    performOnReports({ ...opened, rooms: new RoomCache() }, operation),
  );
}

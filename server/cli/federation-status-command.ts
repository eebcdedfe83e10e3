import { type KeyFault, keyFaultOf, keyFaults } from '#federation/doctor/key-faults.ts';
import { duration } from '#federation/fault.ts';
import { detailLines, listLines } from '#federation/outbound/ledger.ts';
import { isServerName } from '#keys/ids.ts';
import { openSqliteReadOnly } from '#storage/sqlite.ts';
import type { Config } from '../config-options.ts';
import { databasePath } from './database.ts';
import type { Outcome } from './operations.ts';
import { UsageError } from './usage.ts';

const PAGE = 200;

/**
 * What became of what was sent to other servers, or to one, and whose keys are not believed. The ledger is on disk with
 * every transaction, so that this is the present whether the server runs or not. Changes nothing.
 */
export async function federationStatus(config: Config, server: string | undefined): Promise<Outcome> {
  if (server !== undefined && !isServerName(server)) {
    throw new UsageError(`"${server}" is not the name of a server: such as example.org, or example.org:8448`);
  }
  await using db = await openSqliteReadOnly(databasePath(config));
  const now = Date.now();
  if (server !== undefined) {
    const lines = (await detailLines(db, server, now)) ?? [];
    const keys = await keyFaultOf(db, server);
    if (keys !== undefined) lines.push(lineOf(keys, now), `What to do: ${keys.fault.remedy}.`);
    if (lines.length > 0) return { kind: 'done', lines };
    return { kind: 'refused', problem: `nothing was ever sent to ${server}: see "federation status"` };
  }
  const lines: string[] = [];
  for (let after: string | undefined = ''; after !== undefined; ) {
    // Page by page, each after the last.
    const page: Awaited<ReturnType<typeof listLines>> = await listLines(db, { after, limit: PAGE, now });
    lines.push(...page.lines);
    after = page.next;
  }
  lines.push(...(await keyFaults(db)).map((each) => lineOf(each, now)));
  return { kind: 'done', lines: lines.length > 0 ? lines : ['Nothing was sent to another server yet.'] };
}

function lineOf({ server, fault, sinceTs }: KeyFault, now: number): string {
  return `${server}  ${fault.words}, for ${duration(now - sinceTs)}: nothing of it is verified until that is cleared up`;
}

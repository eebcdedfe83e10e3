import { CONTENT_RULES, contentFindings, fileFindings } from '#storage/check.ts';
import { openSqliteReadOnly } from '#storage/sqlite.ts';
import type { Config } from '../config.ts';
import { databasePath } from './database.ts';
import type { Outcome } from './operations.ts';

/** Checks the database, whether a server uses it or not. Changes nothing. */
export async function checkDatabase(config: Config): Promise<Outcome> {
  const path = databasePath(config);
  await using db = await openSqliteReadOnly(path);
  const broken = await fileFindings(db);
  // What a broken file holds is not worth judging.
  const findings = broken.length > 0 ? broken : await contentFindings(db);
  if (findings.length === 0) {
    return {
      kind: 'done',
      lines: [`${path} is sound: the file, and ${CONTENT_RULES} rules of its contents.`],
    };
  }
  const lines = findings.map(({ rule, example }) => `  broken: ${rule} (for example ${example})`);
  return {
    kind: 'refused',
    problem: [`${path} is damaged. Stop the server and restore a backup.`, ...lines].join('\n'),
  };
}

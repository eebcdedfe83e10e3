import { storedSizes } from '#federation/media/open.ts';
import { checkRooms } from '#rooms/db-check.ts';
import { RoomCache } from '#rooms/room-cache.ts';
import { CONTENT_RULES, contentFindings, type Finding, fileFindings } from '#storage/check.ts';
import { mediaFindings } from '#storage/check-media.ts';
import type { Database } from '#storage/database.ts';
import * as serverIdentity from '#storage/server-identity.ts';
import { openSqliteReadOnly } from '#storage/sqlite.ts';
import type { Config } from '../config-options.ts';
import { openBucket } from '../media/media-bucket.ts';
import { databasePath } from './database.ts';
import type { Outcome } from './operations.ts';

/** As many as an operator reads: a database that breaks more is no less damaged. */
const MOST_ROOM_FINDINGS = 20;

/** Checks the database, whether a server uses it or not. Changes nothing. */
export async function checkDatabase(config: Config): Promise<Outcome> {
  const path = databasePath(config);
  await using db = await openSqliteReadOnly(path);
  const broken = await fileFindings(db);
  // What a broken file holds is not worth judging.
  const findings = broken.length > 0 ? broken : await findingsIn(db, config);
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

async function findingsIn(db: Database, config: Config): Promise<Finding[]> {
  await using closing = new AsyncDisposableStack();
  const sizes = storedSizes(config.dataDir, await openBucket(config, closing));
  return [...(await contentFindings(db)), ...(await mediaFindings(db, sizes)), ...(await roomFindings(db))];
}

/** What the rows of the rooms say of each other: states, ids, memberships, extremities. */
async function roomFindings(db: Database): Promise<Finding[]> {
  const serverName = await serverIdentity.read(db);
  // A database that no server has used yet has no rooms.
  if (serverName === undefined) return [];
  const findings: Finding[] = [];
  for await (const example of checkRooms({ db, rooms: new RoomCache(), serverName })) {
    findings.push({ rule: 'a room is as its events make it', example });
    if (findings.length === MOST_ROOM_FINDINGS) break;
  }
  return findings;
}

import { existsSync } from 'node:fs';
import { join } from 'node:path';
import { migrate } from '#storage/migrate.ts';
import * as serverIdentity from '#storage/server-identity.ts';
import { openSqlite } from '#storage/sqlite.ts';
import { Streams } from '#storage/streams.ts';
import { ConfigError } from '../config/config-file.ts';
import type { Config } from '../config-options.ts';
import type { OperationContext } from './operations.ts';

/** The database file of a configuration. @throws ConfigError where there is none */
export function databasePath({ dataDir }: Config): string {
  const path = join(dataDir, 'kurir.db');
  if (existsSync(path)) return path;
  throw new ConfigError(
    `there is no database in ${dataDir}: start the server once (npm start), or set data_dir (KURIR_DATA_DIR) ` +
      'or --config to what the server uses',
  );
}

/** Does something to the database of a server that does not run, under the same lock. */
export async function withDatabase<T>(
  config: Config,
  body: (ctx: OperationContext) => Promise<T>,
): Promise<T> {
  await using db = await openSqlite({ path: databasePath(config) });
  await migrate(db);
  const serverName = await serverIdentity.remember(db, config.serverName);
  await using streams = await Streams.open(db);
  const clock = { now: () => Date.now() };
  return await body({ db, streams, clock, serverName, sessions: { forget: () => undefined } });
}

import type { ServerName } from '#keys/ids.ts';
import type { Database } from './database.ts';
import { sql } from './sql.ts';

const READ = sql<[], { server_name: ServerName }>(
  'serverIdentity.read',
  'SELECT server_name FROM server_identity WHERE id = 1',
);
const WRITE = sql<[string]>(
  'serverIdentity.write',
  'INSERT INTO server_identity (id, server_name) VALUES (1, ?) ON CONFLICT (id) DO NOTHING',
);

/** The name of the server whose database this is, if it has ever been started. */
export async function read(db: Database): Promise<ServerName | undefined> {
  return (await db.get(READ))?.server_name;
}

/** Says whose database this is, where nobody has; answers whose it is. */
export async function remember(db: Database, serverName: ServerName): Promise<ServerName> {
  const known = await read(db);
  if (known !== undefined) return known;
  await db.write('serverIdentity.write', (tx) => tx.run(WRITE, serverName));
  return serverName;
}

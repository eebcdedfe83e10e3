/** The key by which push services know this server: RFC 8292. */

import type { Tx } from './database.ts';
import { sql } from './sql.ts';

const NAME = 'vapid';
const ADD = sql<[string, string]>(
  'webPushKeys.add',
  'INSERT INTO web_push_keys (name, private_key) VALUES (?, ?) ON CONFLICT (name) DO NOTHING',
);
const GET = sql<[string], { private_key: string }>(
  'webPushKeys.get',
  'SELECT private_key FROM web_push_keys WHERE name = ?',
);

/** The key that is kept, as PEM; `made`, where there is none yet. */
export async function keep(tx: Tx, made: string): Promise<string> {
  await tx.run(ADD, NAME, made);
  return (await tx.get(GET, NAME))?.private_key ?? made;
}

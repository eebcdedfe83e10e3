import type { Reader, Tx } from './database.ts';
import { sql } from './sql.ts';

const read = sql<[name: string], { position: number }>(
  'cursors.get',
  'SELECT position FROM cursors WHERE name = ?',
);
const upsert = sql<[name: string, position: number]>(
  'cursors.set',
  `INSERT INTO cursors (name, position) VALUES (?, ?)
   ON CONFLICT (name) DO UPDATE SET position = excluded.position`,
);

/** How far each consumer of a stream (federation, push, search, audit) has come; survives restarts. */
export const cursors = {
  /** The last position that the consumer has finished; 0 before its first. */
  async get(reader: Reader, name: string): Promise<number> {
    return (await cursors.find(reader, name)) ?? 0;
  },

  /** The same; undefined before its first. */
  async find(reader: Reader, name: string): Promise<number | undefined> {
    return (await reader.get(read, name))?.position;
  },

  /** Write it together with what the consumer did, or after it: a crash repeats work, and loses none. */
  async set(tx: Tx, name: string, position: number): Promise<void> {
    await tx.run(upsert, name, position);
  },
};

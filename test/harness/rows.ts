/** What is left of a room in the database. */

import type { Database } from '#storage/database.ts';

const BY_NID = [
  'rooms',
  'events',
  'outgoing_events',
  'forward_extremities',
  'backward_extremities',
  'current_state',
  'state_deltas',
  'memberships',
  'invites',
  'published_rooms',
  'network_rooms',
  'open_rooms',
  'receipts',
  'relation_parents',
  'purges',
  'purged_rooms',
];
const BY_ID = ['aliases', 'account_data', 'staged_events'];

/** By table, how many rows name the room; tables without any are absent. */
export async function rowsOf(
  db: Database,
  room: { readonly roomNid: number; readonly roomId: string },
): Promise<Record<string, number>> {
  const counts: Record<string, number> = {};
  const ask = async (table: string, column: string, value: number | string) => {
    const text = `SELECT COUNT(*) AS rows FROM ${table} WHERE ${column} = ?`;
    const row = await db.get<[number | string], { rows: number }>({ name: '', text }, value);
    if (row !== undefined && row.rows > 0) counts[table] = row.rows;
  };
  for (const table of BY_NID) await ask(table, 'room_nid', room.roomNid);
  for (const table of BY_ID) await ask(table, 'room_id', room.roomId);
  return counts;
}

/** How many nodes of states there are, of all rooms. */
export async function stateNodes(db: Database): Promise<number> {
  const statement = { name: '', text: 'SELECT COUNT(*) AS rows FROM state_nodes' };
  return (await db.get<[], { rows: number }>(statement))?.rows ?? 0;
}

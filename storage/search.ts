/**
 * The words of what is said in rooms, by the position of the event: FTS5 on SQLite, tsvector on PostgreSQL. The texts
 * are not kept a second time. Whoever looks something up here must still ask who may see it.
 */

import type { Database, Reader, Tx } from './database.ts';
import { anyOf, sql, sqlPair } from './sql.ts';
import { textColumn } from './text-column.ts';

/** The words of an event; those of `keys/words.ts`, with spaces between them. */
export interface SearchableEvent {
  readonly position: number;
  readonly roomNid: number;
  readonly words: string;
}

export interface SearchQuery {
  /** All of them must be found, each with its words one after the other. */
  readonly phrases: readonly (readonly string[])[];
  readonly roomNids: readonly number[];
  /** Types of events. */
  readonly types: readonly string[];
  /** Undefined for all senders. */
  readonly senders: readonly string[] | undefined;
  readonly notSenders: readonly string[];
  /** Only events before this position. */
  readonly before: number;
  readonly limit: number;
}

export interface Match {
  readonly position: number;
  /** The higher the better; 0 where it was not asked for. */
  readonly rank: number;
}

/** Events that have the words are looked at, the newest first, up to so many, in whichever room they are. */
const MOST_MATCHES = 50_000;
/** The same where each is rated. */
const MOST_RATED = 10_000;
/** So many rooms are looked for in the index; where there are more, each event found is asked for its room. */
const MOST_ROOM_WORDS = 200;

type QueryParams = [
  words: string,
  before: number,
  matches: number,
  rooms: string,
  types: string,
  ofSome: number,
  senders: string,
  notSenders: string,
  limit: number,
];

// The plus: each event is found by its position, and not looked for in each of the rooms.
const WANTED = `e.redacted_by IS NULL AND +e.room_nid {anyInt} AND e.type {anyOf}
     AND (CAST(? AS {int}) = 0 OR e.sender {anyOf}) AND NOT (e.sender {anyOf})`;

const NEWEST = sqlPair<QueryParams, { position: number }>('search.newest', {
  sqlite: `SELECT e.position FROM (
       SELECT rowid AS position FROM search_index WHERE search_index MATCH ? AND rowid < ?
       ORDER BY rowid DESC LIMIT ?) found
     CROSS JOIN events e ON e.position = found.position AND ${WANTED} ORDER BY found.position DESC LIMIT ?`,
  postgres: `SELECT e.position FROM (
       SELECT position FROM search_index WHERE words @@ websearch_to_tsquery('simple', ?) AND position < ?
       ORDER BY position DESC LIMIT ?) found
     JOIN events e ON e.position = found.position AND ${WANTED} ORDER BY found.position DESC LIMIT ?`,
});
// The room's word counts for nothing in the rank.
const BEST = sqlPair<QueryParams, { position: number; rank: number }>('search.best', {
  sqlite: `SELECT e.position, -found.score AS rank FROM (
       SELECT rowid AS position, bm25(search_index, 1.0, 0.0) AS score FROM search_index
       WHERE search_index MATCH ? AND rowid < ? ORDER BY rowid DESC LIMIT ?) found
     CROSS JOIN events e ON e.position = found.position AND ${WANTED}
     ORDER BY found.score, found.position DESC LIMIT ?`,
  postgres: `SELECT e.position, found.score AS rank FROM (
       SELECT s.position, ts_rank(s.words, q.query) AS score
       FROM search_index s, websearch_to_tsquery('simple', ?) AS q (query)
       WHERE s.words @@ q.query AND s.position < ? ORDER BY s.position DESC LIMIT ?) found
     JOIN events e ON e.position = found.position AND ${WANTED}
     ORDER BY found.score DESC, found.position DESC LIMIT ?`,
});
const PRESENT = sql<[string], { position: number }>(
  'search.present',
  'SELECT position FROM events WHERE position {anyInt} AND redacted_by IS NULL ORDER BY position',
);
const ADD = sqlPair<[number, string, string]>('search.add', {
  sqlite: 'INSERT INTO search_index (rowid, words, room) VALUES (?, ?, ?)',
  postgres: `INSERT INTO search_index (position, words, room) VALUES (?, to_tsvector('simple', ?), ?)`,
});
const OF_EVENTS = 'SELECT e.position FROM events e WHERE e.event_nid {anyInt} AND e.position IS NOT NULL';
const REMOVE = sqlPair<[string]>('search.remove', {
  sqlite: `DELETE FROM search_index WHERE rowid IN (${OF_EVENTS})`,
  postgres: `DELETE FROM search_index WHERE position IN (${OF_EVENTS})`,
});
const CLEAR = sqlPair<[]>('search.clear', {
  sqlite: `INSERT INTO search_index (search_index) VALUES ('delete-all')`,
  postgres: 'DELETE FROM search_index',
});
const ANY = sqlPair<[], { position: number }>('search.any', {
  sqlite: 'SELECT rowid AS position FROM search_index ORDER BY rowid LIMIT 1',
  postgres: 'SELECT position FROM search_index ORDER BY position LIMIT 1',
});
const NIDS = sql<[string], { position: number; event_nid: number }>(
  'search.nids',
  'SELECT position, event_nid FROM events WHERE position {anyInt} ORDER BY position',
);
const ENCRYPTED = sql<[string], { room_nid: number }>(
  'search.encrypted',
  `SELECT room_nid FROM current_state
   WHERE room_nid {anyInt} AND type = 'm.room.encryption' AND state_key = '' ORDER BY room_nid`,
);

/** The events that match, the newest first. Not on the main thread. */
export async function newest(db: Database, query: SearchQuery): Promise<Match[]> {
  const rows = await db.scan(NEWEST, ...paramsOf(db, query, MOST_MATCHES));
  return rows.map((row) => ({ position: row.position, rank: 0 }));
}

/** The events that match best, the best first; those of the same rank from the newest on. Not on the main thread. */
export function best(db: Database, query: SearchQuery): Promise<Match[]> {
  return db.scan(BEST, ...paramsOf(db, query, MOST_RATED));
}

/** Writes the words of events; not of those that have been redacted or deleted meanwhile. */
export async function add(tx: Tx, events: readonly SearchableEvent[]): Promise<void> {
  const rows = await tx.all(PRESENT, anyOf(events.map(({ position }) => position)));
  const present = new Set(rows.map((row) => row.position));
  for (const { position, roomNid, words } of events) {
    // One statement each: a list of texts does not fit a statement that both databases take.
    if (present.has(position)) await tx.run(ADD, position, words, roomWord(roomNid));
  }
}

/** Removes the words of events that are redacted, deleted, or no longer seen by clients. Before they lose their position. */
export async function remove(tx: Tx, nids: readonly number[]): Promise<void> {
  if (nids.length > 0) await tx.run(REMOVE, anyOf(nids));
}

/** Removes everything. */
export async function clear(tx: Tx): Promise<void> {
  await tx.run(CLEAR);
}

/** True where nothing is in the index. */
export async function isEmpty(reader: Reader): Promise<boolean> {
  return (await reader.get(ANY)) === undefined;
}

/** The numeric ids of the events that have these positions, by position. */
export async function nidsAt(reader: Reader, positions: Iterable<number>): Promise<Map<number, number>> {
  const rows = await reader.all(NIDS, anyOf(positions));
  return new Map(rows.map((row) => [row.position, row.event_nid]));
}

/** Those of some rooms that are encrypted. */
export async function encryptedAmong(reader: Reader, roomNids: Iterable<number>): Promise<Set<number>> {
  return new Set((await reader.all(ENCRYPTED, anyOf(roomNids))).map((row) => row.room_nid));
}

function paramsOf(
  { dialect }: Database,
  { phrases, roomNids, types, senders, notSenders, before, limit }: SearchQuery,
  matches: number,
): QueryParams {
  const words = phrases.map((phrase) => `"${phrase.join(' ')}"`).join(' ');
  const rooms = roomNids.map((roomNid) => `"${roomWord(roomNid)}"`).join(' OR ');
  const hasRoomWords = dialect === 'sqlite' && roomNids.length <= MOST_ROOM_WORDS;
  const inWords = dialect === 'sqlite' ? `words : (${words})` : words;
  return [
    hasRoomWords ? `${inWords} AND room : (${rooms})` : inWords,
    before,
    matches,
    anyOf(roomNids),
    anyOf(types.map(textColumn)),
    senders === undefined ? 0 : 1,
    anyOf(senders ?? []),
    anyOf(notSenders),
    limit,
  ];
}

function roomWord(roomNid: number): string {
  return `r${roomNid}`;
}

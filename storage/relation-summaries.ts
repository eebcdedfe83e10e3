/** The children of events, summed up as clients are shown them: the last edit, the thread, the references. */

import type { EventId, UserId } from '#keys/ids.ts';
import type { Reader } from './database.ts';
import { anyOf, sql } from './sql.ts';

/** For whom and up to where relations are summed up. */
export interface SummaryReader {
  readonly userId: UserId;
  /** Whose events do not count. */
  readonly ignored: ReadonlySet<string>;
  /** Later events do not count. */
  readonly upto: number;
}

/** The children of an event, summed up. */
export interface Summary {
  readonly parentNid: number;
  /** The last event of the same sender and type that could stand in its place. */
  readonly editNid: number | undefined;
  readonly hasReferences: boolean;
  readonly thread:
    | { readonly events: number; readonly latestNid: number; readonly isOwn: boolean }
    | undefined;
}

interface SummaryRow {
  event_id: EventId;
  parent_nid: number;
  edit_nid: number | null;
  has_references: number;
  thread_events: number;
  latest_nid: number | null;
  is_own: number;
}

type SummaryParams = [
  editUpto: number,
  referencesUpto: number,
  threadLater: number,
  threadIgnoredUpto: number,
  threadIgnored: string,
  latestUpto: number,
  latestIgnored: string,
  ownUpto: number,
  own: string,
  roomNid: number,
  eventIds: string,
];

// `+r.position`: SQLite is not to choose an index by position where that by sender or by kind finds less.
// "The most recent event is determined by comparing origin_server_ts; if two or more replacement events have identical
// origin_server_ts, the event with the lexicographically largest event_id is treated as more recent."
const SUMMARIES = sql<SummaryParams, SummaryRow>(
  'relations.summaries',
  `SELECT p.event_id, p.parent_nid,
     (SELECT r.event_nid FROM relations r JOIN events c ON c.event_nid = r.event_nid
      WHERE r.parent_nid = p.parent_nid AND r.rel_type = 'm.replace' AND r.sender = e.sender AND r.type = e.type
        AND r.can_replace = 1 AND +r.position <= ?
      ORDER BY r.origin_server_ts DESC, c.event_id DESC LIMIT 1) AS edit_nid,
     CASE WHEN EXISTS (SELECT 1 FROM relations r
      WHERE r.parent_nid = p.parent_nid AND r.rel_type = 'm.reference' AND r.position <= ?)
      THEN 1 ELSE 0 END AS has_references,
     CASE WHEN p.thread_events = 0 THEN 0 ELSE p.thread_events
      - (SELECT COUNT(*) FROM relations r
         WHERE r.parent_nid = p.parent_nid AND r.rel_type = 'm.thread' AND r.position > ?)
      - (SELECT COUNT(*) FROM relations r
         WHERE r.parent_nid = p.parent_nid AND r.rel_type = 'm.thread' AND +r.position <= ? AND r.sender {anyOf})
      END AS thread_events,
     (SELECT r.event_nid FROM relations r
      WHERE r.parent_nid = p.parent_nid AND r.rel_type = 'm.thread' AND r.position <= ?
        AND NOT (r.sender {anyOf})
      ORDER BY r.position DESC LIMIT 1) AS latest_nid,
     CASE WHEN EXISTS (SELECT 1 FROM relations r
      WHERE r.parent_nid = p.parent_nid AND r.rel_type = 'm.thread' AND +r.position <= ? AND r.sender = ?)
      THEN 1 ELSE 0 END AS is_own
   FROM relation_parents p JOIN events e ON e.event_id = p.event_id AND e.room_nid = p.room_nid
   WHERE p.room_nid = ? AND p.event_id {anyOf}
   ORDER BY p.parent_nid`,
);

/** What is known of the children of events of a room; events without any that count are absent. */
export async function summaries(
  reader: Reader,
  roomNid: number,
  eventIds: Iterable<EventId>,
  { userId, ignored, upto }: SummaryReader,
): Promise<Map<EventId, Summary>> {
  const unwanted = anyOf(ignored);
  const ofThread = [upto, upto, unwanted, upto, unwanted, upto, userId] as const;
  const rows = await reader.all(SUMMARIES, upto, upto, ...ofThread, roomNid, anyOf(eventIds));
  return new Map(rows.map((row) => [row.event_id, summaryFrom(row)]));
}

function summaryFrom(row: SummaryRow): Summary {
  const { latest_nid: latestNid, thread_events: events } = row;
  return {
    parentNid: row.parent_nid,
    editNid: row.edit_nid ?? undefined,
    hasReferences: row.has_references === 1,
    thread: latestNid === null ? undefined : { events, latestNid, isOwn: row.is_own === 1 },
  };
}

const REFERENCES = sql<
  [number, number, number, string, string, number],
  { parent_nid: number; event_nid: number }
>(
  'relations.references',
  `SELECT p.parent_nid, r.event_nid
   FROM relation_parents p JOIN relations r ON r.parent_nid = p.parent_nid AND r.rel_type = 'm.reference'
     AND +r.position <= ?
     AND r.position > COALESCE((SELECT q.position FROM relations q
       WHERE q.parent_nid = p.parent_nid AND q.rel_type = 'm.reference' AND q.position <= ?
       ORDER BY q.position DESC LIMIT 1 OFFSET ?), -9007199254740991)
   WHERE p.parent_nid {anyInt} AND NOT (r.sender {anyOf})
   ORDER BY p.parent_nid, r.position LIMIT ?`,
);

/** The newest events that refer to each parent by `m.reference`, oldest first: `most` of each, `mostOfAll` together. */
export async function references(
  reader: Reader,
  parentNids: readonly number[],
  { ignored, upto }: SummaryReader,
  { most, mostOfAll }: { readonly most: number; readonly mostOfAll: number },
): Promise<Map<number, number[]>> {
  const found = new Map<number, number[]>();
  if (parentNids.length === 0) return found;
  const rows = await reader.all(
    REFERENCES,
    ...([upto, upto, most, anyOf(parentNids), anyOf(ignored), mostOfAll] as const),
  );
  for (const row of rows) found.set(row.parent_nid, [...(found.get(row.parent_nid) ?? []), row.event_nid]);
  return found;
}

const THREADS = sql<[number, number, number], { event_id: EventId; thread_latest: number }>(
  'relations.threads',
  `SELECT event_id, thread_latest FROM relation_parents
   WHERE room_nid = ? AND thread_events > 0 AND thread_latest <= ? ORDER BY thread_latest DESC LIMIT ?`,
);

/** The roots of threads whose last event is not after a position, with the position of that, the newest first. */
export async function threads(
  reader: Reader,
  roomNid: number,
  upto: number,
  limit: number,
): Promise<{ readonly rootId: EventId; readonly latest: number }[]> {
  const rows = await reader.all(THREADS, roomNid, upto, limit);
  return rows.map((row) => ({ rootId: row.event_id, latest: row.thread_latest }));
}

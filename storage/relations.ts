/**
 * Which events of a room's timeline relate to which: the children of each event, by position, by kind and by sender.
 * A redacted child has no row, and neither has one that clients do not see. The parent need not be here.
 */

import type { EventId, UserId } from '#keys/ids.ts';
import type { Database, Reader, Tx } from './database.ts';
import { anyOf, sql } from './sql.ts';
import { fromTextColumn, textColumn } from './text-column.ts';

/** A relation to write. */
export interface NewRelation {
  readonly nid: number;
  readonly roomNid: number;
  readonly parentId: EventId;
  readonly relType: string;
  /** Type and sender of the child. */
  readonly type: string;
  readonly sender: UserId;
  readonly position: number;
  readonly originServerTs: number;
  /** True where the child says what could stand in its parent's place. */
  readonly canReplace: boolean;
}

const THREAD = 'm.thread';

const UPSERT_PARENT = sql<[number, string, number, number | null], { parent_nid: number }>(
  'relations.upsertParent',
  `INSERT INTO relation_parents (room_nid, event_id, thread_events, thread_latest) VALUES (?, ?, ?, ?)
   ON CONFLICT (room_nid, event_id) DO UPDATE SET
     thread_events = relation_parents.thread_events + excluded.thread_events,
     thread_latest = {greatest}(COALESCE(excluded.thread_latest, relation_parents.thread_latest),
       COALESCE(relation_parents.thread_latest, excluded.thread_latest))
   RETURNING parent_nid`,
);
const INSERT = sql<[number, number, string, string, string, number, number, number]>(
  'relations.insert',
  `INSERT INTO relations (event_nid, parent_nid, rel_type, type, sender, position, origin_server_ts, can_replace)
   VALUES (?, ?, ?, ?, ?, ?, ?, ?)`,
);
const DELETE = sql<[string], { parent_nid: number; rel_type: string }>(
  'relations.delete',
  'DELETE FROM relations WHERE event_nid {anyInt} RETURNING parent_nid, rel_type',
);
const SHORTEN_THREAD = sql<[number, number]>(
  'relations.shortenThread',
  `UPDATE relation_parents SET thread_events = thread_events - ?, thread_latest =
     (SELECT MAX(r.position) FROM relations r
      WHERE r.parent_nid = relation_parents.parent_nid AND r.rel_type = 'm.thread')
   WHERE parent_nid = ?`,
);
const DELETE_CHILDLESS = sql<[string]>(
  'relations.deleteChildless',
  `DELETE FROM relation_parents WHERE parent_nid {anyInt}
     AND NOT EXISTS (SELECT 1 FROM relations r WHERE r.parent_nid = relation_parents.parent_nid)`,
);

/** Writes a relation, which must be new. */
export async function insert(tx: Tx, relation: NewRelation): Promise<void> {
  const { nid, roomNid, parentId, relType, position } = relation;
  const isThread = relType === THREAD;
  const row = await tx.get(UPSERT_PARENT, roomNid, parentId, isThread ? 1 : 0, isThread ? position : null);
  if (row === undefined) throw new Error('a parent got no numeric id');
  const { type, sender, originServerTs, canReplace } = relation;
  const kind = [textColumn(relType), textColumn(type), sender] as const;
  await tx.run(INSERT, nid, row.parent_nid, ...kind, position, originServerTs, canReplace ? 1 : 0);
}

/** Removes the relations of events that are redacted, deleted, or no longer seen by clients. */
export async function remove(tx: Tx, nids: readonly number[]): Promise<void> {
  if (nids.length === 0) return;
  const removed = await tx.all(DELETE, anyOf(nids));
  if (removed.length === 0) return;
  const threads = removed.filter((row) => row.rel_type === THREAD);
  for (const [parentNid, rows] of Map.groupBy(threads, (row) => row.parent_nid)) {
    // One statement each: no list of pairs fits a text that both databases take.
    await tx.run(SHORTEN_THREAD, rows.length, parentNid);
  }
  await tx.run(DELETE_CHILDLESS, anyOf(new Set(removed.map((row) => row.parent_nid))));
}

const PARENTS = sql<[number, string], { event_id: EventId }>(
  'relations.parents',
  'SELECT event_id FROM relation_parents WHERE room_nid = ? AND event_id {anyOf} ORDER BY parent_nid',
);

/** Which of these events of a room others relate to. */
export async function parentsAmong(
  reader: Reader,
  roomNid: number,
  eventIds: Iterable<EventId>,
): Promise<Set<EventId>> {
  const rows = await reader.all(PARENTS, roomNid, anyOf(eventIds));
  return new Set(rows.map((row) => row.event_id));
}

/** Whose children are asked for, and of which kind. */
export interface ChildrenOf {
  readonly roomNid: number;
  readonly parentId: EventId;
  readonly relType: string | undefined;
}

/** A part of a timeline, and in which direction: as in `timeline.ts`. */
export interface ChildrenRange {
  readonly after: number;
  readonly upto: number;
  readonly direction: 'b' | 'f';
  readonly limit: number;
}

type PageRow = { event_nid: number };

const NEWEST_FIRST = sql<[number, string, number, number, number], PageRow>(
  'relations.newestFirst',
  `SELECT r.event_nid FROM relation_parents p JOIN relations r ON r.parent_nid = p.parent_nid
   WHERE p.room_nid = ? AND p.event_id = ? AND r.position > ? AND r.position <= ?
   ORDER BY r.position DESC LIMIT ?`,
);
const OLDEST_FIRST = sql<[number, string, number, number, number], PageRow>(
  'relations.oldestFirst',
  `SELECT r.event_nid FROM relation_parents p JOIN relations r ON r.parent_nid = p.parent_nid
   WHERE p.room_nid = ? AND p.event_id = ? AND r.position > ? AND r.position <= ?
   ORDER BY r.position LIMIT ?`,
);
const NEWEST_OF_TYPE = sql<[number, string, string, number, number, number], PageRow>(
  'relations.newestOfType',
  `SELECT r.event_nid FROM relation_parents p JOIN relations r ON r.parent_nid = p.parent_nid
   WHERE p.room_nid = ? AND p.event_id = ? AND r.rel_type = ? AND r.position > ? AND r.position <= ?
   ORDER BY r.position DESC LIMIT ?`,
);
const OLDEST_OF_TYPE = sql<[number, string, string, number, number, number], PageRow>(
  'relations.oldestOfType',
  `SELECT r.event_nid FROM relation_parents p JOIN relations r ON r.parent_nid = p.parent_nid
   WHERE p.room_nid = ? AND p.event_id = ? AND r.rel_type = ? AND r.position > ? AND r.position <= ?
   ORDER BY r.position LIMIT ?`,
);

/** The numeric ids of the children of an event, in the direction of the range. */
export async function children(reader: Reader, of: ChildrenOf, range: ChildrenRange): Promise<number[]> {
  const { roomNid, parentId, relType } = of;
  const { after, upto, direction, limit } = range;
  const rows =
    relType === undefined
      ? await reader.all(
          direction === 'b' ? NEWEST_FIRST : OLDEST_FIRST,
          ...([roomNid, parentId, after, upto, limit] as const),
        )
      : await reader.all(
          direction === 'b' ? NEWEST_OF_TYPE : OLDEST_OF_TYPE,
          ...([roomNid, parentId, textColumn(relType), after, upto, limit] as const),
        );
  return rows.map((row) => row.event_nid);
}

// A loop is possible where servers choose the ids of their events (v1, v2): the depth ends it.
const DESCENDANTS = `WITH RECURSIVE found (event_nid, rel_type, position, depth) AS (
     SELECT r.event_nid, r.rel_type, r.position, 1
     FROM relation_parents p JOIN relations r ON r.parent_nid = p.parent_nid
     WHERE p.room_nid = ? AND p.event_id = ?
     UNION
     SELECT r.event_nid, r.rel_type, r.position, f.depth + 1
     FROM found f JOIN events e ON e.event_nid = f.event_nid
       JOIN relation_parents p ON p.room_nid = e.room_nid AND p.event_id = e.event_id
       JOIN relations r ON r.parent_nid = p.parent_nid
     WHERE f.depth < ?)
   SELECT DISTINCT event_nid, position FROM found
   WHERE (? = '' OR rel_type = ?) AND position > ? AND position <= ?`;
type DescendantParams = [number, string, number, string, string, number, number, number];
const NEWEST_DESCENDANTS = sql<DescendantParams, PageRow>(
  'relations.newestDescendants',
  `${DESCENDANTS} ORDER BY position DESC LIMIT ?`,
);
const OLDEST_DESCENDANTS = sql<DescendantParams, PageRow>(
  'relations.oldestDescendants',
  `${DESCENDANTS} ORDER BY position LIMIT ?`,
);

/** As `children`, with their children, `depth` generations together, which are all looked at. */
export async function descendants(
  db: Database,
  of: ChildrenOf,
  depth: number,
  { after, upto, direction, limit }: ChildrenRange,
): Promise<number[]> {
  const relType = textColumn(of.relType ?? '');
  // As long as there are relations: not on the main thread.
  const rows = await db.scan(
    direction === 'b' ? NEWEST_DESCENDANTS : OLDEST_DESCENDANTS,
    ...([of.roomNid, of.parentId, depth, relType, relType, after, upto, limit] as const),
  );
  return rows.map((row) => row.event_nid);
}

const OF_SENDER = sql<[number, string, string, string, string, number], PageRow>(
  'relations.ofSender',
  `SELECT r.event_nid FROM relation_parents p JOIN relations r ON r.parent_nid = p.parent_nid
   WHERE p.room_nid = ? AND p.event_id = ? AND r.rel_type = ? AND r.sender = ? AND r.type = ?
   ORDER BY r.origin_server_ts DESC, r.event_nid DESC LIMIT ?`,
);

/** The children of an event by one sender and of one type. */
export async function ofSender(
  reader: Reader,
  of: ChildrenOf & { readonly relType: string },
  by: { readonly sender: UserId; readonly type: string },
  limit: number,
): Promise<number[]> {
  const kind = [textColumn(of.relType), by.sender, textColumn(by.type)] as const;
  const rows = await reader.all(OF_SENDER, of.roomNid, of.parentId, ...kind, limit);
  return rows.map((row) => row.event_nid);
}

/** An event that may have a relation which is not written yet. */
export interface UnreadEvent extends Pick<NewRelation, 'nid' | 'roomNid' | 'type' | 'sender' | 'position'> {
  readonly originServerTs: number;
  readonly isState: boolean;
  readonly json: string;
}

interface UnreadRow {
  event_nid: number;
  room_nid: number;
  type: string;
  state_key: string | null;
  sender: UserId;
  position: number;
  origin_server_ts: number;
  json: string;
}

const UNREAD = sql<[number, number], UnreadRow>(
  'relations.unread',
  `SELECT e.event_nid, e.room_nid, e.type, e.state_key, e.sender, e.position, e.origin_server_ts, e.json
   FROM events e
   WHERE e.event_nid > ? AND e.event_nid <= ? AND e.position IS NOT NULL AND e.redacted_by IS NULL
     AND e.json LIKE '%"m.relates_to"%'
     AND NOT EXISTS (SELECT 1 FROM relations r WHERE r.event_nid = e.event_nid)
   ORDER BY e.event_nid`,
);

/** Of the events with numeric ids after one and up to another, those that may relate to others. */
export async function unread(
  tx: Tx,
  range: { readonly after: number; readonly upto: number },
): Promise<UnreadEvent[]> {
  return (await tx.all(UNREAD, range.after, range.upto)).map((row) => ({
    nid: row.event_nid,
    roomNid: row.room_nid,
    type: fromTextColumn(row.type),
    sender: row.sender,
    position: row.position,
    originServerTs: row.origin_server_ts,
    isState: row.state_key !== null,
    json: row.json,
  }));
}

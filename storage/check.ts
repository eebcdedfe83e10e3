/** Checks of a whole database, for the operator's command: reads only. */

import type { Database, Statement } from './database.ts';
import { sql } from './sql.ts';

/** One thing that is wrong, with an example of where. */
export interface Finding {
  readonly rule: string;
  readonly example: string;
}

type Check = Statement<[], { example: string | number }>;

/** Each finds breaches of the rule that stands before it. */
const CHECKS: readonly (readonly [rule: string, statement: Check])[] = [
  [
    'a room with a state has forward extremities',
    sql(
      'check.extremities',
      `SELECT r.room_id AS example FROM rooms r WHERE r.state_group <> 0
       AND NOT EXISTS (SELECT 1 FROM forward_extremities f WHERE f.room_nid = r.room_nid)
       ORDER BY r.room_id LIMIT 1`,
    ),
  ],
  [
    'a forward extremity is an accepted event of its room',
    sql(
      'check.acceptedExtremities',
      `SELECT f.event_nid AS example FROM forward_extremities f
       LEFT JOIN events e ON e.event_nid = f.event_nid AND e.room_nid = f.room_nid AND e.status = 'accepted'
       WHERE e.event_nid IS NULL ORDER BY f.event_nid LIMIT 1`,
    ),
  ],
  [
    'a room with a state has a create event in it',
    sql(
      'check.create',
      `SELECT r.room_id AS example FROM rooms r WHERE r.state_group <> 0
       AND NOT EXISTS (SELECT 1 FROM current_state c
         WHERE c.room_nid = r.room_nid AND c.type = 'm.room.create' AND c.state_key = '')
       ORDER BY r.room_id LIMIT 1`,
    ),
  ],
  [
    'the current state names events of its room, of its type and state key, that were not rejected',
    sql(
      'check.currentState',
      `SELECT c.event_nid AS example FROM current_state c
       LEFT JOIN events e ON e.event_nid = c.event_nid AND e.room_nid = c.room_nid AND e.type = c.type
         AND e.state_key = c.state_key AND e.status <> 'rejected'
       WHERE e.event_nid IS NULL ORDER BY c.event_nid LIMIT 1`,
    ),
  ],
  [
    'who is joined is so by the current state',
    sql(
      'check.memberships',
      `SELECT m.user_id AS example FROM memberships m JOIN rooms r ON r.room_nid = m.room_nid
       LEFT JOIN current_state c ON c.room_nid = m.room_nid AND c.type = 'm.room.member'
         AND c.state_key = m.user_id AND c.event_nid = m.event_nid
       WHERE m.membership = 'join' AND r.state_group <> 0 AND c.event_nid IS NULL
       ORDER BY m.user_id LIMIT 1`,
    ),
  ],
  [
    'no two events have the same position',
    sql(
      'check.positions',
      `SELECT position AS example FROM events WHERE position IS NOT NULL
       GROUP BY position HAVING count(*) > 1 ORDER BY position LIMIT 1`,
    ),
  ],
  [
    'no event has a position that was not reserved',
    sql(
      'check.reserved',
      `SELECT e.event_id AS example FROM events e
       WHERE e.position > (SELECT s.upto FROM stream_reserve s WHERE s.id = 'live')
       ORDER BY e.event_id LIMIT 1`,
    ),
  ],
  [
    'an event relates to another as long as clients see it and it is not redacted',
    sql(
      'check.relations',
      `SELECT r.event_nid AS example FROM relations r
       LEFT JOIN relation_parents p ON p.parent_nid = r.parent_nid
       LEFT JOIN events e ON e.event_nid = r.event_nid AND e.room_nid = p.room_nid AND e.position = r.position
         AND e.redacted_by IS NULL
       WHERE e.event_nid IS NULL ORDER BY r.event_nid LIMIT 1`,
    ),
  ],
  [
    'a thread has the number of events, and the last event, that it is said to have',
    sql(
      'check.threads',
      `SELECT p.event_id AS example FROM relation_parents p
       LEFT JOIN (SELECT r.parent_nid, COUNT(*) AS events, MAX(r.position) AS latest
         FROM relations r WHERE r.rel_type = 'm.thread' GROUP BY r.parent_nid) t ON t.parent_nid = p.parent_nid
       WHERE p.thread_events <> COALESCE(t.events, 0) OR COALESCE(p.thread_latest, 0) <> COALESCE(t.latest, 0)
       ORDER BY p.event_id LIMIT 1`,
    ),
  ],
  [
    'an event that waits to be sent to other servers exists',
    sql(
      'check.outgoing',
      `SELECT o.event_nid AS example FROM outgoing_events o
       LEFT JOIN events e ON e.event_nid = o.event_nid
       WHERE e.event_nid IS NULL ORDER BY o.event_nid LIMIT 1`,
    ),
  ],
  [
    'the media of an owner have as many bytes as they are counted with',
    sql(
      'check.mediaUsage',
      `SELECT u.user_id AS example FROM media_usage u
       LEFT JOIN (SELECT COALESCE(m.user_id, '') AS owner, SUM(m.size) AS bytes FROM media m
         GROUP BY COALESCE(m.user_id, '')
         UNION ALL SELECT '*', SUM(m.size) FROM media m WHERE m.user_id IS NOT NULL) s ON s.owner = u.user_id
       WHERE u.bytes <> COALESCE(s.bytes, 0) ORDER BY u.user_id LIMIT 1`,
    ),
  ],
  [
    'a device belongs to an account',
    sql(
      'check.devices',
      `SELECT d.user_id AS example FROM devices d LEFT JOIN users u ON u.user_id = d.user_id
       WHERE u.user_id IS NULL ORDER BY d.user_id LIMIT 1`,
    ),
  ],
  [
    'an access token belongs to a device',
    sql(
      'check.tokens',
      `SELECT t.user_id AS example FROM access_tokens t
       LEFT JOIN devices d ON d.user_id = t.user_id AND d.device_id = t.device_id
       WHERE d.user_id IS NULL ORDER BY t.user_id LIMIT 1`,
    ),
  ],
];

/** Not kept under a name, since only SQLite knows it. */
const INTEGRITY: Statement<[], { integrity_check: string }> = { name: '', text: 'PRAGMA integrity_check' };

/** What is wrong with the file itself, as SQLite says it; nothing on another database. */
export async function fileFindings(db: Database): Promise<Finding[]> {
  if (db.dialect !== 'sqlite') return [];
  const lines = (await db.all(INTEGRITY)).map((row) => row.integrity_check);
  return lines.filter((line) => line !== 'ok').map((example) => ({ rule: 'the file is sound', example }));
}

/** Which rules the contents break. */
export async function contentFindings(db: Database): Promise<Finding[]> {
  const findings: Finding[] = [];
  for (const [rule, statement] of CHECKS) {
    // One after the other: each reads a whole table.
    const row = await db.get(statement);
    if (row !== undefined) findings.push({ rule, example: String(row.example) });
  }
  return findings;
}

/** How many rules `contentFindings` checks. */
export const CONTENT_RULES = CHECKS.length;

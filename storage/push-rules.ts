/** What users have made of the push rules: https://spec.matrix.org/v1.19/client-server-api/#push-rules */

import type { RoomId, UserId } from '#keys/ids.ts';
import type { Json, JsonObject } from '#keys/json.ts';
import type { Reader, Tx } from './database.ts';
import { sql } from './sql.ts';
import type { Streams } from './streams.ts';

/** In the order in which they are checked. */
export const ruleKinds = ['override', 'content', 'room', 'sender', 'underride'] as const;
export type RuleKind = (typeof ruleKinds)[number];

/** A rule that the user has made. */
export interface OwnRule extends JsonObject {
  readonly rule_id: string;
  readonly enabled: boolean;
  readonly actions: readonly Json[];
}

/** What the user has changed of a default rule. */
export interface ChangedDefault {
  /** Of that of MSC4306 there are only the server's. */
  readonly kind: RuleKind | 'postcontent';
  readonly rule_id: string;
  readonly enabled?: boolean;
  readonly actions?: readonly Json[];
}

/** All that the user has made and changed; the rest is as the server has it. */
export interface OwnRules {
  /** The most important first. */
  readonly rules: Readonly<Record<RuleKind, readonly OwnRule[]>>;
  readonly defaults: readonly ChangedDefault[];
}

export const NO_RULES: OwnRules = {
  rules: { override: [], content: [], room: [], sender: [], underride: [] },
  defaults: [],
};

interface Row {
  rules_json: string;
  position: number;
}

const GET = sql<[string], Row>(
  'pushRules.get',
  'SELECT rules_json, position FROM push_rules WHERE user_id = ?',
);

const SET = sql<[string, string, number]>(
  'pushRules.set',
  `INSERT INTO push_rules (user_id, rules_json, position) VALUES (?, ?, ?)
   ON CONFLICT (user_id) DO UPDATE SET rules_json = excluded.rules_json, position = excluded.position`,
);

const CLEAR = sql<[string]>('pushRules.clear', 'DELETE FROM push_rules WHERE user_id = ?');

/** A user's own rules and changes, and the position of the last change; 0 where there was none. */
export async function get(reader: Reader, userId: UserId): Promise<{ own: OwnRules; position: number }> {
  const row = await reader.get(GET, userId);
  if (row === undefined) return { own: NO_RULES, position: 0 };
  return { own: JSON.parse(row.rules_json) as OwnRules, position: row.position };
}

/** Sets them, and announces it to the user's devices. Answers the position. */
export async function set(tx: Tx, streams: Streams, userId: UserId, own: OwnRules): Promise<number> {
  const position = streams.allocate(tx, [`user:${userId}`]);
  await tx.run(SET, userId, JSON.stringify(own), position);
  return position;
}

/** Removes all that a user has made. */
export async function clear(tx: Tx, userId: UserId): Promise<void> {
  await tx.run(CLEAR, userId);
}

/** Gives one room the rules that another has, where it has none of its own. */
export async function carryToRoom(
  tx: Tx,
  streams: Streams,
  userId: UserId,
  rooms: { readonly from: RoomId; readonly to: RoomId },
): Promise<void> {
  const { own } = await get(tx, userId);
  let changed = false;
  const rules = { ...own.rules };
  for (const kind of ruleKinds) {
    const present = own.rules[kind];
    const at = present.findIndex((rule) => rule.rule_id === rooms.from);
    const rule = present[at];
    if (rule === undefined || present.some(({ rule_id }) => rule_id === rooms.to)) continue;
    const carried = aboutRoom(rule, rooms);
    if (kind !== 'room' && carried === undefined) continue;
    rules[kind] = present.toSpliced(at, 0, { ...(carried ?? rule), rule_id: rooms.to });
    changed = true;
  }
  if (changed) await set(tx, streams, userId, { ...own, rules });
}

/** A rule with a condition on one room, made one on another; undefined for one without. */
function aboutRoom(
  rule: OwnRule,
  { from, to }: { readonly from: RoomId; readonly to: RoomId },
): OwnRule | undefined {
  const { conditions } = rule;
  if (!Array.isArray(conditions)) return undefined;
  let found = false;
  const carried = (conditions as readonly JsonObject[]).map((condition) => {
    if (condition.kind !== 'event_match' || condition.key !== 'room_id' || condition.pattern !== from)
      return condition;
    found = true;
    return { ...condition, pattern: to };
  });
  return found ? { ...rule, conditions: carried } : undefined;
}

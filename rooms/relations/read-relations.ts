/**
 * Writes the relations of events that were stored before there was a table for them. Not by the migration: it would
 * keep a server with millions of events from starting, and it could not ask `relation.ts`. The newest events first; a
 * restart goes on where it was.
 */

import { setImmediate as nextTurn } from 'node:timers/promises';
import { isObject, objectAt } from '#keys/json.ts';
import { cursors } from '#storage/cursors.ts';
import type { Database, Tx } from '#storage/database.ts';
import * as relations from '#storage/relations.ts';
import type { Log } from '../context.ts';
import { canReplace, relationOf } from './relation.ts';

/** The newest event that is still to be looked at; 0 where none is. */
const CURSOR = 'relations.unread';
const EVENTS_AT_ONCE = 500;

/** Looks through all events that are still to be looked at, in transactions of 500 events. */
export async function readRelations(db: Database, log: Log, signal: AbortSignal): Promise<void> {
  let found = 0;
  for (let begun = false; !signal.aborted; begun = true) {
    const read = await db.write('relations.read', readSome);
    found += read.found;
    if (read.isDone) {
      if (begun) log.info({ relations: found }, 'relations of earlier events are known');
      return;
    }
    await nextTurn();
  }
}

async function readSome(tx: Tx): Promise<{ found: number; isDone: boolean }> {
  const upto = await cursors.get(tx, CURSOR);
  if (upto <= 0) return { found: 0, isDone: true };
  const after = Math.max(0, upto - EVENTS_AT_ONCE);
  let found = 0;
  // One after the other, in one transaction: each may be of the same thread.
  for (const event of await relations.unread(tx, { after, upto })) {
    const relation = relationIn(event);
    if (relation === undefined) continue;
    await relations.insert(tx, relation);
    found += 1;
  }
  await cursors.set(tx, CURSOR, after);
  return { found, isDone: false };
}

function relationIn({ isState, json, ...event }: relations.UnreadEvent): relations.NewRelation | undefined {
  const pdu: unknown = JSON.parse(json);
  const content = isObject(pdu) ? objectAt(pdu, 'content') : undefined;
  const relation = content && relationOf(content);
  if (content === undefined || relation === undefined) return undefined;
  return { ...event, ...relation, canReplace: canReplace({ type: event.type, isState, content }) };
}

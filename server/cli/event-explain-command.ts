import { isEventId } from '#keys/ids.ts';
import { explainEvent } from '#rooms/explain.ts';
import { RoomCache } from '#rooms/room-cache.ts';
import { openSqliteReadOnly } from '#storage/sqlite.ts';
import type { Config } from '../config-options.ts';
import { databasePath } from './database.ts';
import type { Outcome } from './operations.ts';
import { UsageError } from './usage.ts';

/** Says what the server made of an event, and why. Changes nothing. */
export async function explainEventOf(config: Config, eventId: string): Promise<Outcome> {
  if (!isEventId(eventId)) throw new UsageError(`"${eventId}" is not an event id: $...`);
  await using db = await openSqliteReadOnly(databasePath(config));
  const lines = await explainEvent({ db, rooms: new RoomCache() }, eventId);
  if (lines !== undefined) return { kind: 'done', lines };
  return {
    kind: 'refused',
    problem:
      `there is no event ${eventId} in this database: it never came, was dropped for its format or its ` +
      'signatures, or what it refers to could not be had (the log says so)',
  };
}

import { join } from 'node:path';
import { loadSigningKey, publicKeysOf } from '#keys/signing-key.ts';
import { type CheckContext, type CheckOptions, checkRoom, checkRooms } from '#rooms/db-check.ts';
import { RoomCache } from '#rooms/room-cache.ts';
import * as serverIdentity from '#storage/server-identity.ts';
import { openSqliteReadOnly } from '#storage/sqlite.ts';
import type { Config } from '../config-options.ts';
import { databasePath } from './database.ts';
import type { Outcome } from './operations.ts';
import { roomOf } from './room-operations.ts';

export interface RoomCheckOptions {
  /** A room id, or an alias of ours; undefined for all rooms. */
  readonly room: string | undefined;
  /** Resolves every fork again. */
  readonly isWhole: boolean;
  /** Told a line for the terminal every few hundred events. */
  readonly onProgress: ((line: string) => void) | undefined;
}

/** As many as anybody reads. */
const MOST_FINDINGS = 1_000;

/** Checks one room or all, whether a server uses the database or not. Changes nothing. */
export async function checkRoomsOf(config: Config, options: RoomCheckOptions): Promise<Outcome> {
  await using db = await openSqliteReadOnly(databasePath(config));
  const serverName = (await serverIdentity.read(db)) ?? config.serverName;
  const signingKey = await loadSigningKey(join(config.dataDir, 'signing.key'));
  const ctx: CheckContext = {
    ...{ db, serverName, rooms: new RoomCache() },
    ...(signingKey !== undefined && { ownKeys: publicKeysOf(signingKey) }),
  };
  const counted = countedBy(options);
  if (options.room === undefined) {
    return await outcomeOf('All rooms', checkRooms(ctx, counted.options), counted);
  }
  const room = await roomOf(ctx, options.room);
  if (typeof room === 'string') return { kind: 'refused', problem: room };
  return await outcomeOf(room.roomId, checkRoom(ctx, room, counted.options), counted);
}

interface Counted {
  readonly options: CheckOptions;
  events(): number;
}

function countedBy({ isWhole, onProgress }: RoomCheckOptions): Counted {
  let checked = 0;
  const options: CheckOptions = {
    depth: isWhole ? 'whole' : 'events',
    onProgress: (events) => {
      checked += events;
      onProgress?.(`${checked} events checked ...`);
    },
  };
  return { options, events: () => checked };
}

async function outcomeOf(what: string, check: AsyncGenerator<string>, counted: Counted): Promise<Outcome> {
  const findings: string[] = [];
  for await (const finding of check) {
    findings.push(finding);
    if (findings.length === MOST_FINDINGS) break;
  }
  if (findings.length === 0) {
    const verb = what === 'All rooms' ? 'are' : 'is';
    return { kind: 'done', lines: [`${what} ${verb} sound: ${counted.events()} events checked.`] };
  }
  const count = findings.length === 1 ? '1 finding' : `${findings.length} findings`;
  const most = findings.length === MOST_FINDINGS ? ', and the check ended there' : '';
  return { kind: 'refused', problem: [`${count}${most}:`, ...findings].join('\n') };
}

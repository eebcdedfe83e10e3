import { join } from 'node:path';
import { isRoomId } from '#keys/ids.ts';
import { loadSigningKey, publicKeysOf } from '#keys/signing-key.ts';
import { type CheckContext, type CheckOptions, checkRoom, checkRooms } from '#rooms/db-check.ts';
import { getRoom } from '#rooms/room.ts';
import { RoomCache } from '#rooms/room-cache.ts';
import * as serverIdentity from '#storage/server-identity.ts';
import { openSqliteReadOnly } from '#storage/sqlite.ts';
import type { Config } from '../config.ts';
import { databasePath } from './database.ts';
import type { Outcome } from './operations.ts';
import { UsageError } from './usage.ts';

export interface RoomCheckOptions {
  /** Undefined for all rooms. */
  readonly roomId: string | undefined;
  /** Resolves every fork again. */
  readonly isWhole: boolean;
  /** Told a line for the terminal every few hundred events. */
  readonly onProgress: ((line: string) => void) | undefined;
}

/** As many as anybody reads. */
const MOST_FINDINGS = 1_000;

/** Checks one room or all, whether a server uses the database or not. Changes nothing. */
export async function checkRoomsOf(config: Config, options: RoomCheckOptions): Promise<Outcome> {
  const { roomId } = options;
  if (roomId !== undefined && !isRoomId(roomId)) throw new UsageError(`"${roomId}" is not a room id: !...`);
  await using db = await openSqliteReadOnly(databasePath(config));
  const serverName = (await serverIdentity.read(db)) ?? config.serverName;
  const signingKey = await loadSigningKey(join(config.dataDir, 'signing.key'));
  const ctx: CheckContext = {
    ...{ db, serverName, rooms: new RoomCache() },
    ...(signingKey !== undefined && { ownKeys: publicKeysOf(signingKey) }),
  };
  const counted = countedBy(options);
  if (roomId === undefined) return await outcomeOf('All rooms', checkRooms(ctx, counted.options), counted);
  const room = await getRoom(ctx, roomId);
  if (room === undefined) return { kind: 'refused', problem: `there is no room ${roomId} in this database` };
  return await outcomeOf(roomId, checkRoom(ctx, room, counted.options), counted);
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

import type { ServerName } from '#keys/ids.ts';
import type { KeyRing } from '#keys/key-ring.ts';
import type { SigningKey } from '#keys/signing-key.ts';
import type { Database } from '#storage/database.ts';
import type { KeyedQueue } from '#storage/locks.ts';
import type { Streams } from '#storage/streams.ts';
import type { PolicySigner } from './policy.ts';
import type { RoomCache } from './room-cache.ts';

export interface Clock {
  /** Milliseconds since 1970. */
  now(): number;
}

/** Fields first; the message is constant text. Never content, tokens or keys. */
export interface Log {
  debug(fields: object, message: string): void;
  info(fields: object, message: string): void;
  warn(fields: object, message: string): void;
  error(fields: object, message: string): void;
}

/** What the functions of `rooms/` take first. */
export interface RoomsContext {
  readonly serverName: ServerName;
  readonly signingKey: SigningKey;
  readonly keyRing: KeyRing;
  readonly db: Database;
  readonly streams: Streams;
  /** One job at a time for each room id: building, checking and persisting. */
  readonly roomLocks: KeyedQueue;
  readonly rooms: RoomCache;
  readonly clock: Clock;
  readonly log: Log;
  /** Asks the policy servers of rooms; without it there is no answer. */
  readonly policySigner?: PolicySigner;
}

/** What reading takes. */
export type RoomsReader = Pick<RoomsContext, 'db' | 'rooms'>;

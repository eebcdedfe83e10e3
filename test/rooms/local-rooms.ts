/** Rooms on a real database, without a network: what the tests of reading from rooms read. */

import { KeyRing } from '#keys/key-ring.ts';
import type { RoomsContext } from '#rooms/context.ts';
import type { Event } from '#rooms/event.ts';
import { loadEvent } from '#rooms/load.ts';
import { receive } from '#rooms/receive.ts';
import { getRoom, type Room } from '#rooms/room.ts';
import { createRoomCache } from '#rooms/room-cache.ts';
import type { StoredEvent } from '#rooms/stored-event.ts';
import type { VerifiedEvent } from '#rooms/verified-event.ts';
import { KeyedQueue } from '#storage/locks.ts';
import * as rooms from '#storage/rooms.ts';
import { Streams } from '#storage/streams.ts';
import { temporarySqlite } from '../harness/databases.ts';
import { keyPairOf, type TestRoom } from '../harness/room-builder.ts';

const silent = { debug() {}, info() {}, warn() {}, error() {} };

/** A context as the server builds it, on a database of its own. */
export async function localRooms(): Promise<AsyncDisposable & { readonly ctx: RoomsContext }> {
  const database = await temporarySqlite();
  const streams = await Streams.open(database.db);
  const serverName = 'a.test';
  const clock = { now: () => 1_700_000_000_000 };
  const signingKey = { keyPair: keyPairOf(serverName), oldKeys: [] };
  const keyRing = new KeyRing({
    own: { serverName, signingKey },
    clock,
    load: async () => undefined,
    fetch: async () => undefined,
    store: async () => {},
  });
  const ctx: RoomsContext = {
    serverName,
    signingKey,
    keyRing,
    db: database.db,
    streams,
    roomLocks: new KeyedQueue(),
    rooms: createRoomCache(),
    clock,
    log: silent,
  };
  return {
    ctx,
    async [Symbol.asyncDispose]() {
      await streams[Symbol.asyncDispose]();
      await database[Symbol.asyncDispose]();
    },
  };
}

/** Writes a room's create event, and the others that it has so far, as events that arrive now. */
export async function importRoom(ctx: RoomsContext, built: TestRoom): Promise<Room> {
  await ctx.db.write('test.room', (tx) => rooms.insert(tx, built.roomId, built.rules.version));
  const room = await getRoom(ctx, built.roomId);
  if (room === undefined) throw new Error('the room was not written');
  for (const event of built.events.values()) await arrive(ctx, room, event);
  return room;
}

/** Writes an event that arrives now, and answers it as it is stored. */
export async function arrive(ctx: RoomsContext, room: Room, event: Event): Promise<StoredEvent> {
  // Made and signed by the test: what the checks of ingress would have found good.
  const received = await receive(ctx, room, event as VerifiedEvent, { as: 'live' });
  if (received.kind !== 'accepted') throw new Error(`${event.type}: ${JSON.stringify(received)}`);
  const stored = await loadEvent(ctx, event.eventId);
  if (stored === undefined) throw new Error('the event was not written');
  return stored;
}

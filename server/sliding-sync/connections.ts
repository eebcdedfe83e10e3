/**
 * The connections of sliding sync: a sequence of requests of one client, each with the `pos` of the answer before.
 *
 * "The server cannot assume that a client has received a response until it receives a new request with the `pos`": what an
 * answer would change of what was sent is kept beside it until then, each with a number that is in its `pos`. A request
 * may therefore be made again, and the answer be lost.
 *
 * In memory, and written some time after it has changed, so that a client goes on after a restart. Where that did not
 * happen any more the client is told that its `pos` is not known, and begins anew: nothing is lost by that.
 */

import { randomBytes } from 'node:crypto';
import { MatrixError } from '#federation/errors.ts';
import { integerAt, isObject, type JsonObject, objectAt, own, stringAt } from '#keys/json.ts';
import { KeyedQueue } from '#storage/locks.ts';
import { Lru } from '#storage/lru.ts';
import * as stored from '#storage/sliding-connections.ts';
import { deviceKey, type Requester } from '../auth/sessions.ts';
import type { ServerContext } from '../context.ts';
import { formatPos, parsePos } from '../sync/token.ts';
import {
  NOTHING_WHOLE,
  roomsFromJson,
  roomsToJson,
  type SentChanges,
  type SentRoom,
  type SentRooms,
  type SentWhole,
  weightOf,
  wholeFromJson,
  wholeToJson,
  withChanges,
} from './sent-rooms.ts';

/** Where a client stood with all rooms that it looks at told: then only what happens needs to be looked at. */
export interface Settled {
  readonly signature: string;
  /** The `RoomOrder` that it was by: another one where anything but news has changed it. */
  readonly order: object;
  /** By list. */
  readonly counts: ReadonlyMap<string, number>;
}

/** What a client has, as it says by its `pos`. */
export interface SentState {
  readonly number: number;
  readonly rooms: SentRooms;
  readonly whole: SentWhole;
  /** Nothing more than a short cut. */
  settled: Settled | undefined;
}

/** Which connection of which device, with the device's `deviceKey` where that is put together already. */
export type ConnectionRef = stored.ConnectionRef & Pick<Requester, 'key'>;

/** What an answer changes. */
export interface AnswerChanges {
  readonly rooms: SentChanges;
  readonly whole: SentWhole;
  readonly settled: Settled | undefined;
}

interface Offered extends AnswerChanges {
  readonly number: number;
}

/** Answers that the client may have got, beyond those that it has said that it has. */
const MOST_OFFERED = 4;
const MOST_OF_DEVICE = 10;
const MOST_DEVICES = 20_000;
const MOST_WEIGHT = 128 * 1024 * 1024;
const SAVED_AFTER_MS = 1_000;
/** The time of the last use is written this often, by which those that nobody uses are deleted. */
const USE_NOTED_MS = 24 * 60 * 60_000;
/** Of what was sent on a connection: beyond that to begin anew is better. */
const MOST_BYTES = 8 * 1024 * 1024;
const FORMAT = 1;
const ID_BYTES = 9;

export class Connection {
  readonly id: string;
  readonly ref: stored.ConnectionRef;
  state: SentState;
  offered: readonly Offered[] = [];
  nextNumber: number;
  /** When it was last written, in milliseconds since 1970. */
  savedTs = 0;

  constructor(ref: stored.ConnectionRef, id: string, state: SentState, nextNumber: number) {
    this.ref = ref;
    this.id = id;
    this.state = state;
    this.nextNumber = nextNumber;
  }
}

/** A connection at the point where a request continues. */
export interface ConnectionPoint {
  readonly connection: Connection;
  /** Undefined for the first request. */
  readonly since: number | undefined;
  readonly state: SentState;
}

/** 400 `M_UNKNOWN_POS`: "This is done by responding with a 400 HTTP status and an error code of `M_UNKNOWN_POS`." */
function unknownPos(): MatrixError {
  return new MatrixError(400, 'M_UNKNOWN_POS', 'The connection is not known, or no longer: begin a new one');
}

export class Connections {
  readonly #ctx: Pick<ServerContext, 'db' | 'streams' | 'clock' | 'background' | 'shutdown'>;
  /** By device and name; those used least recently first. */
  readonly #devices = new Lru<string, Map<string, Connection>>({
    maxEntries: MOST_DEVICES,
    maxWeight: MOST_WEIGHT,
    weigh: (connections) => connections.values().reduce((sum, { state }) => sum + weightOf(state.rooms), 500),
  });
  readonly #queue = new KeyedQueue();
  readonly #unsaved = new Set<Connection>();
  #timer: NodeJS.Timeout | undefined;

  constructor(ctx: Pick<ServerContext, 'db' | 'streams' | 'clock' | 'background' | 'shutdown'>) {
    this.#ctx = ctx;
    ctx.shutdown.addEventListener('abort', () => this.#saveAll(), { once: true });
  }

  /** Begins a connection anew; whatever was on it before is forgotten. */
  begin(ref: stored.ConnectionRef): ConnectionPoint {
    const state = { number: 0, rooms: new Map(), whole: NOTHING_WHOLE, settled: undefined };
    const connection = new Connection(ref, randomBytes(ID_BYTES).toString('hex'), state, 1);
    this.#keep(connection);
    return { connection, since: undefined, state };
  }

  /** Where the request with a `pos` continues. Throws `M_UNKNOWN_POS`. */
  async at(ref: ConnectionRef, pos: string): Promise<ConnectionPoint> {
    const connection = this.#known(ref) ?? (await this.#find(ref));
    if (connection === undefined) throw unknownPos();
    return this.#goOn(connection, pos);
  }

  /** The same, where nothing is to be read. */
  knownAt(ref: ConnectionRef, pos: string): ConnectionPoint | undefined {
    const connection = this.#known(ref);
    return connection && this.#goOn(connection, pos);
  }

  #goOn(connection: Connection, pos: string): ConnectionPoint {
    const point = parsePos(pos);
    if (point?.connection !== connection.id || point.position > this.#ctx.streams.upto()) throw unknownPos();
    if (connection.state.number !== point.number) this.#take(connection, point.number);
    if (this.#ctx.clock.now() - connection.savedTs > USE_NOTED_MS) this.#saveSoon(connection);
    return { connection, since: point.position, state: connection.state };
  }

  /** The `pos` of an answer up to a position, with what it changes. */
  offer({ connection, state }: ConnectionPoint, position: number, changes: AnswerChanges): string {
    const isSameWhole =
      state.whole.accountData === changes.whole.accountData &&
      state.whole.threadSubscriptions === changes.whole.threadSubscriptions;
    let { number } = state;
    // The client has gone on meanwhile, by another request: nobody will come back with this answer.
    const isCurrent = connection.state === state;
    if (changes.rooms.size === 0 && isSameWhole && number > 0) {
      if (isCurrent) state.settled = changes.settled;
    } else {
      number = connection.nextNumber;
      connection.nextNumber += 1;
      if (isCurrent) {
        connection.offered = [...connection.offered, { number, ...changes }].slice(-MOST_OFFERED);
        this.#saveSoon(connection);
      }
    }
    return formatPos({ position, connection: connection.id, number });
  }

  /** The client has an answer, and none of the others that it might have. */
  #take(connection: Connection, number: number): void {
    const offered = connection.offered.find((candidate) => candidate.number === number);
    if (offered === undefined) throw unknownPos();
    const rooms = withChanges(connection.state.rooms, offered.rooms);
    connection.state = { number, rooms, whole: offered.whole, settled: offered.settled };
    connection.offered = [];
    if (weightOf(rooms) > MOST_BYTES) {
      this.#devices.get(deviceKey(connection.ref))?.delete(connection.ref.connId);
      throw unknownPos();
    }
    this.#keep(connection);
    this.#saveSoon(connection);
  }

  #keep(connection: Connection): void {
    const key = deviceKey(connection.ref);
    const connections = this.#devices.get(key) ?? new Map<string, Connection>();
    connections.delete(connection.ref.connId);
    connections.set(connection.ref.connId, connection);
    const [oldest] = connections;
    if (connections.size > MOST_OF_DEVICE && oldest !== undefined) connections.delete(oldest[0]);
    // Weighed anew.
    this.#devices.set(key, connections);
  }

  #known(ref: ConnectionRef): Connection | undefined {
    return this.#devices.get(deviceKey(ref))?.get(ref.connId);
  }

  async #find(ref: stored.ConnectionRef): Promise<Connection | undefined> {
    const key = deviceKey(ref);
    return this.#queue.run(`${key} ${ref.connId}`, async () => {
      const meanwhile = this.#devices.get(key)?.get(ref.connId);
      if (meanwhile !== undefined) return meanwhile;
      const json = await stored.get(this.#ctx.db, ref);
      const connection = json && connectionFromJson(ref, json);
      if (connection !== undefined) this.#keep(connection);
      return connection;
    });
  }

  #saveSoon(connection: Connection): void {
    this.#unsaved.add(connection);
    if (this.#ctx.shutdown.aborted) this.#saveAll();
    else this.#timer ??= setTimeout(() => this.#saveAll(), SAVED_AFTER_MS).unref();
  }

  #saveAll(): void {
    clearTimeout(this.#timer);
    this.#timer = undefined;
    const connections = [...this.#unsaved];
    this.#unsaved.clear();
    if (connections.length === 0) return;
    this.#ctx.background.run(this.#save(connections), 'connections of sliding sync were not written');
  }

  async #save(connections: readonly Connection[]): Promise<void> {
    const { db, clock } = this.#ctx;
    for (const connection of connections) {
      // One in each, so that nobody waits long for the one writer.
      const now = clock.now();
      const content = connectionToJson(connection);
      await db.write('slidingConnections.set', (tx) =>
        stored.set(tx, connection.ref, { content, now, most: MOST_OF_DEVICE }),
      );
      connection.savedTs = now;
    }
  }
}

function connectionToJson({ id, state, offered, nextNumber, ref: _, savedTs }: Connection): JsonObject {
  return {
    ...{ format: FORMAT, id, next_number: nextNumber, number: state.number, saved_ts: savedTs },
    ...{ rooms: roomsToJson(state.rooms), whole: wholeToJson(state.whole) },
    offered: offered.map(({ number, rooms, whole }) => ({
      ...{ number, rooms: roomsToJson(rooms), whole: wholeToJson(whole) },
    })),
  };
}

/** Undefined for what another version has written. */
function connectionFromJson(ref: stored.ConnectionRef, json: JsonObject): Connection | undefined {
  const [id, number] = [stringAt(json, 'id'), integerAt(json, 'number')];
  const nextNumber = integerAt(json, 'next_number');
  const rooms = roomsFromJson(own(json, 'rooms'));
  if (json.format !== FORMAT || id === undefined || number === undefined) return undefined;
  if (nextNumber === undefined || rooms === undefined) return undefined;
  const whole = wholeFromJson(objectAt(json, 'whole'));
  const state = { number, rooms: present(rooms), whole, settled: undefined };
  const connection = new Connection(ref, id, state, nextNumber);
  connection.savedTs = integerAt(json, 'saved_ts') ?? 0;
  const offered = own(json, 'offered');
  connection.offered = (Array.isArray(offered) ? offered : []).filter(isObject).flatMap((offer) => {
    const changes = roomsFromJson(own(offer, 'rooms'));
    const offerNumber = integerAt(offer, 'number');
    if (changes === undefined || offerNumber === undefined) return [];
    const offerWhole = wholeFromJson(objectAt(offer, 'whole'));
    return [{ number: offerNumber, rooms: changes, whole: offerWhole, settled: undefined }];
  });
  return connection;
}

function present(rooms: SentChanges): SentRooms {
  const found = new Map<number, SentRoom>();
  for (const [nid, room] of rooms) if (room !== undefined) found.set(nid, room);
  return found;
}

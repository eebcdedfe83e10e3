/**
 * What this server knows of the devices of users of other servers. It is kept as long as it is certain to be up to
 * date:
 *
 * 1. Ever since the user's server was asked, one of our users has shared a room with the user: only then are we told
 *    what changes.
 * 2. No update was missed since (`inbound/device-lists.ts` sees that by their numbers).
 *
 * Otherwise the user's server is asked again. Its answer counts for what comes after only if no update came in while
 * it was under way, for it may be older than the update. Such an answer is kept as out of date, and the server asked
 * once more: whoever shares a room with somebody and has been told keys is to be told what changes in them, and of
 * somebody unknown that is not always said (`isOfItsJoin`).
 *
 * https://spec.matrix.org/v1.19/server-server-api/#device-management
 */

import { encodeCanonical } from '#keys/canonical-json.ts';
import { type ServerName, serverNameOf, type UserId } from '#keys/ids.ts';
import type { JsonObject } from '#keys/json.ts';
import { Lanes } from '#keys/lanes.ts';
import type { Tx } from '#storage/database.ts';
import * as deviceLists from '#storage/device-lists.ts';
import * as memberships from '#storage/memberships.ts';
import type { RemoteKeys } from '#storage/remote-device-lists.ts';
import * as remoteDeviceLists from '#storage/remote-device-lists.ts';
import { type FederationFailure, failure } from '../client.ts';
import type { FederationContext } from '../context.ts';
import { TimeLimit } from '../network/time-limit.ts';
import { isForGood, type Remote } from '../remote/answer.ts';
import { queryKeys, userDevices } from '../remote/keys.ts';

export type RemoteListsContext = Pick<
  FederationContext,
  'db' | 'streams' | 'client' | 'serverName' | 'rooms'
>;

/** Announced where an update was missed, or may have been. */
export const MISSED = 'missed_device_lists';

/** What was found, and the servers that did not answer. */
export interface FoundKeys {
  readonly keys: ReadonlyMap<UserId, RemoteKeys>;
  readonly failures: ReadonlyMap<ServerName, FederationFailure>;
}

/** A user's server is being asked. */
interface Flight {
  /** Where the user's list stood when it was: an update moves that on. */
  readonly asOf: number;
  readonly answer: Promise<Remote<ReadonlyMap<UserId, RemoteKeys>>>;
}

const SERVERS_AT_ONCE = 64;
const USERS_AT_ONCE = 500;

const flights = new WeakMap<RemoteListsContext['rooms'], Map<UserId, Flight>>();
const lanes = new Lanes(SERVERS_AT_ONCE, Number.POSITIVE_INFINITY);

/**
 * The devices and keys of users of other servers: what is known, and for the rest what their servers say within
 * `timeoutMs`.
 */
export async function remoteKeys(
  ctx: RemoteListsContext,
  userIds: readonly UserId[],
  { timeoutMs }: { readonly timeoutMs: number },
): Promise<FoundKeys> {
  const states = await remoteDeviceLists.statesOf(ctx.db, ctx.serverName, userIds);
  const isKnown = (userId: UserId) => states.get(userId)?.isFollowed === true && !states.get(userId)?.isStale;
  const known = userIds.filter(isKnown);
  const keys = new Map(await remoteDeviceLists.keysOf(ctx.db, known));
  const failures = new Map<ServerName, FederationFailure>();
  const unknown = Map.groupBy(
    userIds.filter((userId) => !keys.has(userId)),
    (userId) => serverNameOf(userId) ?? '',
  );
  using limit = new TimeLimit(timeoutMs, []);
  await Promise.all(
    [...unknown].map(async ([server, ofServer]) => {
      const answer = await inTime(limit, () => lanes.run(() => ask(ctx, server, ofServer, limit)));
      if (answer.kind === 'failed') failures.set(server, answer);
      else for (const [userId, found] of answer.value) keys.set(userId, found);
    }),
  );
  return { keys, failures };
}

/**
 * Asks a user's server for the user's list, such that the updates after it can be followed. Where the server has no
 * such lists, as its keys are told without.
 */
export async function refresh(
  ctx: RemoteListsContext,
  server: ServerName,
  wanted: { readonly userId: UserId; readonly signal: AbortSignal },
): Promise<Remote<true>> {
  const begin = (started: Started) => fetchList(ctx, server, { ...wanted, started });
  const [flight] = await flightsFor(ctx, [wanted.userId], begin);
  const answer = await flight;
  return answer?.kind === 'failed' ? answer : { kind: 'ok', value: true };
}

/** True while a user's server is being asked for the user's list. */
export function isBeingAsked({ rooms }: Pick<RemoteListsContext, 'rooms'>, userId: UserId): boolean {
  return flights.get(rooms)?.has(userId) === true;
}

/** Several users of one server: those that somebody has asked for just now are not asked for again. */
async function ask(
  ctx: RemoteListsContext,
  server: ServerName,
  userIds: readonly UserId[],
  limit: TimeLimit,
): Promise<Remote<ReadonlyMap<UserId, RemoteKeys>>> {
  if (limit.signal.aborted) return LATE;
  const wanted = new Set(userIds);
  const keys = new Map<UserId, RemoteKeys>();
  for (let from = 0; from < userIds.length; from += USERS_AT_ONCE) {
    const portion = userIds.slice(from, from + USERS_AT_ONCE);
    // Portion by portion: an answer has a largest size.
    const under = await flightsFor(ctx, portion, (started) => fetchKeys(ctx, server, started));
    for (const found of await Promise.all(under)) {
      if (found.kind === 'failed') return found;
      for (const [userId, ofUser] of found.value) if (wanted.has(userId)) keys.set(userId, ofUser);
    }
  }
  return { kind: 'ok', value: keys };
}

interface Started {
  /** Up to where the stream had come. */
  readonly position: number;
  /** Where each user's list stood. */
  readonly asOf: ReadonlyMap<UserId, number>;
}

/**
 * What is under way for users, each once; `begin` asks for those of whom nothing is, or for whom an update has come
 * since. Sets them all off at the same time, so that nobody asks twice.
 */
async function flightsFor(
  ctx: RemoteListsContext,
  userIds: readonly UserId[],
  begin: (started: Started) => Flight['answer'],
): Promise<Set<Flight['answer']>> {
  const position = ctx.streams.upto();
  const asOf = await deviceLists.positionsOf(ctx.db, userIds);
  const under = flights.get(ctx.rooms) ?? new Map<UserId, Flight>();
  flights.set(ctx.rooms, under);
  const isJoinable = (userId: UserId) => under.get(userId)?.asOf === (asOf.get(userId) ?? 0);
  const others = userIds.filter((userId) => !isJoinable(userId));
  const joined = userIds.filter(isJoinable).map((userId) => under.get(userId)?.answer);
  const found = new Set(joined.filter((answer) => answer !== undefined));
  if (others.length === 0) return found;
  const wanted = new Map(others.map((userId) => [userId, asOf.get(userId) ?? 0]));
  const answer = begin({ position, asOf: wanted });
  found.add(answer);
  for (const [userId, ofUser] of wanted) {
    const flight = { asOf: ofUser, answer };
    under.set(userId, flight);
    const end = () => under.get(userId) === flight && under.delete(userId);
    answer.then(end, end);
  }
  return found;
}

async function fetchKeys(
  ctx: RemoteListsContext,
  server: ServerName,
  started: Started,
): Promise<Remote<ReadonlyMap<UserId, RemoteKeys>>> {
  const answer = await queryKeys(ctx, server, [...started.asOf.keys()]);
  if (answer.kind === 'ok') await store(ctx, server, { started, told: answer.value, streamId: undefined });
  return answer;
}

async function fetchList(
  ctx: RemoteListsContext,
  server: ServerName,
  wanted: { readonly userId: UserId; readonly signal: AbortSignal; readonly started: Started },
): Promise<Remote<ReadonlyMap<UserId, RemoteKeys>>> {
  const { userId, signal, started } = wanted;
  const answer = await userDevices(ctx, server, userId, { signal });
  if (answer.kind === 'failed') return isForGood(answer) ? fetchKeys(ctx, server, started) : answer;
  const { streamId, keys } = answer.value;
  const told = new Map([[userId, keys]]);
  await store(ctx, server, { started, told, streamId });
  return { kind: 'ok', value: told };
}

/** Keeps what was told of those who share a room with our users. What was overtaken replaces nothing. */
async function store(
  ctx: RemoteListsContext,
  server: ServerName,
  answer: {
    readonly started: Started;
    readonly told: ReadonlyMap<UserId, RemoteKeys>;
    readonly streamId: number | undefined;
  },
): Promise<void> {
  const { started, told, streamId } = answer;
  const userIds = [...told.keys()];
  await ctx.db.write('deviceLists.told', async (tx) => {
    const sharing = await memberships.sharingWithServer(tx, ctx.serverName, userIds);
    const now = await deviceLists.positionsOf(tx, userIds);
    const before = await remoteDeviceLists.keysOf(tx, userIds);
    for (const [userId, keys] of told) {
      const list = { userId, server, position: started.position, streamId, keys };
      const isOvertaken = (now.get(userId) ?? 0) !== started.asOf.get(userId);
      if (!sharing.has(userId)) await remoteDeviceLists.remove(tx, userId);
      else if (!isOvertaken) {
        await remoteDeviceLists.set(tx, list);
        await tellDifference(ctx, tx, { userId, before: before.get(userId), keys });
      } else if (!before.has(userId)) {
        await remoteDeviceLists.set(tx, list);
        await remoteDeviceLists.setStale(tx, userId);
        ctx.streams.allocate(tx, [MISSED]);
      }
    }
  });
}

/** An update that never reached us is told to our users as soon as we learn of it. */
async function tellDifference(
  { streams }: RemoteListsContext,
  tx: Tx,
  list: { readonly userId: UserId; readonly before: RemoteKeys | undefined; readonly keys: RemoteKeys },
): Promise<void> {
  const { userId, before, keys } = list;
  if (before === undefined || textOf(before) === textOf(keys)) return;
  await deviceLists.markChanged(tx, streams, userId);
}

function textOf({ devices, masterKey, selfSigningKey }: RemoteKeys): string {
  const absent: JsonObject = {};
  return encodeCanonical([Object.fromEntries(devices), masterKey ?? absent, selfSigningKey ?? absent]);
}

const LATE: FederationFailure = failure('timeout', 'no answer in time');

/** The outcome of `job`, or a failure once the time is over; the job goes on. */
async function inTime<T>(limit: TimeLimit, job: () => Promise<Remote<T>>): Promise<Remote<T>> {
  const late = new Promise<Remote<T>>((resolve) => {
    limit.signal.addEventListener('abort', () => resolve(LATE), { once: true });
  });
  return Promise.race([job(), late]);
}

/**
 * Updates of other servers' device lists. "If a server receives an EDU which refers to a prev_id it does not recognise,
 * it must resynchronise its list": https://spec.matrix.org/v1.19/server-server-api/#device-management
 *
 * Our users are told of every update but those of a join. What this server knows of the user is moved on by it only
 * where it is the very next one; otherwise it is asked for again (`e2ee-keys/device-lists-resync.ts`). Of users of whom
 * nobody has asked nothing is known, and nothing is fetched.
 */

import { encodeCanonical } from '#keys/canonical-json.ts';
import { belongsTo, isUserId, type ServerName, type UserId } from '#keys/ids.ts';
import { integerAt, type JsonObject, own } from '#keys/json.ts';
import type { Tx } from '#storage/database.ts';
import * as deviceLists from '#storage/device-lists.ts';
import * as memberships from '#storage/memberships.ts';
import type { RemoteListState } from '#storage/remote-device-lists.ts';
import * as remoteDeviceLists from '#storage/remote-device-lists.ts';
import { isDeviceId } from '../e2ee-keys/device-keys.ts';
import { isBeingAsked, MISSED } from '../e2ee-keys/device-lists-remote.ts';
import { deviceKeysFrom, MOST_DEVICES, withName } from '../remote/keys.ts';
import type { EduContext, EduWrite } from './edu-source.ts';

/** For what the server of a user who joins has to say of the join. */
const JUST_JOINED_MS = 10_000;

interface Update {
  readonly userId: UserId;
  readonly deviceId: string;
  readonly streamId: number;
  readonly prevIds: readonly unknown[];
  /** Undefined for a device that is deleted, or has no keys. */
  readonly keys: JsonObject | undefined;
}

/** Takes in an `m.device_list_update`: only of the origin's own users, only of those who share a room with ours. */
export async function receiveDeviceListUpdate(
  ctx: EduContext,
  origin: ServerName,
  content: JsonObject,
): Promise<EduWrite | undefined> {
  const update = updateFrom(content);
  if (update === undefined || !belongsTo(update.userId, origin)) return undefined;
  return { rows: 1, write: (tx) => writeUpdate(ctx, tx, update) };
}

async function writeUpdate(ctx: EduContext, tx: Tx, update: Update): Promise<void> {
  const { userId } = update;
  if (!(await isShared(ctx, tx, userId))) return;
  const state = (await remoteDeviceLists.statesOf(tx, ctx.serverName, [userId])).get(userId);
  if (state === undefined && (await isOfItsJoin(ctx, tx, userId))) return;
  const effect = state === undefined ? 'unknown' : await take(tx, state, update);
  if (effect === 'nothing') return;
  await deviceLists.markChanged(tx, ctx.streams, userId, effect === 'missed' ? [MISSED] : []);
}

/**
 * True where an update of somebody unknown comes with the join that made the user's server send it, as we did not get
 * the updates before: our users were told of the user by the join, and none has had an answer since, or the user would
 * be known.
 */
export async function isOfItsJoin(ctx: EduContext, tx: Tx, userId: UserId): Promise<boolean> {
  if (isBeingAsked(ctx, userId)) return false;
  const joined = await memberships.firstSharedJoin(tx, ctx.serverName, userId);
  return joined !== undefined && joined >= ctx.clock.now() - JUST_JOINED_MS;
}

/** False for a user who shares no room with ours: what is known of the user is out of date from now on. */
export async function isShared(ctx: EduContext, tx: Tx, userId: UserId): Promise<boolean> {
  if ((await memberships.sharingWithServer(tx, ctx.serverName, [userId])).has(userId)) return true;
  await remoteDeviceLists.remove(tx, userId);
  return false;
}

/** Moves on what is known of the user, or notes that something is missing. `nothing`: it was known. */
async function take(
  tx: Tx,
  { streamId, isStale }: RemoteListState,
  update: Update,
): Promise<'nothing' | 'taken' | 'missed'> {
  const { userId, deviceId, keys } = update;
  const before = await remoteDeviceLists.deviceOf(tx, userId, deviceId);
  const isNext = update.prevIds.length > 0 && update.prevIds.every((prevId) => prevId === streamId);
  const isOld = streamId !== undefined && update.streamId <= streamId;
  if (!isStale && isOld && isSame(before, keys)) return 'nothing';
  const isMore = before === undefined && keys !== undefined;
  const isTooMany = isMore && (await remoteDeviceLists.hasDevices(tx, userId, MOST_DEVICES));
  if (isStale || isOld || !isNext || isTooMany) {
    await remoteDeviceLists.setStale(tx, userId);
    return 'missed';
  }
  if (keys === undefined) await remoteDeviceLists.removeDevice(tx, userId, deviceId);
  else await remoteDeviceLists.setDevice(tx, userId, deviceId, keys);
  await remoteDeviceLists.setStreamId(tx, userId, update.streamId);
  return 'taken';
}

function isSame(a: JsonObject | undefined, b: JsonObject | undefined): boolean {
  if (a === undefined || b === undefined) return a === b;
  return encodeCanonical(a) === encodeCanonical(b);
}

/** Undefined where it is malformed. Keys that nobody could read count as none. */
function updateFrom(content: JsonObject): Update | undefined {
  const userId = own(content, 'user_id');
  const deviceId = own(content, 'device_id');
  const streamId = integerAt(content, 'stream_id');
  const prevIds = own(content, 'prev_id') ?? [];
  if (!isUserId(userId) || !isDeviceId(deviceId) || streamId === undefined || !Array.isArray(prevIds)) {
    return undefined;
  }
  const isDeleted = own(content, 'deleted') === true;
  const told = isDeleted ? undefined : deviceKeysFrom(userId, deviceId, own(content, 'keys'));
  const keys = told && withName(told, own(content, 'device_display_name'));
  return { userId, deviceId, streamId, prevIds, keys };
}

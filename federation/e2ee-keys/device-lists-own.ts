/** What this server tells of its own users' devices and keys, to clients and to other servers. */

import { isUserId, type UserId } from '#keys/ids.ts';
import { isObject, type JsonObject, objectAt, own } from '#keys/json.ts';
import type { Usage } from '#storage/cross-signing-keys.ts';
import * as crossSigningKeys from '#storage/cross-signing-keys.ts';
import type { Reader } from '#storage/database.ts';
import * as deviceLists from '#storage/device-lists.ts';
import * as devices from '#storage/devices.ts';
import * as e2eeKeys from '#storage/e2ee-keys.ts';
import { type KeySignature, onKeysOf } from '#storage/key-signatures.ts';
import * as users from '#storage/users.ts';
import type { FederationContext } from '../context.ts';
import { publicKeyOf } from './device-keys.ts';

/** The keys of one of our users, with the signatures that the viewer may see. */
export interface OwnKeys {
  /** By device id: those that have uploaded keys. */
  readonly devices: ReadonlyMap<string, JsonObject>;
  readonly masterKey: JsonObject | undefined;
  readonly selfSigningKey: JsonObject | undefined;
  readonly userSigningKey: JsonObject | undefined;
}

/** Who asks: a user of ours, or another server, which learns the names of devices only where the operator has said so. */
export type Viewer = UserId | 'server' | 'server_with_names';

/** Another server as the viewer of our users' keys. */
export function serverViewer({ federation }: Pick<FederationContext, 'federation'>): Viewer {
  return federation.tellsDeviceNames ? 'server_with_names' : 'server';
}

type KeysContext = Pick<FederationContext, 'db' | 'bridgedKeys'>;

/**
 * As `ownKeys`, with what application services say of their users, over what is stored: "up to the device level"
 * (MSC3984). An empty list asks for all devices of a user.
 */
export async function ownAndBridgedKeys(
  { db, bridgedKeys }: KeysContext,
  wanted: ReadonlyMap<UserId, readonly string[]>,
  viewer: Viewer,
): Promise<ReadonlyMap<UserId, OwnKeys>> {
  const userIds = [...wanted.keys()];
  const bridged = userIds.filter((userId) => bridgedKeys?.knowsDevicesOf(userId) === true);
  if (bridgedKeys === undefined || bridged.length === 0) return ownKeys(db, userIds, viewer);
  const asked = [...(await users.existing(db, bridged))].map(
    (userId) => [userId, wanted.get(userId) ?? []] as const,
  );
  return ownKeys(db, userIds, viewer, await bridgedKeys.query(new Map(asked)));
}

/** The keys of users of ours; those who do not exist are absent. `told` goes before what is stored. */
export async function ownKeys(
  reader: Reader,
  userIds: readonly UserId[],
  viewer: Viewer,
  told: ReadonlyMap<UserId, OwnKeys> = new Map(),
): Promise<ReadonlyMap<UserId, OwnKeys>> {
  const ofDevices = await e2eeKeys.deviceKeys(reader, userIds);
  const ofUsers = await crossSigningKeys.ofUsers(reader, userIds);
  const given = await onKeysOf(reader, userIds, isUserId(viewer) ? viewer : undefined);
  const names = viewer === 'server' ? new Map<string, string>() : await deviceNames(reader, userIds);
  const signatures = Map.groupBy(given, ({ target }) => `${target.userId} ${target.id}`);
  const found = new Map<UserId, OwnKeys>();
  for (const userId of await users.existing(reader, userIds)) {
    const ofService = told.get(userId);
    const all = new Map([...(ofDevices.get(userId) ?? []), ...(ofService?.devices ?? [])]);
    const signedDevices = [...all].map(([deviceId, keys]) => {
      const key = `${userId} ${deviceId}`;
      const shown = visible(viewer === 'server' ? nameless(keys) : keys, userId, viewer);
      return [deviceId, named(signed(shown, signatures.get(key)), names.get(key))] as const;
    });
    const keyOf = (usage: Usage, toldKey: JsonObject | undefined) => {
      const key = toldKey ?? ofUsers.get(userId)?.get(usage)?.key;
      return key && signed(visible(key, userId, viewer), signatures.get(`${userId} ${publicKeyOf(key)}`));
    };
    found.set(userId, {
      devices: new Map(signedDevices),
      masterKey: keyOf('master', ofService?.masterKey),
      selfSigningKey: keyOf('self_signing', ofService?.selfSigningKey),
      // "the user-signing key of the user making the request, if they queried their own device information"
      userSigningKey: userId === viewer ? keyOf('user_signing', ofService?.userSigningKey) : undefined,
    });
  }
  return found;
}

/** What `GET user/devices/{userId}` answers. Of a user who does not exist it says the same as of one without devices. */
export async function ownDeviceList(
  ctx: KeysContext & Pick<FederationContext, 'federation'>,
  userId: UserId,
): Promise<JsonObject> {
  // Before the keys: what changes in between is told again by an update, and not missed.
  const last = await deviceLists.lastUpdateOf(ctx.db, userId);
  const keys = (await ownAndBridgedKeys(ctx, new Map([[userId, []]]), serverViewer(ctx))).get(userId);
  return {
    user_id: userId,
    stream_id: last?.streamId ?? 0,
    devices: [...(keys?.devices ?? [])].map(([deviceId, ofDevice]) => ({
      device_id: deviceId,
      keys: ofDevice,
    })),
    ...(keys?.masterKey !== undefined && { master_key: keys.masterKey }),
    ...(keys?.selfSigningKey !== undefined && { self_signing_key: keys.selfSigningKey }),
  };
}

async function deviceNames(reader: Reader, userIds: readonly UserId[]): Promise<Map<string, string>> {
  const names = new Map<string, string>();
  for (const { userId, deviceId, displayName } of await devices.ofUsers(reader, userIds)) {
    if (displayName !== undefined) names.set(`${userId} ${deviceId}`, displayName);
  }
  return names;
}

/** The object with "the signatures that the requesting user is allowed to see": the owner's, and the viewer's own. */
function visible(object: JsonObject, owner: UserId, viewer: Viewer): JsonObject {
  const signatures = Object.entries(objectAt(object, 'signatures') ?? {});
  const shown = signatures.filter(([signer]) => signer === owner || signer === viewer);
  return shown.length === signatures.length ? object : { ...object, signatures: Object.fromEntries(shown) };
}

/** The object with more signatures beside those that it has. */
export function signed(object: JsonObject, given: readonly KeySignature[] = []): JsonObject {
  let signatures = objectAt(object, 'signatures') ?? {};
  for (const { signer, keyId, signature } of given) {
    signatures = { ...signatures, [signer]: { ...objectAt(signatures, signer), [keyId]: signature } };
  }
  return given.length === 0 ? object : { ...object, signatures };
}

/** Keys that are stored have no name beside them; those that a service tells may. */
function nameless(keys: JsonObject): JsonObject {
  if (own(keys, 'unsigned') === undefined) return keys;
  const { unsigned: _, ...bare } = keys;
  return bare;
}

function named(keys: JsonObject, name: string | undefined): JsonObject {
  if (name === undefined) return keys;
  const { unsigned } = keys;
  return { ...keys, unsigned: { ...(isObject(unsigned) && unsigned), device_display_name: name } };
}

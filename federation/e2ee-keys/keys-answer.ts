import type { UserId } from '#keys/ids.ts';
import { type JsonObject, own } from '#keys/json.ts';
import type { RemoteKeys } from '#storage/remote-device-lists.ts';
import type { OwnKeys } from './device-lists-own.ts';

type Keys = RemoteKeys & Partial<Pick<OwnKeys, 'userSigningKey'>>;

/**
 * What `/keys/query` and `user/keys/query` answer. `wanted` has by user the device ids that were asked for; an empty
 * list means all. A user who has no devices has an entry without any: "If the user was unknown [...] the corresponding
 * user is missing".
 */
export function keysJson(found: ReadonlyMap<UserId, Keys>, wanted: JsonObject): JsonObject {
  const signingKeys = (kind: 'masterKey' | 'selfSigningKey' | 'userSigningKey'): JsonObject => {
    const entries = [...found].flatMap(([userId, { [kind]: key }]) =>
      key === undefined ? [] : [[userId, key]],
    );
    return Object.fromEntries(entries);
  };
  const devices = [...found].map(
    ([userId, keys]) => [userId, chosenDevices(keys, own(wanted, userId))] as const,
  );
  const userSigningKeys = signingKeys('userSigningKey');
  return {
    device_keys: Object.fromEntries(devices),
    master_keys: signingKeys('masterKey'),
    self_signing_keys: signingKeys('selfSigningKey'),
    ...(Object.keys(userSigningKeys).length > 0 && { user_signing_keys: userSigningKeys }),
  };
}

function chosenDevices({ devices }: Keys, deviceIds: unknown): JsonObject {
  const isAll = !Array.isArray(deviceIds) || deviceIds.length === 0;
  return Object.fromEntries([...devices].filter(([deviceId]) => isAll || deviceIds.includes(deviceId)));
}

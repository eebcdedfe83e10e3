/** What a client asks for with a pusher: https://spec.matrix.org/v1.19/client-server-api/#post_matrixclientv3pushersset */

import { invalidParam, MatrixError, missingParam, tooLarge } from '#federation/errors.ts';
import { type JsonObject, own, stringAt } from '#keys/json.ts';
import type { PusherKey } from '#storage/pushers.ts';
import { optionalBoolean, optionalObject, optionalString, requiredString } from '../body.ts';
import { canonicalEmail } from '../email/address.ts';
import { recipientOf } from './web-push-encryption.ts';

export const pusherKinds = ['http', 'email', 'webpush'] as const;
export type PusherKind = (typeof pusherKinds)[number];

/** MSC3881. */
export const ENABLED = 'org.matrix.msc3881.enabled';
export const DEVICE_ID = 'org.matrix.msc3881.device_id';

export interface AskedPusher {
  readonly kind: PusherKind;
  readonly appDisplayName: string;
  readonly deviceDisplayName: string;
  readonly profileTag: string | undefined;
  readonly lang: string;
  readonly data: JsonObject;
  readonly enabled: boolean;
  /** The client speaks of a pusher of any device of the user: it is switched on or off. */
  readonly isToggle: boolean;
}

/** "Max length, 512 bytes." */
const MOST_PUSHKEY_BYTES = 512;
/** "Max length, 64 chars." */
const MOST_APP_ID_CHARACTERS = 64;
const MOST_NAME_CHARACTERS = 500;
const MOST_DATA_BYTES = 8_192;
const NOTIFY_PATH = '/_matrix/push/v1/notify';
/** "Required if `kind` is not `null`". */
const REQUIRED = ['app_display_name', 'device_display_name', 'lang', 'data'] as const;

/** By what a pusher is known. */
export function keyAt(body: JsonObject): Omit<PusherKey, 'userId'> {
  const appId = requiredString(body, 'app_id');
  const pushkey = requiredString(body, 'pushkey');
  if (appId === '' || [...appId].length > MOST_APP_ID_CHARACTERS)
    throw invalidParam(`app_id has 1 to ${MOST_APP_ID_CHARACTERS} characters`);
  if (pushkey === '' || Buffer.byteLength(pushkey) > MOST_PUSHKEY_BYTES)
    throw invalidParam(`pushkey has 1 to ${MOST_PUSHKEY_BYTES} bytes`);
  return { appId, pushkey };
}

/** The pusher in a body, of one of the kinds that are served. */
export function pusherAt(body: JsonObject, served: readonly PusherKind[]): AskedPusher {
  const text = requiredString(body, 'kind');
  const kind = served.find((one) => one === text);
  if (kind === undefined)
    throw invalidParam(`This server has pushers of the kinds ${served.join(', ')} only`);
  const missing = REQUIRED.filter((name) => (own(body, name) ?? null) === null);
  if (missing.length > 0) {
    throw new MatrixError(400, 'M_MISSING_PARAM', `Missing parameters: ${missing.join(', ')}`);
  }
  const profileTag = optionalString(body, 'profile_tag');
  const enabled = optionalBoolean(body, ENABLED);
  return {
    kind,
    appDisplayName: nameAt(body, 'app_display_name'),
    deviceDisplayName: nameAt(body, 'device_display_name'),
    profileTag: profileTag === undefined ? undefined : nameAt(body, 'profile_tag'),
    lang: nameAt(body, 'lang'),
    data: dataAt(body, kind),
    enabled: enabled ?? true,
    isToggle: enabled !== undefined,
  };
}

function nameAt(body: JsonObject, key: string): string {
  const name = requiredString(body, key);
  if (name.length > MOST_NAME_CHARACTERS) throw invalidParam(`${key} is too long`);
  return name;
}

function dataAt(body: JsonObject, kind: PusherKind): JsonObject {
  const data = optionalObject(body, 'data') ?? {};
  const pushkey = requiredString(body, 'pushkey');
  switch (kind) {
    case 'email':
      if (canonicalEmail(pushkey) !== pushkey) throw invalidParam('pushkey is not an e-mail address');
      break;
    case 'webpush':
      urlAt(data);
      if (stringAt(data, 'auth') === undefined) throw missingParam('data.auth');
      if (recipientOf(pushkey, stringAt(data, 'auth') ?? '') === undefined)
        throw invalidParam('pushkey is not a public key of P-256, or data.auth not a secret of 16 bytes');
      break;
    case 'http': {
      const { pathname, search, hash } = urlAt(data);
      // "MUST be an HTTPS URL with a path of `/_matrix/push/v1/notify`."
      if (pathname !== NOTIFY_PATH || search !== '' || hash !== '')
        throw invalidParam(`The path of data.url must be ${NOTIFY_PATH}`);
    }
  }
  if (Buffer.byteLength(JSON.stringify(data)) > MOST_DATA_BYTES)
    throw tooLarge(`data is limited to ${MOST_DATA_BYTES} bytes`);
  return data;
}

/** Which host it may be is seen on delivery. */
function urlAt(data: JsonObject): URL {
  const text = stringAt(data, 'url');
  if (text === undefined) throw missingParam('data.url');
  const url = URL.parse(text);
  if (url?.protocol !== 'https:') throw invalidParam('data.url must be an HTTPS URL');
  if (url.username !== '' || url.password !== '') throw invalidParam('data.url must not have a user name');
  return url;
}

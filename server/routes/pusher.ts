/** https://spec.matrix.org/v1.19/client-server-api/#post_matrixclientv3pushersset */

import type { FastifyInstance } from 'fastify';
import { invalidParam, MatrixError, missingParam, tooLarge } from '#federation/errors.ts';
import { type JsonObject, own, stringAt } from '#keys/json.ts';
import * as pushers from '#storage/pushers.ts';
import { type Requester, requireRequester } from '../auth/requester.ts';
import { bodyObject, optionalBoolean, optionalObject, optionalString, requiredString } from '../body.ts';
import type { ServerContext } from '../context.ts';

const MOST_PUSHERS = 100;
/** "Max length, 512 bytes." */
const MOST_PUSHKEY_BYTES = 512;
/** "Max length, 64 chars." */
const MOST_APP_ID_CHARACTERS = 64;
const MOST_NAME_CHARACTERS = 500;
const MOST_DATA_BYTES = 8_192;
const NOTIFY_PATH = '/_matrix/push/v1/notify';
/** "Required if `kind` is not `null`". */
const REQUIRED = ['app_display_name', 'device_display_name', 'lang', 'data'] as const;

/** The pushers of a user: to read, to set and to remove. */
export function pusherRoutes(app: FastifyInstance, ctx: ServerContext): void {
  app.get('/_matrix/client/v3/pushers', async (request) => {
    const { userId } = await requireRequester(ctx, request);
    return { pushers: (await pushers.ofUser(ctx.db, userId)).map(pusherJson) };
  });

  app.post('/_matrix/client/v3/pushers/set', async (request) => {
    const requester = await requireRequester(ctx, request);
    ctx.limits.take('account_data', requester.userId);
    const body = bodyObject(request);
    if (own(body, 'kind') === undefined) throw missingParam('kind');
    const key = keyOf(requester, body);
    if (own(body, 'kind') === null) {
      await ctx.db.write('pushers.remove', (tx) => pushers.remove(tx, key));
      return {};
    }
    await setPusher(ctx, newPusher(ctx, requester, body, key), optionalBoolean(body, 'append') ?? false);
    return {};
  });
}

/** "Otherwise, the homeserver must remove any other pushers with the same App ID and pushkey for different users." */
async function setPusher(ctx: ServerContext, pusher: pushers.Pusher, append: boolean): Promise<void> {
  await ctx.db.write('pushers.set', async (tx) => {
    const present = await pushers.ofUser(tx, pusher.userId);
    const isKnown = present.some(
      ({ appId, pushkey }) => appId === pusher.appId && pushkey === pusher.pushkey,
    );
    if (!isKnown && present.length >= MOST_PUSHERS) throw tooLarge('There are too many pushers');
    if (!append) await pushers.removeOfOthers(tx, pusher);
    await pushers.set(tx, pusher);
    // Before anything that comes after it is read.
    ctx.pushes.added(pusher.userId);
  });
}

function keyOf({ userId }: Requester, body: JsonObject): pushers.PusherKey {
  const appId = requiredString(body, 'app_id');
  const pushkey = requiredString(body, 'pushkey');
  if (appId === '' || [...appId].length > MOST_APP_ID_CHARACTERS)
    throw invalidParam(`app_id has 1 to ${MOST_APP_ID_CHARACTERS} characters`);
  if (pushkey === '' || Buffer.byteLength(pushkey) > MOST_PUSHKEY_BYTES)
    throw invalidParam(`pushkey has 1 to ${MOST_PUSHKEY_BYTES} bytes`);
  return { userId, appId, pushkey };
}

function newPusher(
  ctx: ServerContext,
  { deviceId }: Requester,
  body: JsonObject,
  key: pushers.PusherKey,
): pushers.Pusher {
  const kind = requiredString(body, 'kind');
  if (kind !== 'http') throw invalidParam('This server has pushers of the kind http only');
  const missing = REQUIRED.filter((name) => (own(body, name) ?? null) === null);
  if (missing.length > 0) {
    throw new MatrixError(400, 'M_MISSING_PARAM', `Missing parameters: ${missing.join(', ')}`);
  }
  const profileTag = optionalString(body, 'profile_tag');
  return {
    ...key,
    ...{ deviceId, kind },
    appDisplayName: nameAt(body, 'app_display_name'),
    deviceDisplayName: nameAt(body, 'device_display_name'),
    profileTag: profileTag === undefined ? undefined : nameAt(body, 'profile_tag'),
    lang: nameAt(body, 'lang'),
    data: dataOf(body),
    createdTs: ctx.clock.now(),
    // Of what was there before nobody wants to be told.
    delivered: ctx.streams.upto(),
  };
}

function nameAt(body: JsonObject, key: string): string {
  const name = requiredString(body, key);
  if (name.length > MOST_NAME_CHARACTERS) throw invalidParam(`${key} is too long`);
  return name;
}

/** "MUST be an HTTPS URL with a path of `/_matrix/push/v1/notify`." Which host it may be is seen on delivery. */
function dataOf(body: JsonObject): JsonObject {
  const data = optionalObject(body, 'data') ?? {};
  const text = stringAt(data, 'url');
  if (text === undefined) throw missingParam('data.url');
  const url = URL.parse(text);
  if (url?.protocol !== 'https:') throw invalidParam('data.url must be an HTTPS URL');
  if (url.pathname !== NOTIFY_PATH || url.search !== '' || url.hash !== '')
    throw invalidParam(`The path of data.url must be ${NOTIFY_PATH}`);
  if (url.username !== '' || url.password !== '') throw invalidParam('data.url must not have a user name');
  if (Buffer.byteLength(JSON.stringify(data)) > MOST_DATA_BYTES)
    throw tooLarge(`data is limited to ${MOST_DATA_BYTES} bytes`);
  return data;
}

function pusherJson(pusher: pushers.Pusher): JsonObject {
  const { pushkey, kind, appId, appDisplayName, deviceDisplayName, profileTag, lang, data } = pusher;
  return {
    ...{ pushkey, kind, lang, data },
    app_id: appId,
    app_display_name: appDisplayName,
    device_display_name: deviceDisplayName,
    ...(profileTag !== undefined && { profile_tag: profileTag }),
  };
}

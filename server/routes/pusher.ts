/** https://spec.matrix.org/v1.19/client-server-api/#post_matrixclientv3pushersset */

import { randomUUID } from 'node:crypto';
import type { FastifyInstance } from 'fastify';
import {
  expiredActivationToken,
  invalidParam,
  missingParam,
  notFound,
  tooLarge,
  unknownActivationToken,
} from '#federation/errors.ts';
import { type JsonObject, own, stringAt } from '#keys/json.ts';
import { hashToken } from '#keys/tokens.ts';
import type { Tx } from '#storage/database.ts';
import * as pushers from '#storage/pushers.ts';
import * as threepids from '#storage/threepids.ts';
import { type Requester, requireRequester, requireStillSignedIn } from '../auth/requester.ts';
import { bodyObject, optionalBoolean, requiredString } from '../body.ts';
import type { ServerContext } from '../context.ts';
import {
  type AskedPusher,
  DEVICE_ID,
  ENABLED,
  keyAt,
  type PusherKind,
  pusherAt,
  pusherKinds,
} from '../push/new-pusher.ts';

const MOST_PUSHERS = 100;
/** "The server must expire the `ack_token` after 5 minutes." */
const ACK_MS = 5 * 60_000;

/** The pushers of a user: to read, to set, to activate and to remove. */
export function pusherRoutes(app: FastifyInstance, ctx: ServerContext): void {
  app.get('/_matrix/client/v3/pushers', async (request) => {
    const { userId } = await requireRequester(ctx, request);
    return { pushers: (await pushers.ofUser(ctx.db, userId)).map(pusherJson) };
  });

  app.post('/_matrix/client/v3/pushers/set', async (request, reply) => {
    const requester = await requireRequester(ctx, request);
    ctx.limits.take('account_data', requester.userId);
    const body = bodyObject(request);
    if (own(body, 'kind') === undefined) throw missingParam('kind');
    const key = { userId: requester.userId, ...keyAt(body) };
    if (own(body, 'kind') === null) {
      await ctx.db.write('pushers.remove', (tx) => pushers.remove(tx, key));
      return {};
    }
    const asked = pusherAt(body, servedKinds(ctx));
    const append = optionalBoolean(body, 'append') ?? false;
    const isToActivate = await setPusher(ctx, requester, { key, asked, append });
    // "The pusher is set but needs to be activated".
    if (isToActivate) reply.code(201);
    return {};
  });

  // MSC4174.
  app.post('/_matrix/client/v3/pushers/ack', async (request) => {
    const { userId } = await requireRequester(ctx, request);
    ctx.limits.take('account_data', userId);
    const body = bodyObject(request);
    const appId = requiredString(body, 'app_id');
    const hash = hashToken(requiredString(body, 'ack_token'));
    await ctx.db.write('pushers.activate', async (tx) => {
      const ofApp = (await pushers.ofUser(tx, userId)).filter(
        (pusher) => pusher.kind === 'webpush' && pusher.appId === appId,
      );
      if (ofApp.length === 0) throw notFound('There is no pusher with this app_id');
      const acknowledged = ofApp.find(({ ack }) => ack?.hash === hash);
      if (acknowledged === undefined) throw unknownActivationToken();
      if (acknowledged.activated) return;
      if ((acknowledged.ack?.expiresTs ?? 0) < ctx.clock.now()) throw expiredActivationToken();
      await pushers.activate(tx, acknowledged, ctx.streams.upto());
    });
    return {};
  });
}

function servedKinds({ pushes, mailer, config }: ServerContext): PusherKind[] {
  return pusherKinds.filter((kind) => {
    if (kind === 'email') return mailer !== undefined && config.emailNotifications !== 'off';
    return kind === 'http' || pushes.webPush !== undefined;
  });
}

interface Setting {
  readonly key: pushers.PusherKey;
  readonly asked: AskedPusher;
  readonly append: boolean;
}

/** Sets a pusher; true where its app must show first that it is reached. */
async function setPusher(ctx: ServerContext, requester: Requester, setting: Setting): Promise<boolean> {
  const { key, asked, append } = setting;
  const token = randomUUID();
  const set = await ctx.db.write('pushers.set', async (tx) => {
    await requireStillSignedIn(tx, requester);
    const present = await pushers.ofUser(tx, key.userId);
    const known = present.find(({ appId, pushkey }) => appId === key.appId && pushkey === key.pushkey);
    if (known === undefined && present.length >= MOST_PUSHERS) throw tooLarge('There are too many pushers');
    if (asked.kind === 'email') await requireOwnAddress(tx, key);
    const pusher = merged(ctx, requester, setting, { known, token });
    // "Otherwise, the homeserver must remove any other pushers with the same App ID and pushkey for different users."
    if (!append && asked.kind !== 'email') await pushers.removeOfOthers(tx, pusher);
    await pushers.set(tx, pusher);
    // Of what came while it was switched off nobody wants to be told.
    if (known?.enabled === false && pusher.enabled)
      await pushers.setDelivered(tx, pusher, ctx.streams.upto());
    // Before anything that comes after it is read.
    ctx.pushes.added(pusher);
    return pusher;
  });
  if (set.activated || set.ack?.hash !== hashToken(token)) return false;
  ctx.background.run(ctx.pushes.askToActivate(set, token), 'a pusher could not be asked to be activated');
  return true;
}

function merged(
  ctx: ServerContext,
  { deviceId }: Requester,
  { key, asked }: Setting,
  { known, token }: { readonly known: pushers.Pusher | undefined; readonly token: string },
): pushers.Pusher {
  const { isToggle, ...wanted } = asked;
  const now = ctx.clock.now();
  const isSame =
    known?.kind === asked.kind &&
    stringAt(known.data, 'url') === stringAt(asked.data, 'url') &&
    stringAt(known.data, 'auth') === stringAt(asked.data, 'auth');
  // "If the request creates a new pusher or modifies values under `PusherData.url`, or `PusherData.auth`"; and one that
  // is not activated yet: "until the client tries to register again, then the homeserver sends a new `ack_token`".
  const isToActivate = asked.kind === 'webpush' && !(isSame && known.activated);
  return {
    ...key,
    ...wanted,
    // Another device may switch it on and off: it stays that of its own.
    deviceId: asked.kind === 'email' ? '' : isToggle && known !== undefined ? known.deviceId : deviceId,
    // "The unix timestamp (in seconds) when the pushkey was last updated", which its own app does.
    createdTs: isToggle && known !== undefined ? known.createdTs : now,
    // Of what was there before nobody wants to be told.
    delivered: ctx.streams.upto(),
    activated: !isToActivate,
    ack: isToActivate ? { hash: hashToken(token), expiresTs: now + ACK_MS } : known?.ack,
  };
}

async function requireOwnAddress(tx: Tx, { userId, pushkey }: pushers.PusherKey): Promise<void> {
  if ((await threepids.ownerOf(tx, 'email', pushkey)) !== userId)
    throw invalidParam('pushkey must be an e-mail address of the account');
}

function pusherJson(pusher: pushers.Pusher): JsonObject {
  const { pushkey, kind, appId, appDisplayName, deviceDisplayName, profileTag, lang, data } = pusher;
  return {
    ...{ pushkey, kind, lang, data },
    app_id: appId,
    app_display_name: appDisplayName,
    device_display_name: deviceDisplayName,
    ...(profileTag !== undefined && { profile_tag: profileTag }),
    ...(kind === 'webpush' && { activated: pusher.activated }),
    [ENABLED]: pusher.enabled,
    [DEVICE_ID]: kind === 'email' ? null : pusher.deviceId,
  };
}

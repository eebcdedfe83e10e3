/** https://spec.matrix.org/v1.19/client-server-api/#profiles */

import type { FastifyInstance, FastifyRequest } from 'fastify';
import {
  forbidden,
  guestAccessForbidden,
  invalidParam,
  keyTooLarge,
  missingParam,
  notFound,
  unreachable,
} from '#federation/errors.ts';
import { ownUser } from '#federation/own-user.ts';
import { remoteProfile } from '#federation/profiles.ts';
import { isUserId, serverNameOf, type UserId } from '#keys/ids.ts';
import { type JsonObject, own } from '#keys/json.ts';
import * as profiles from '#storage/profiles.ts';
import { requireRequester } from '../auth/requester.ts';
import { bodyObject } from '../body.ts';
import type { ServerContext } from '../context.ts';
import { checkProfileValue, setProfileField } from '../profiles/profile-field.ts';

/** "The profile key names must be no more than 255 bytes". */
const MAX_KEY_BYTES = 255;
/** "Common Namespaced Identifier Grammar", and the keys of older versions of the specification. */
const KEY = /^[a-z][a-z0-9_.-]*$/;

type FieldRequest = FastifyRequest<{ Params: { userId: string; keyName: string } }>;

/** Profiles: read by anybody, written by their owner. A change of name or avatar goes to all rooms. */
export function profileRoutes(app: FastifyInstance, ctx: ServerContext): void {
  app.get<{ Params: { userId: string } }>('/_matrix/client/v3/profile/:userId', async (request) =>
    profileOf(ctx, request),
  );

  app.get<{ Params: { userId: string; keyName: string } }>(
    '/_matrix/client/v3/profile/:userId/:keyName',
    async (request) => {
      const { keyName } = request.params;
      const value = own(await profileOf(ctx, request), keyName);
      if (value === undefined) throw notFound('The profile has no such field');
      return { [keyName]: value };
    },
  );

  app.put('/_matrix/client/v3/profile/:userId/:keyName', async (request: FieldRequest) => {
    const { userId, keyName } = await requireOwnField(ctx, request);
    const value = own(bodyObject(request), keyName);
    if (value === undefined) throw missingParam(keyName);
    await setProfileField(ctx, { userId, keyName, value: checkProfileValue(keyName, value) });
    return {};
  });

  app.delete('/_matrix/client/v3/profile/:userId/:keyName', async (request: FieldRequest) => {
    const { userId, keyName } = await requireOwnField(ctx, request);
    await setProfileField(ctx, { userId, keyName, value: undefined });
    return {};
  });
}

async function profileOf(
  ctx: ServerContext,
  request: FastifyRequest<{ Params: { userId: string } }>,
): Promise<JsonObject> {
  const { userId } = request.params;
  // No access token is needed, but a stranger must not make us ask other servers without end.
  ctx.limits.take('profile_query', request.ip);
  if (!isUserId(userId)) throw invalidParam('Not a user ID');
  if (serverNameOf(userId) !== ctx.serverName) return await profileElsewhere(ctx, userId);
  const user = await ownUser(ctx, userId);
  if (user === undefined || user.deactivatedTs !== undefined) throw notFound('No such user');
  return await profiles.of(ctx.db, userId);
}

async function profileElsewhere(ctx: ServerContext, userId: UserId): Promise<JsonObject> {
  const answer = await remoteProfile(ctx, userId);
  switch (answer.kind) {
    case 'ok':
      return answer.profile;
    case 'not_found':
      throw notFound('No such user');
    case 'forbidden':
      throw forbidden("The user's server does not show the profile");
    case 'unreachable':
      throw unreachable("The user's server does not answer");
  }
}

/** The field of the requester's own profile that is to be changed. */
async function requireOwnField(
  ctx: ServerContext,
  request: FieldRequest,
): Promise<{ userId: UserId; keyName: string }> {
  const requester = await requireRequester(ctx, request);
  const { userId, keyName } = request.params;
  if (userId !== requester.userId) throw forbidden('You can change your own profile only');
  if (Buffer.byteLength(keyName) > MAX_KEY_BYTES) throw keyTooLarge();
  if (!KEY.test(keyName)) throw invalidParam('Not the name of a profile field');
  // "Guest users may only modify their display name; other profile fields may not be changed."
  if (requester.isGuest && keyName !== 'displayname') throw guestAccessForbidden('Guests have a name only');
  ctx.limits.take('profile', requester.userId);
  return { userId: requester.userId, keyName };
}

/** https://spec.matrix.org/v1.19/client-server-api/#guest-access */

import { randomBytes } from 'node:crypto';
import { resolveLocalAlias } from '#federation/directory.ts';
import { forbidden, guestAccessForbidden, invalidParam, unknownToken } from '#federation/errors.ts';
import { isRoomAlias, isRoomId, localpartOf, type UserId } from '#keys/ids.ts';
import { type JsonObject, stringAt } from '#keys/json.ts';
import { hashPassword } from '#keys/password.ts';
import { hashToken } from '#keys/tokens.ts';
import type { Tx } from '#storage/database.ts';
import * as registrationTokens from '#storage/registration-tokens.ts';
import * as users from '#storage/users.ts';
import { optionalString } from '../body.ts';
import type { ServerContext } from '../context.ts';
import { newUserId, signIn } from './accounts.ts';
import type { Requester } from './sessions.ts';
import { signedInAnswer } from './sign-in.ts';

/** Makes an account without a name or a password, and signs it in, where guests are welcome. */
export async function registerGuest(
  ctx: ServerContext,
  body: JsonObject,
  address: string,
): Promise<JsonObject> {
  if (!ctx.config.guestAccess) throw guestAccessForbidden();
  ctx.limits.take('registration', address);
  // "When registering a guest account, all parameters in the request body with the exception of
  // initial_device_display_name MUST BE ignored by the server."
  const displayName = optionalString(body, 'initial_device_display_name');
  const userId = newUserId(`guest-${randomBytes(8).toString('hex')}`, ctx.serverName);
  if (userId === undefined) throw new Error('a guest cannot have a name');
  const now = ctx.clock.now();
  await ctx.db.write('guests.create', async (tx) => {
    const guest = { userId, passwordHash: undefined, isAdmin: false, isGuest: true, now };
    if (!(await users.create(tx, guest))) throw new Error(`${userId} appeared twice`);
  });
  const session = await signIn(ctx, userId, { deviceId: undefined, displayName, isRefreshable: false });
  return signedInAnswer(ctx, userId, session);
}

/**
 * The guest who asks for an account of their own, by `guest_access_token`: "They are also required to specify the
 * username parameter to the value of the local part of their username."
 */
export async function upgradingGuest(ctx: ServerContext, body: JsonObject): Promise<UserId | undefined> {
  const token = optionalString(body, 'guest_access_token');
  if (token === undefined) return undefined;
  const found = await ctx.sessions.find(token, () => ({ ip: '', userAgent: undefined }));
  if (found.kind !== 'known' || found.isLocked) throw unknownToken();
  const { userId, isGuest } = found.requester;
  if (!isGuest) throw forbidden('The user of guest_access_token is no guest');
  const username = optionalString(body, 'username');
  if (username !== localpartOf(userId)) throw invalidParam('username is not that of the guest');
  return userId;
}

/** Makes a guest a user with a password, if the registration token, where one is needed, admits them. */
export async function upgradeGuest(
  ctx: ServerContext,
  userId: UserId,
  account: {
    readonly password: string;
    readonly registrationToken: string | undefined;
    /** Writes what belongs to the account, with it or not at all. */
    readonly alsoWrite: (tx: Tx, now: number) => Promise<void>;
  },
): Promise<'upgraded' | 'bad_token' | 'no_guest'> {
  const { password, registrationToken, alsoWrite } = account;
  const passwordHash = await hashPassword(password);
  const outcome = await ctx.db.write('guests.upgrade', async (tx) => {
    const now = ctx.clock.now();
    if ((await users.of(tx, userId))?.isGuest !== true) return 'no_guest';
    const isAdmitted =
      registrationToken === undefined ||
      (await registrationTokens.use(tx, hashToken(registrationToken), now));
    if (!isAdmitted) return 'bad_token';
    await users.upgradeGuest(tx, userId, passwordHash);
    await alsoWrite(tx, now);
    return 'upgraded';
  });
  ctx.sessions.forget(userId);
  return outcome;
}

/** Throws `M_GUEST_ACCESS_FORBIDDEN` where a guest wants into a room that does not let guests in. */
export async function refuseGuest(
  ctx: ServerContext,
  { isGuest }: { readonly isGuest: boolean },
  room: string,
): Promise<void> {
  if (!isGuest) return;
  const resolved = isRoomAlias(room) ? await resolveLocalAlias(ctx, room) : undefined;
  const roomId = resolved?.roomId ?? room;
  if (!isRoomId(roomId) || !(await ctx.guestRooms.admit(roomId))) {
    throw guestAccessForbidden('Guests may not join this room');
  }
}

/** Throws where a guest would change memberships, other than by what guests may do: their own, as `refuseGuest` says. */
export async function refuseGuestState(
  ctx: ServerContext,
  requester: Requester,
  event: {
    readonly roomId: string;
    readonly type: string;
    readonly stateKey: string;
    readonly content: JsonObject;
  },
): Promise<void> {
  if (!requester.isGuest || event.type !== 'm.room.member') return;
  if (event.stateKey !== requester.userId) throw guestAccessForbidden('Guests may not do this');
  if (stringAt(event.content, 'membership') === 'join') await refuseGuest(ctx, requester, event.roomId);
}

/** "guest_access": "Whether guests can join the room." */
export function letsGuestsIn(content: JsonObject | undefined): boolean {
  return content !== undefined && stringAt(content, 'guest_access') === 'can_join';
}

/** Accounts, and where they are signed in. Used by the routes and by the operator's command. */

import { randomInt } from 'node:crypto';
import { forbidden } from '#federation/errors.ts';
import {
  isNewLocalpart,
  localpartOf,
  MAX_ID_BYTES,
  type ServerName,
  serverNameOf,
  type UserId,
} from '#keys/ids.ts';
import { hashPassword, verifyNothing, verifyPassword } from '#keys/password.ts';
import { hashToken } from '#keys/tokens.ts';
import * as accessTokens from '#storage/access-tokens.ts';
import * as accountData from '#storage/account-data.ts';
import * as browserSessions from '#storage/browser-sessions.ts';
import * as crossSigningKeys from '#storage/cross-signing-keys.ts';
import * as crossSigningResets from '#storage/cross-signing-resets.ts';
import type { Tx } from '#storage/database.ts';
import * as dehydratedDevices from '#storage/dehydrated-devices.ts';
import * as deviceLists from '#storage/device-lists.ts';
import * as deviceOrigins from '#storage/device-origins.ts';
import * as devices from '#storage/devices.ts';
import * as e2eeKeys from '#storage/e2ee-keys.ts';
import * as erasedUsers from '#storage/erased-users.ts';
import * as filters from '#storage/filters.ts';
import * as keyBackups from '#storage/key-backups.ts';
import * as keySignatures from '#storage/key-signatures.ts';
import * as loginTokens from '#storage/login-tokens.ts';
import * as oauthCodes from '#storage/oauth-codes.ts';
import * as oauthDeviceGrants from '#storage/oauth-device-grants.ts';
import * as oauthSessions from '#storage/oauth-sessions.ts';
import * as openidTokens from '#storage/openid-tokens.ts';
import * as presence from '#storage/presence.ts';
import * as profiles from '#storage/profiles.ts';
import * as providerEnded from '#storage/provider-ended.ts';
import * as pushRules from '#storage/push-rules.ts';
import * as pushers from '#storage/pushers.ts';
import * as refreshTokens from '#storage/refresh-tokens.ts';
import * as registrationTokens from '#storage/registration-tokens.ts';
import * as slidingConnections from '#storage/sliding-connections.ts';
import * as threadSubscriptions from '#storage/thread-subscriptions.ts';
import * as threepids from '#storage/threepids.ts';
import * as toDevice from '#storage/to-device.ts';
import * as unreadCheckpoints from '#storage/unread-checkpoints.ts';
import * as userLanguages from '#storage/user-languages.ts';
import * as users from '#storage/users.ts';
import type { ServerContext } from '../context.ts';
import { removeSecondFactors } from '../second-factor/factors.ts';
import { issueTokens, type SessionTokens, type TokensContext } from './tokens.ts';

/** What accounts need; the operator's command has it without a running server, too. */
export type AccountsContext = Pick<ServerContext, 'db' | 'streams' | 'clock' | 'serverName'> & {
  readonly appservices?: { exclusiveOwnerOf(userId: UserId): unknown };
  readonly sessions: { forget(userId: UserId): void };
  /** Of a running server. */
  readonly presence?: { forget(userId: UserId): void };
  /** What else knows passwords of users. */
  readonly directory?: PasswordDirectory | undefined;
  readonly limits?: { setUnlimited(userId: UserId, isUnlimited: boolean): void };
};

/** A directory that knows passwords. */
export interface PasswordDirectory {
  /** The user whose password it is; `userId` names them. */
  verify(userId: UserId, password: string): Promise<users.User | undefined>;
  knows(userId: UserId): Promise<boolean>;
}

export interface NewAccount {
  readonly localpart: string;
  /** Undefined for an account that signs in by an identity provider only. */
  readonly password: string | undefined;
  readonly isAdmin?: boolean;
  /** The registration token that admits it, where one is needed. */
  readonly registrationToken?: string;
  /** Writes what belongs to the account, with it or not at all; throws where it may not be. */
  readonly alsoWrite?: (tx: Tx, userId: UserId, now: number) => Promise<void>;
}

const MAX_PASSWORD_CHARACTERS = 512;
const MAX_DEVICE_NAME_CHARACTERS = 100;
/** Account data, before the id of the device. */
const LOCAL_NOTIFICATIONS = [
  'm.local_notification_settings',
  'org.matrix.msc3890.local_notification_settings',
];
const DEVICE_ID_LETTERS = 10;

/** The user id for a localpart that a new account may have. */
export function newUserId(localpart: string, serverName: ServerName): UserId | undefined {
  const userId: UserId = `@${localpart}:${serverName}`;
  return isNewLocalpart(localpart) && Buffer.byteLength(userId) <= MAX_ID_BYTES ? userId : undefined;
}

/** The user id of this server that somebody means by `@name:server` or `name`, in any case. */
export function localUserId(name: string, serverName: ServerName): UserId | undefined {
  const localpart = name.startsWith('@') ? localpartOf(name) : name;
  if (name.startsWith('@') && serverNameOf(name) !== serverName) return undefined;
  return newUserId(
    localpart.replaceAll(/[A-Z]/g, (letter) => letter.toLowerCase()),
    serverName,
  );
}

/**
 * The localpart for a user name that somebody chooses: "the server MUST either map the provided `username` onto a
 * `user_id` in a logical manner, or reject any `username` which does not comply". Capitals become lower-case letters,
 * nothing else is mapped; undefined for what remains no localpart.
 */
export function localpartFor(username: string, serverName: ServerName): string | undefined {
  const userId = username.startsWith('@') ? undefined : localUserId(username, serverName);
  return userId && localpartOf(userId);
}

/** Why a password cannot be one, or nothing. */
export function faultOfPassword(password: string): string | undefined {
  if (password === '') return 'The password is empty';
  if (password.length > MAX_PASSWORD_CHARACTERS) return 'The password is too long';
  return undefined;
}

/** Makes an account, if its name is free and its registration token, where it has one, admits it. */
export async function createAccount(
  ctx: AccountsContext,
  account: NewAccount,
): Promise<{ kind: 'created'; userId: UserId } | { kind: 'invalid_name' | 'name_taken' | 'bad_token' }> {
  const { localpart, password, isAdmin = false, registrationToken } = account;
  const userId = newUserId(localpart, ctx.serverName);
  if (userId === undefined) return { kind: 'invalid_name' };
  if (ctx.appservices?.exclusiveOwnerOf(userId) !== undefined) return { kind: 'name_taken' };
  const passwordHash = password === undefined ? undefined : await hashPassword(password);
  return await ctx.db.write('accounts.create', async (tx) => {
    const now = ctx.clock.now();
    if ((await users.of(tx, userId)) !== undefined) return { kind: 'name_taken' };
    if (registrationToken !== undefined) {
      const isAdmitted = await registrationTokens.use(tx, hashToken(registrationToken), now);
      if (!isAdmitted) return { kind: 'bad_token' };
    }
    const isNew = await users.create(tx, { userId, passwordHash, isAdmin, now });
    if (!isNew) throw new Error(`${userId} appeared during its own creation`);
    await account.alsoWrite?.(tx, userId, now);
    return { kind: 'created', userId };
  });
}

/** Whether there is a password by which a user could confirm something. */
export async function canUsePassword(
  ctx: Pick<AccountsContext, 'db' | 'directory'>,
  userId: UserId,
): Promise<boolean> {
  if ((await users.of(ctx.db, userId))?.passwordHash !== undefined) return true;
  return (await ctx.directory?.knows(userId)) ?? false;
}

/** The user, if the account is in use and the password is right. As slow for those who do not exist. */
export async function verifyAccount(
  ctx: Pick<AccountsContext, 'db' | 'directory'>,
  userId: UserId | undefined,
  password: string,
): Promise<users.User | undefined> {
  const user = userId && (await users.of(ctx.db, userId));
  if (user?.passwordHash === undefined) await verifyNothing(password);
  else if (await verifyPassword(password, user.passwordHash)) return user;
  return userId === undefined ? undefined : await ctx.directory?.verify(userId, password);
}

type SignInContext = AccountsContext & Pick<TokensContext, 'config'>;

/** How somebody wants to be signed in. */
export interface NewSession {
  readonly deviceId: string | undefined;
  readonly displayName: string | undefined;
  /** True for a client that can refresh its tokens: they expire then. */
  readonly isRefreshable: boolean;
  /** The session of an identity provider that it is begun by, where it is one, and ends with. */
  readonly origin?: deviceOrigins.Origin | undefined;
  /** Writes what belongs to the session, with it or not at all. */
  readonly alsoWrite?: (
    tx: Tx,
    device: { readonly userId: UserId; readonly deviceId: string },
  ) => Promise<void>;
}

/** Signs a user in. A device of the same id is taken over: its earlier tokens end. */
export async function signIn(
  ctx: SignInContext,
  userId: UserId,
  session: NewSession,
): Promise<SessionTokens & { readonly deviceId: string }> {
  const signedIn = await ctx.db.write('accounts.signIn', (tx) => signInWithin(ctx, tx, userId, session));
  ctx.sessions.forget(userId);
  return signedIn;
}

/**
 * As `signIn`, in the caller's write, after which the caller has the user's sessions forgotten. Every token and code that
 * stands for a session of an identity provider becomes a device here, and none does once that has ended.
 */
export async function signInWithin(
  ctx: SignInContext,
  tx: Tx,
  userId: UserId,
  session: NewSession,
): Promise<SessionTokens & { readonly deviceId: string }> {
  const { deviceId = newDeviceId(), isRefreshable, origin } = session;
  if (origin !== undefined && (await providerEnded.isSessionEnded(tx, origin)))
    throw forbidden('The session of the identity provider has ended: sign in again');
  const displayName = session.displayName === undefined ? undefined : deviceName(session.displayName);
  await refuseTakenDeviceId(tx, userId, deviceId);
  const added = await devices.create(tx, { userId, deviceId, displayName, now: ctx.clock.now() });
  if (added) await deviceLists.devicesChanged(tx, ctx.streams, userId, [deviceId]);
  else await forgetHowSignedIn(tx, userId, deviceId);
  if (origin !== undefined) await deviceOrigins.set(tx, { userId, deviceId }, origin);
  await session.alsoWrite?.(tx, { userId, deviceId });
  return { ...(await issueTokens(ctx, tx, { userId, deviceId }, { isRefreshable })), deviceId };
}

/** Adds a device that nobody is signed in on: an application service uses it. */
export async function addDevice(
  ctx: AccountsContext,
  device: { readonly userId: UserId; readonly deviceId: string; readonly displayName: string | undefined },
): Promise<void> {
  const { userId, deviceId } = device;
  const displayName = device.displayName === undefined ? undefined : deviceName(device.displayName);
  await ctx.db.write('accounts.addDevice', async (tx) => {
    await refuseTakenDeviceId(tx, userId, deviceId);
    const added = await devices.create(tx, { userId, deviceId, displayName, now: ctx.clock.now() });
    if (added) await deviceLists.devicesChanged(tx, ctx.streams, userId, [deviceId]);
  });
}

/** Signs devices out for good: they, their tokens, their keys and what waits for them are no more. */
export async function signOut(
  ctx: AccountsContext,
  userId: UserId,
  deviceIds: readonly string[],
): Promise<void> {
  if (deviceIds.length === 0) return;
  await ctx.db.write('accounts.signOut', async (tx) => {
    await removeDevices(ctx, tx, userId, deviceIds);
  });
  endWaiting(ctx, userId);
}

/** Replaces a user's password; false where there is no such account in use. */
export async function setPassword(ctx: AccountsContext, userId: UserId, password: string): Promise<boolean> {
  const passwordHash = await hashPassword(password);
  return await ctx.db.write('accounts.setPassword', (tx) => users.setPassword(tx, userId, passwordHash));
}

/**
 * Ends an account for good; false where there is no such account in use. Its rooms are left afterwards, by
 * `leaveRoomsOfDeactivated`. With `erase`, who comes into a room from now on is not shown what they wrote there.
 */
export async function deactivate(
  ctx: AccountsContext,
  userId: UserId,
  { erase = false }: { readonly erase?: boolean } = {},
): Promise<boolean> {
  const done = await ctx.db.write('accounts.deactivate', async (tx) => {
    if (!(await users.deactivate(tx, userId, ctx.clock.now()))) return false;
    await endEverySession(ctx, tx, userId);
    await crossSigningKeys.clear(tx, userId);
    await keyBackups.markAllDeleted(tx, userId);
    await deviceLists.signingKeysChanged(tx, ctx.streams, userId);
    await threepids.clear(tx, userId);
    await profiles.clear(tx, userId);
    await accountData.clear(tx, userId);
    await filters.clear(tx, userId);
    await pushRules.clear(tx, userId);
    await unreadCheckpoints.clear(tx, userId);
    await threadSubscriptions.clear(tx, userId);
    await removeSecondFactors(tx, userId);
    await crossSigningResets.endReset(tx, userId);
    await userLanguages.remove(tx, userId);
    await presence.remove(tx, [userId]);
    if (erase) await erasedUsers.add(tx, userId, ctx.streams.allocate(tx, []));
    return true;
  });
  if (done) endWaiting(ctx, userId);
  if (done) ctx.presence?.forget(userId);
  return done;
}

/**
 * Ends every session of a user, however it was begun, in the caller's write: the devices with their pushers, what would
 * begin another, and the tokens that say who somebody is.
 */
export async function endEverySession(
  ctx: Pick<AccountsContext, 'streams'>,
  tx: Tx,
  userId: UserId,
): Promise<void> {
  const owned = await devices.ofUser(tx, userId);
  const deviceIds = owned.map(({ deviceId }) => deviceId);
  if (deviceIds.length > 0) await removeDevices(ctx, tx, userId, deviceIds);
  await endBeginnings(tx, userId);
  await openidTokens.removeOfUser(tx, userId);
}

/** Ends, in the caller's write, what would begin another session: browsers, and what was granted and nobody has taken. */
export async function endBeginnings(tx: Tx, userId: UserId): Promise<void> {
  await browserSessions.removeOfUser(tx, userId);
  await loginTokens.removeOfUser(tx, userId);
  await oauthCodes.removeUnused(tx, userId);
  await oauthDeviceGrants.removeOfUser(tx, userId);
}

/** The name of a device as it is stored. */
export function deviceName(name: string): string {
  return name.replaceAll('\0', '').slice(0, MAX_DEVICE_NAME_CHARACTERS).toWellFormed();
}

/**
 * "Servers therefore must ensure that device IDs will not collide with cross-signing public keys." And nobody signs in
 * as the dehydrated device, which is no client.
 */
export async function refuseTakenDeviceId(tx: Tx, userId: UserId, deviceId: string): Promise<void> {
  for (const { publicKey } of (await crossSigningKeys.ofUser(tx, userId)).values()) {
    if (publicKey === deviceId) throw forbidden('device_id is the public key of a cross-signing key');
  }
  const dehydrated = await dehydratedDevices.of(tx, userId);
  if (dehydrated?.deviceId === deviceId) throw forbidden('device_id is that of the dehydrated device');
}

/** Removes the tokens of a device, and by what it got them. */
async function forgetHowSignedIn(tx: Tx, userId: UserId, deviceId: string): Promise<void> {
  await accessTokens.removeOfDevice(tx, userId, deviceId);
  await refreshTokens.removeOfDevice(tx, userId, deviceId);
  await deviceOrigins.remove(tx, { userId, deviceId });
  await oauthSessions.remove(tx, { userId, deviceId });
}

/** To be called after what a user may do has changed: requests of theirs that wait look again. */
export function endWaiting(ctx: Pick<AccountsContext, 'sessions' | 'streams'>, userId: UserId): void {
  ctx.sessions.forget(userId);
  ctx.streams.announce([`user:${userId}`]);
}

/** As `signOut`, in the caller's write. */
export async function removeDevices(
  ctx: Pick<AccountsContext, 'streams'>,
  tx: Tx,
  userId: UserId,
  deviceIds: readonly string[],
): Promise<void> {
  // One by one: a user has a few.
  for (const deviceId of deviceIds) {
    await forgetHowSignedIn(tx, userId, deviceId);
    await e2eeKeys.deleteDevice(tx, { userId, deviceId });
    await toDevice.deleteDevice(tx, { userId, deviceId });
    await slidingConnections.removeOfDevice(tx, { userId, deviceId });
    await keySignatures.removeOn(tx, { userId, id: deviceId });
    await dehydratedDevices.remove(tx, userId, deviceId);
    await pushers.removeOfDevice(tx, userId, deviceId);
    // "deleting a device should also delete" what it has set of its own notifications (MSC3890).
    for (const prefix of LOCAL_NOTIFICATIONS)
      await accountData.remove(tx, ctx.streams, { userId, roomId: '', type: `${prefix}.${deviceId}` });
    await devices.remove(tx, userId, deviceId);
  }
  await deviceLists.devicesChanged(tx, ctx.streams, userId, deviceIds);
}

function newDeviceId(): string {
  const letters = Array.from({ length: DEVICE_ID_LETTERS }, () => String.fromCharCode(65 + randomInt(26)));
  return letters.join('');
}

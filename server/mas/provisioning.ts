/** Accounts and devices as an authentication service wants them. */

import { isDeviceId } from '#federation/e2ee-keys/device-keys.ts';
import { invalidParam, userDeactivated } from '#federation/errors.ts';
import { localpartOf, type UserId } from '#keys/ids.ts';
import { type JsonObject, own } from '#keys/json.ts';
import type { Tx } from '#storage/database.ts';
import * as deviceLists from '#storage/device-lists.ts';
import * as devices from '#storage/devices.ts';
import * as erasedUsers from '#storage/erased-users.ts';
import * as profiles from '#storage/profiles.ts';
import * as threepids from '#storage/threepids.ts';
import * as users from '#storage/users.ts';
import { refuseReserved } from '../appservices/restraint.ts';
import {
  createAccount,
  deviceName,
  endWaiting,
  refuseTakenDeviceId,
  removeDevices,
} from '../auth/accounts.ts';
import { setLocked } from '../auth/moderation.ts';
import { renameDevice } from '../auth/rename-device.ts';
import { optionalBoolean, optionalString, requiredString, stringList } from '../body.ts';
import type { ServerContext } from '../context.ts';
import { addAddress } from '../email/add-address.ts';
import { canonicalEmail } from '../email/address.ts';
import { showInRooms } from '../profiles/profile-in-rooms.ts';

const LONGEST_NAME = 256;
const LONGEST_URL = 1_000;
const MOST_DEVICES = 1_000;

/** Makes an account where there is none, and sets what is said of it; true where it is new. */
export async function provision(ctx: ServerContext, userId: UserId, body: JsonObject): Promise<boolean> {
  const displayName = changeOf(body, 'displayname', LONGEST_NAME);
  const avatarUrl = changeOf(body, 'avatar_url', LONGEST_URL);
  const emails = emailsOf(body);
  const locked = optionalBoolean(body, 'locked');
  refuseReserved(ctx, userId);
  const known = await users.of(ctx.db, userId);
  if (known?.deactivatedTs !== undefined) throw userDeactivated();
  const made =
    known === undefined
      ? await createAccount(ctx, { localpart: localpartOf(userId), password: undefined })
      : undefined;
  await ctx.db.write('mas.provision', async (tx) => {
    if (displayName !== undefined) await setField(tx, userId, 'displayname', displayName);
    if (avatarUrl !== undefined) await setField(tx, userId, 'avatar_url', avatarUrl);
    if (emails !== undefined) await setEmails(ctx, tx, userId, { emails, now: ctx.clock.now() });
  });
  if (locked !== undefined) await setLocked(ctx, userId, locked);
  if (known !== undefined && (displayName !== undefined || avatarUrl !== undefined)) {
    await showInRooms(ctx, userId);
  }
  return made?.kind === 'created';
}

/** Sets the display name, or removes it. */
export async function setName(ctx: ServerContext, userId: UserId, name: string | undefined): Promise<void> {
  const value = name === undefined || name === '' ? null : shortened(name, 'displayname', LONGEST_NAME);
  await ctx.db.write('mas.setName', (tx) => setField(tx, userId, 'displayname', value));
  await showInRooms(ctx, userId);
}

/** Makes a device where there is none; true where it is new. */
export async function upsertDevice(ctx: ServerContext, userId: UserId, body: JsonObject): Promise<boolean> {
  const deviceId = checked(requiredString(body, 'device_id'));
  const given = optionalString(body, 'display_name');
  const displayName = given === undefined ? undefined : deviceName(given);
  return await ctx.db.write('mas.upsertDevice', async (tx) => {
    await refuseTakenDeviceId(tx, userId, deviceId);
    const isNew = await devices.create(tx, { userId, deviceId, displayName, now: ctx.clock.now() });
    if (isNew) await deviceLists.devicesChanged(tx, ctx.streams, userId, [deviceId]);
    else if (displayName !== undefined) await renameDevice(ctx, tx, { userId, deviceId }, displayName);
    return isNew;
  });
}

/** Makes the devices of a user these: others are signed out, new ones appear. */
export async function syncDevices(
  ctx: ServerContext,
  userId: UserId,
  deviceIds: readonly string[],
): Promise<void> {
  if (deviceIds.length > MOST_DEVICES) throw invalidParam(`devices has more than ${MOST_DEVICES} items`);
  const wanted = new Set(deviceIds.map(checked));
  await ctx.db.write('mas.syncDevices', async (tx) => {
    const present = await devices.signedIn(tx, userId);
    const added: string[] = [];
    for (const deviceId of wanted) {
      // One by one: a user has a few.
      if (present.includes(deviceId)) continue;
      await refuseTakenDeviceId(tx, userId, deviceId);
      await devices.create(tx, { userId, deviceId, displayName: undefined, now: ctx.clock.now() });
      added.push(deviceId);
    }
    if (added.length > 0) await deviceLists.devicesChanged(tx, ctx.streams, userId, added);
    const gone = present.filter((deviceId) => !wanted.has(deviceId));
    if (gone.length > 0) await removeDevices(ctx, tx, userId, gone);
  });
  endWaiting(ctx, userId);
}

/** Gives a deactivated account back. What it had is gone; what it has said and will say is shown again, if it was erased. */
export async function reactivate(ctx: ServerContext, userId: UserId): Promise<void> {
  await ctx.db.write('mas.reactivate', async (tx) => {
    if (await users.reactivate(tx, userId)) await erasedUsers.remove(tx, userId);
  });
  endWaiting(ctx, userId);
}

/** What `set_NAME` and `unset_NAME` say: a text, null to remove it, undefined to leave it. */
function changeOf(body: JsonObject, name: string, longest: number): string | null | undefined {
  if (optionalBoolean(body, `unset_${name}`) === true) return null;
  const value = optionalString(body, `set_${name}`);
  return value === undefined ? undefined : shortened(value, name, longest);
}

function shortened(value: string, name: string, longest: number): string {
  if (value.length > longest) throw invalidParam(`${name} is longer than ${longest} characters`);
  return value.toWellFormed();
}

function emailsOf(body: JsonObject): readonly string[] | undefined {
  if (optionalBoolean(body, 'unset_emails') === true) return [];
  if (own(body, 'set_emails') === undefined || own(body, 'set_emails') === null) return undefined;
  return stringList(body, 'set_emails').map((email) => {
    const canonical = canonicalEmail(email);
    if (canonical === undefined) throw invalidParam('set_emails has something that is no e-mail address');
    return canonical;
  });
}

async function setEmails(
  ctx: ServerContext,
  tx: Tx,
  userId: UserId,
  { emails, now }: { readonly emails: readonly string[]; readonly now: number },
): Promise<void> {
  for (const { medium, address } of await threepids.ofUser(tx, userId)) {
    // One by one: a user has a few.
    if (medium === 'email' && !emails.includes(address))
      await threepids.remove(tx, userId, { medium, address });
  }
  for (const address of emails) {
    // An address that is somebody else's stays theirs.
    await addAddress(ctx, tx, userId, { address, validatedTs: now, addedTs: now });
  }
}

async function setField(tx: Tx, userId: UserId, field: string, value: string | null): Promise<void> {
  if (value === null || value === '') await profiles.remove(tx, userId, field);
  else await profiles.set(tx, userId, field, value);
}

function checked(deviceId: string): string {
  if (!isDeviceId(deviceId)) throw invalidParam('device_id is not one');
  return deviceId;
}

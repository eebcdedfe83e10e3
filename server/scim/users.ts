/**
 * Users of the directory, each of them an account. What a request changes of the account is written together with
 * what it changes of the resource: whoever is not active any more is signed out everywhere when the answer is given.
 */

import { randomUUID } from 'node:crypto';
import { isObject, type Json, type JsonObject, stringAt } from '#keys/json.ts';
import { hashPassword } from '#keys/password.ts';
import type { Reader, Tx } from '#storage/database.ts';
import * as groupRooms from '#storage/group-rooms.ts';
import * as profiles from '#storage/profiles.ts';
import * as scimUsers from '#storage/scim-users.ts';
import * as users from '#storage/users.ts';
import { isReserved } from '../appservices/restraint.ts';
import { deactivate, endEverySession, endWaiting, faultOfPassword } from '../auth/accounts.ts';
import { leaveRooms } from '../auth/leave-rooms.ts';
import type { ServerContext } from '../context.ts';
import { showInRooms } from '../profiles/profile-in-rooms.ts';
import { invalidValue, noSuchResource, notUnique, otherVersion, ScimError } from './errors.ts';
import type { Attributes } from './patch.ts';
import { userIdFor } from './user-name.ts';

type ScimUser = scimUsers.ScimUser;

/** What is to become of a user. */
interface Wanted {
  readonly fields: scimUsers.ScimUserFields;
  /** Undefined where it stays as it is. */
  readonly passwordHash: string | undefined;
}

const ATTEMPTS = 5;
const MAX_NAME_CHARACTERS = 256;

/** Makes a user, and the account. */
export async function createUser(ctx: ServerContext, attributes: Attributes): Promise<ScimUser> {
  const wanted = await wantedOf(new Map([['active', true], ...attributes]), true);
  const userId = userIdFor(ctx, wanted.fields.userName);
  if (isReserved(ctx, userId)) throw notUnique(`${userId} is reserved by an application service`);
  const id = randomUUID();
  const { user, isAdopted } = await ctx.db.write('scim.createUser', async (tx) => {
    const now = ctx.clock.now();
    await requireUnique(tx, id, wanted.fields);
    const account = await users.of(tx, userId);
    if (account === undefined) {
      const passwordHash = wanted.passwordHash;
      await users.create(tx, { userId, passwordHash, isAdmin: false, now });
    } else await refuseTaken(ctx, tx, account);
    await scimUsers.insert(tx, { ...wanted.fields, id, userId, now });
    const made = await required(tx, id);
    const before = account === undefined ? undefined : { active: account.lockedTs === undefined };
    await writeAccount(ctx, tx, { before, after: made, passwordHash: wanted.passwordHash });
    return { user: made, isAdopted: account !== undefined };
  });
  if (isAdopted) settle(ctx, user, true);
  return user;
}

/** Changes a user by what `change` makes of the attributes that it has. */
export async function changeUser(
  ctx: ServerContext,
  id: string,
  change: { readonly ifMatch: (user: ScimUser) => boolean; readonly to: (before: Attributes) => Attributes },
): Promise<ScimUser> {
  for (let attempt = 0; attempt < ATTEMPTS; attempt++) {
    const before = await required(ctx.db, id);
    if (!change.ifMatch(before)) throw otherVersion();
    // One after the other: each begins with what the one before it found.
    const wanted = await wantedOf(change.to(attributesOf(before)), before.active);
    const after = await writeChange(ctx, before, wanted);
    if (after === undefined) continue;
    settle(ctx, after, nameOf(before) !== nameOf(after));
    return after;
  }
  throw new ScimError(409, 'The resource is being changed by somebody else: try again');
}

/** Ends the account for good, and forgets the user. */
export async function deleteUser(
  ctx: ServerContext,
  id: string,
  ifMatch: (user: ScimUser) => boolean,
): Promise<void> {
  const user = await required(ctx.db, id);
  if (!ifMatch(user)) throw otherVersion();
  // Before the user is forgotten: who asks again where this ends early goes on.
  await deactivate(ctx, user.userId, { erase: ctx.config.scimErase });
  await ctx.db.write('scim.deleteUser', (tx) => scimUsers.remove(tx, user));
  ctx.background.run(leaveRooms(ctx, user.userId), 'a deactivated user could not leave all rooms');
}

/** The user of an id; throws 404. */
export async function required(reader: Reader, id: string): Promise<ScimUser> {
  const user = await scimUsers.of(reader, id);
  if (user === undefined) throw noSuchResource('User', id);
  return user;
}

function attributesOf({ userName, externalId, active, isActiveStated, attributes }: ScimUser): Attributes {
  return new Map<string, Json>([
    ['userName', userName],
    ...(externalId === undefined ? [] : [['externalId', externalId] as const]),
    ...(isActiveStated ? [['active', active] as const] : []),
    ...Object.entries(attributes),
  ]);
}

/** `isActive`: where the attributes do not say. */
async function wantedOf(attributes: Attributes, isActive: boolean): Promise<Wanted> {
  const { userName, externalId, active = isActive, password, ...rest } = Object.fromEntries(attributes);
  if (typeof userName !== 'string' || /\p{Cc}/u.test(userName)) throw invalidValue('userName is no name');
  const fault = typeof password === 'string' ? faultOfPassword(password) : undefined;
  if (fault !== undefined) throw invalidValue(fault);
  const fields = {
    userName,
    externalId: typeof externalId === 'string' ? externalId : undefined,
    active: active === true,
    isActiveStated: attributes.has('active'),
    attributes: rest,
  };
  if ((nameOf(fields) ?? '').length > MAX_NAME_CHARACTERS) throw invalidValue('The name is too long');
  return { fields, passwordHash: typeof password === 'string' ? await hashPassword(password) : undefined };
}

/** Undefined where somebody else was faster. */
async function writeChange(
  ctx: ServerContext,
  before: ScimUser,
  { fields, passwordHash }: Wanted,
): Promise<ScimUser | undefined> {
  if (before.isDeactivated && fields.active) {
    throw invalidValue('The account was ended for good: it cannot become active again');
  }
  return await ctx.db.write('scim.changeUser', async (tx) => {
    await requireUnique(tx, before.id, fields);
    if (!(await scimUsers.update(tx, before, { ...fields, now: ctx.clock.now() }))) return undefined;
    const after = await required(tx, before.id);
    await writeAccount(ctx, tx, { before, after, passwordHash });
    return after;
  });
}

/** What the change means for the account. */
async function writeAccount(
  ctx: ServerContext,
  tx: Tx,
  change: {
    /** Undefined for a new account. */
    readonly before: (Pick<ScimUser, 'active'> & Partial<ScimUser>) | undefined;
    readonly after: ScimUser;
    readonly passwordHash: string | undefined;
  },
): Promise<void> {
  const { before, after, passwordHash } = change;
  const { userId } = after;
  const wasActive = before?.active ?? true;
  const now = ctx.clock.now();
  if (wasActive !== after.active && !after.isDeactivated) {
    await users.setLocked(tx, userId, after.active ? undefined : now);
    if (after.active) await groupRooms.dueOfUser(tx, after.nid, now);
    else await endEverySession(ctx, tx, userId);
  }
  if (before !== undefined && passwordHash !== undefined) await users.setPassword(tx, userId, passwordHash);
  const name = nameOf(after);
  const isNew = before?.attributes === undefined || nameOf({ attributes: before.attributes }) !== name;
  if (!isNew || after.isDeactivated) return;
  if (name !== undefined) await profiles.set(tx, userId, 'displayname', name);
  else if (before?.attributes !== undefined) await profiles.remove(tx, userId, 'displayname');
}

/** After the write: who waits looks again, and rooms show the name. */
function settle(ctx: ServerContext, { userId, active, isDeactivated }: ScimUser, isRenamed: boolean): void {
  endWaiting(ctx, userId);
  ctx.groupRooms.wake();
  if (!active) ctx.presence.forget(userId);
  if (isRenamed && !isDeactivated) {
    ctx.background.run(showInRooms(ctx, userId), 'a name was not shown in all rooms');
  }
}

async function requireUnique(
  tx: Tx,
  id: string,
  { userName, externalId }: Pick<ScimUser, 'userName' | 'externalId'>,
): Promise<void> {
  const named = await scimUsers.byUserName(tx, userName);
  if (named !== undefined && named.id !== id) throw notUnique('There is a user of this userName');
  const known = externalId === undefined ? undefined : await scimUsers.byExternalId(tx, externalId);
  if (known !== undefined && known.id !== id) throw notUnique('There is a user of this externalId');
}

/** "An account that exists" is somebody's, unless the operator says that the directory may take it over. */
async function refuseTaken(ctx: ServerContext, tx: Tx, account: users.User): Promise<void> {
  const { userId, deactivatedTs, isGuest } = account;
  if (deactivatedTs !== undefined) {
    throw notUnique(`${userId} was somebody's who is gone: the name is not given to anybody again`);
  }
  if ((await scimUsers.byUserId(tx, userId)) !== undefined) {
    throw notUnique(`${userId} is the account of a user who has another userName now`);
  }
  if (!ctx.config.scimAdopt || isGuest) {
    throw notUnique(`There is an account ${userId} already, and scim_adopt is off`);
  }
}

/** The name that others see. */
function nameOf({ attributes }: Pick<ScimUser, 'attributes'>): string | undefined {
  const { displayName, name } = attributes;
  if (typeof displayName === 'string') return displayName;
  const parts: JsonObject = isObject(name) ? name : {};
  const formatted = stringAt(parts, 'formatted');
  const [given, family] = [stringAt(parts, 'givenName'), stringAt(parts, 'familyName')];
  const both = [given, family].filter((part) => part !== undefined).join(' ');
  return formatted ?? (both === '' ? undefined : both);
}

import { serverNameOf, type UserId } from '#keys/ids.ts';
import { type JsonObject, own, stringAt } from '#keys/json.ts';
import { matchesGlob } from '#rooms/glob.ts';
import * as accountData from '#storage/account-data.ts';
import type { Reader } from '#storage/database.ts';

/** `ignore`: who invites is told nothing of it, and nor is who is invited. */
export type InviteWish = 'allow' | 'ignore' | 'block';

/** Whose invitations a user wants. */
export interface InvitePermission {
  /** The same for the same wishes. */
  readonly key: string;
  /** True where all are wanted. */
  readonly allowsAll: boolean;
  of(inviter: string): InviteWish;
}

/** In the order in which they count. */
const LISTS = [
  ['allowed_users', 'allow'],
  ['ignored_users', 'ignore'],
  ['blocked_users', 'block'],
  ['allowed_servers', 'allow'],
  ['ignored_servers', 'ignore'],
  ['blocked_servers', 'block'],
] as const;
/** Patterns that are looked at, of all lists. */
const MOST_PATTERNS = 1_000;

const ALLOWS_ALL: InvitePermission = { key: '', allowsAll: true, of: () => 'allow' };
const BLOCKS_ALL: InvitePermission = { key: 'block', allowsAll: false, of: () => 'block' };

/**
 * A user's wishes: https://spec.matrix.org/v1.19/client-server-api/#invite-permission, and by users and servers as
 * MSC4155 has it.
 */
export async function invitePermissionOf(reader: Reader, userId: UserId): Promise<InvitePermission> {
  const configOf = (type: string) => accountData.get(reader, { userId, roomId: '', type });
  const config = await configOf('m.invite_permission_config');
  // "A missing, invalid or unsupported value means that the user wants to receive invites as normal."
  if (config !== undefined && stringAt(config, 'default_action') === 'block') return BLOCKS_ALL;
  const lists = await configOf('org.matrix.msc4155.invite_permission_config');
  return lists === undefined || own(lists, 'enabled') === false ? ALLOWS_ALL : permissionBy(lists);
}

/** Whether a user of ours takes no invitations of another user. */
export async function blocksInvites(reader: Reader, userId: UserId, inviter: UserId): Promise<boolean> {
  return (await invitePermissionOf(reader, userId)).of(inviter) === 'block';
}

function permissionBy(lists: JsonObject): InvitePermission {
  const patterns = LISTS.flatMap(([name, wish]) => {
    const list = own(lists, name);
    const texts = Array.isArray(list) ? list.filter((pattern) => typeof pattern === 'string') : [];
    return texts.map((pattern) => ({ pattern, wish, isOfServers: name.endsWith('servers') }));
  }).slice(0, MOST_PATTERNS);
  if (patterns.length === 0) return ALLOWS_ALL;
  return {
    key: JSON.stringify(patterns),
    allowsAll: false,
    of: (inviter) => {
      const server = serverNameOf(inviter) ?? '';
      const found = patterns.find(({ pattern, isOfServers }) =>
        matchesGlob(pattern, isOfServers ? server : inviter),
      );
      return found?.wish ?? 'allow';
    },
  };
}

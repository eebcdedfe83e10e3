import type { UserId } from '#keys/ids.ts';
import { stringAt } from '#keys/json.ts';
import * as accountData from '#storage/account-data.ts';
import type { Reader } from '#storage/database.ts';

/** Whether a user of ours takes no invitations: https://spec.matrix.org/v1.19/client-server-api/#invite-permission */
export async function blocksInvites(reader: Reader, userId: UserId): Promise<boolean> {
  const key = { userId, roomId: '', type: 'm.invite_permission_config' } as const;
  const config = await accountData.get(reader, key);
  // "A missing, invalid or unsupported value means that the user wants to receive invites as normal."
  return config !== undefined && stringAt(config, 'default_action') === 'block';
}

import type { UserId } from '#keys/ids.ts';
import type { Tx } from '#storage/database.ts';
import * as pushers from '#storage/pushers.ts';
import * as threepids from '#storage/threepids.ts';
import type { ServerContext } from '../context.ts';

/** As Element names it, so that its settings show that letters are sent. */
const APP_ID = 'm.email';

/**
 * Adds an e-mail address to an account; false where it is somebody's already, perhaps this user's. Where the operator has
 * chosen so, letters about unread messages go there.
 */
export async function addAddress(
  ctx: Pick<ServerContext, 'config' | 'streams' | 'pushes' | 'mailer'>,
  tx: Tx,
  userId: UserId,
  email: Omit<threepids.Threepid, 'medium'>,
): Promise<boolean> {
  if (!(await threepids.add(tx, userId, { medium: 'email', ...email }))) return false;
  const { config, streams, pushes, mailer } = ctx;
  if (config.emailNotifications !== 'all' || mailer === undefined) return true;
  const pusher: pushers.Pusher = {
    ...{ userId, appId: APP_ID, pushkey: email.address, deviceId: '', kind: 'email' },
    ...{ appDisplayName: 'Email Notifications', deviceDisplayName: email.address, profileTag: undefined },
    ...{ lang: config.defaultLanguage, data: {}, createdTs: email.addedTs, delivered: streams.upto() },
    ...{ enabled: true, activated: true, ack: undefined },
  };
  await pushers.set(tx, pusher);
  pushes.added(pusher);
  return true;
}

import type { UserId } from '#keys/ids.ts';
import * as termsReminders from '#storage/terms-reminders.ts';
import * as userLanguages from '#storage/user-languages.ts';
import type { ServerContext } from '../context.ts';
import { languageOf, speechIn } from '../languages/choose.ts';
import { fill } from '../languages/texts.ts';
import { sendNotice } from '../notices.ts';

/** Sends a user a notice that there are policies to accept, where that is so; once for each version. */
export async function remindOfTerms(ctx: ServerContext, userId: UserId): Promise<void> {
  const { consents, config, db, serverName } = ctx;
  if (ctx.shutdown.aborted) return;
  const { versions } = consents;
  if (!(await consents.isDue(userId)) || (await termsReminders.of(db, userId)) === versions) return;
  const chosen = await userLanguages.of(db, userId);
  const language = (chosen === undefined ? undefined : languageOf(chosen)) ?? config.defaultLanguage;
  const words = speechIn(language).texts.terms;
  const body = fill(words.notice, { serverName, url: consents.pageFor(userId) });
  const txn = { deviceId: 'terms', txnId: `${userId} ${versions}` };
  await sendNotice(ctx, userId, { content: { msgtype: 'm.text', body }, txn });
  await db.write('termsReminders.set', (tx) => termsReminders.set(tx, userId, versions, ctx.clock.now()));
}

/** Notices of the operator to users: by the running server, which makes their rooms. */

import { setImmediate } from 'node:timers/promises';
import { MatrixError } from '#federation/errors.ts';
import type { UserId } from '#keys/ids.ts';
import { type JsonObject, own, stringAt } from '#keys/json.ts';
import * as noticeRooms from '#storage/notice-rooms.ts';
import * as users from '#storage/users.ts';
import { localUserId } from '../auth/accounts.ts';
import type { Config } from '../config-options.ts';
import type { ServerContext } from '../context.ts';
import { sendNotice } from '../notices.ts';
import { askServer } from './control-line.ts';
import type { Outcome } from './operations.ts';

export interface NoticeOptions {
  /** Undefined for all users. */
  readonly user: string | undefined;
  readonly text: string;
}

const PAGE = 500;

/** Sends a text to one user, or to all. */
export async function noticeCommand(config: Config, { user, text }: NoticeOptions): Promise<Outcome> {
  const operation = { operation: 'notice.send', text, ...(user !== undefined && { user }) };
  const answer = await askServer(config.dataDir, operation);
  return answer ?? refused('no server is running: notices are sent by the running one');
}

/** Does `{"operation": "notice.send", ...}`; undefined for what is none of these. `inTime`: see the control socket. */
export async function performOnNotices(
  ctx: ServerContext & { readonly inTime: <T>(work: Promise<T>) => Promise<T | 'running'> },
  operation: JsonObject,
): Promise<Outcome | undefined> {
  if (own(operation, 'operation') !== 'notice.send') return undefined;
  const body = stringAt(operation, 'text') ?? '';
  if (body.trim() === '') return refused('the text is empty');
  const content = { msgtype: 'm.text', body };
  const name = stringAt(operation, 'user');
  if (name === undefined) {
    const work = sendToAll(ctx, content);
    const running = work.then(() => undefined);
    ctx.background.run(running, 'a notice was not sent to all');
    const sent = await ctx.inTime(work);
    return done(sent === 'running' ? 'The notice is being sent.' : `${sent} users are told.`);
  }
  const userId = localUserId(name, ctx.serverName);
  if (userId === undefined) return refused(`"${name}" is no user of this server`);
  try {
    await sendNotice(ctx, userId, { content });
    return done(`${userId} is told.`);
  } catch (error) {
    if (error instanceof MatrixError) return refused(`${userId}: ${error.message}`);
    throw error;
  }
}

/** One after the other, in the order of their ids; ends with the server. Answers how many. */
async function sendToAll(ctx: ServerContext, content: JsonObject): Promise<number> {
  let sent = 0;
  let after: UserId | '' = '';
  for (let isMore = true; isMore && !ctx.shutdown.aborted; ) {
    // Page by page, each after the last.
    const page: users.User[] = await users.list(ctx.db, { after, limit: PAGE });
    for (const { userId, deactivatedTs, isGuest } of page) {
      if (ctx.shutdown.aborted) break;
      if (deactivatedTs !== undefined || isGuest) continue;
      if (ctx.appservices.exclusiveOwnerOf(userId) !== undefined) continue;
      if (await noticeRooms.isSender(ctx.db, userId)) continue;
      try {
        await sendNotice(ctx, userId, { content });
        sent += 1;
      } catch (error) {
        if (!(error instanceof MatrixError)) throw error;
        ctx.log.warn({ userId, reason: error.message }, 'a user was not sent a notice');
      }
      await setImmediate();
    }
    after = page.at(-1)?.userId ?? after;
    isMore = page.length === PAGE;
  }
  return sent;
}

function done(line: string): Outcome {
  return { kind: 'done', lines: [line] };
}

function refused(problem: string): Outcome {
  return { kind: 'refused', problem };
}

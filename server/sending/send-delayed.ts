/** Asking for an event to be sent later, and sending it at its time. */

import {
  badJson,
  forbidden,
  invalidParam,
  limitExceeded,
  MatrixError,
  tooLarge,
  userSuspended,
} from '#federation/errors.ts';
import type { EventId } from '#keys/ids.ts';
import { canonicalContent } from '#rooms/build-event.ts';
import { MAX_KEY_BYTES, MAX_PDU_BYTES } from '#rooms/format.ts';
import { MAX_STICKY_MS } from '#rooms/sticky.ts';
import type { DelayedEvent, NewDelayedEvent } from '#storage/delayed-events.ts';
import * as users from '#storage/users.ts';
import type { ServerContext } from '../context.ts';
import { type Query, queryString } from '../query.ts';
import { joinedRoom } from '../room-params.ts';
import { NO_DEVICE } from '../sync/format.ts';
import { sendStateForClient } from './send-state.ts';
import { contentToSend, sendForClient } from './sent.ts';

const MSC4140 = 'org.matrix.msc4140';
const STICKY_PARAM = 'org.matrix.msc4354.sticky_duration_ms';
const INTEGER = /^\d{1,15}$/;

/** The delay in milliseconds that the query of a send asks for, as it is asked for today; undefined where none is. */
export function delayOf(query: Query): number | undefined {
  const text = queryString(query, `${MSC4140}.delay`);
  // Whoever waits for another event with it would have it sent at once.
  if (queryString(query, `${MSC4140}.parent_delay_id`) !== undefined)
    throw invalidParam('Delayed events have no parents');
  if (text === undefined) return undefined;
  if (!INTEGER.test(text)) throw invalidParam(`${MSC4140}.delay must be an integer`);
  return Number(text);
}

/** For how long the event is to be sticky (MSC4354), in milliseconds; undefined where it is not. */
export function stickyOf(query: Query): number | undefined {
  const text = queryString(query, STICKY_PARAM);
  if (text === undefined) return undefined;
  const ms = INTEGER.test(text) ? Number(text) : Number.NaN;
  if (!(ms <= MAX_STICKY_MS))
    throw invalidParam(`${STICKY_PARAM} must be an integer from 0 to ${MAX_STICKY_MS}`);
  return ms;
}

/** Has an event sent later; throws the client's error where it cannot be kept. */
export async function scheduleForClient(
  ctx: ServerContext,
  event: Omit<NewDelayedEvent, 'delayId' | 'sinceTs'>,
): Promise<{ delay_id: string }> {
  checkDelay(ctx.config.maxEventDelay, event.delayMs);
  checkContent(event);
  await joinedRoom(ctx, event.userId, event.roomId);
  const scheduled = await ctx.delayedEvents.schedule(event);
  if (scheduled.kind === 'full') throw limitExceeded(Math.max(1, scheduled.nextTs - ctx.clock.now()));
  return { delay_id: scheduled.delayId };
}

function checkDelay(most: number, delayMs: number): void {
  if (most === 0) throw forbidden('This server sends no events later');
  if (delayMs < 1) throw invalidParam('The delay must be at least a millisecond');
  if (delayMs <= most) return;
  // Beside the error of today what clients of before look for.
  const extras = { [`${MSC4140}.errcode`]: 'M_MAX_DELAY_EXCEEDED', [`${MSC4140}.max_delay`]: most };
  throw new MatrixError(400, 'M_INVALID_PARAM', `The delay is longer than ${most} ms`, { extras });
}

/** What could never be an event is refused at once. */
function checkContent({
  type,
  stateKey = '',
  content,
}: Pick<NewDelayedEvent, 'type' | 'stateKey' | 'content'>): void {
  if (Math.max(Buffer.byteLength(type), Buffer.byteLength(stateKey)) > MAX_KEY_BYTES)
    throw badJson(`type or state_key is longer than ${MAX_KEY_BYTES} bytes`);
  const canonical = canonicalContent(content);
  if (canonical === undefined)
    throw badJson('The content is not canonical JSON: integers only, 100 levels at most');
  if (Buffer.byteLength(canonical.text) > MAX_PDU_BYTES)
    throw tooLarge(`The event is too large: more than ${MAX_PDU_BYTES} bytes`);
}

/** Sends an event whose time has come, as if its user asked for it now. */
export async function sendDelayed(ctx: ServerContext, event: DelayedEvent): Promise<EventId> {
  const { delayId, userId: sender, roomId, type, stateKey, content, stickyMs } = event;
  const user = await users.of(ctx.db, sender);
  if (user === undefined || user.deactivatedTs !== undefined) throw forbidden('The account is deactivated');
  if (user.lockedTs !== undefined || user.suspendedTs !== undefined) throw userSuspended();
  ctx.limits.take('message', sender);
  const draft = { roomId, sender, type, txn: { deviceId: NO_DEVICE, txnId: delayId } };
  const sent =
    stateKey === undefined
      ? await sendForClient(ctx, { ...draft, stickyMs, ...contentToSend(type, content) })
      : await sendStateForClient(ctx, { ...draft, content, stateKey });
  return sent.event_id;
}

/** Why an event was accepted, rejected, soft-failed or kept without a place: its checks on receipt, made again. */

import type { EventId } from '#keys/ids.ts';
import * as provisionalRejections from '#storage/provisional-rejections.ts';
import { authStateOf } from '../auth/check.ts';
import { authStateIn } from '../auth-state.ts';
import type { RoomsReader } from '../context.ts';
import type { Event } from '../event.ts';
import { createEventIdOf } from '../hashes.ts';
import { loadEvents } from '../load.ts';
import { groupRef } from '../resolve-state.ts';
import { headOf } from '../room-head.ts';
import type { StoredEvent } from '../stored-event.ts';
import { judge } from '../told/judge-told.ts';
import { deciding, inWords, judgedBy, refusalInWords } from './words.ts';

/** How many rejected events to name, one authorising the other. */
const LONGEST_CHAIN = 10;

/** What became of an event when it came, and why, in lines. */
export function verdictOf(ctx: RoomsReader, stored: StoredEvent): Promise<string[]> {
  switch (stored.status) {
    case 'accepted':
      return accepted(ctx, stored);
    case 'soft_failed':
      return softFailed(ctx, stored);
    case 'rejected':
      return rejected(ctx, stored);
    case 'outlier':
      return outlier(ctx, stored);
  }
}

async function accepted(ctx: RoomsReader, stored: StoredEvent): Promise<string[]> {
  const history = (stored.position ?? 0) < 0 ? ' It was fetched later, as history.' : '';
  const lines = [`Accepted: its auth events and the state before it allow it.${history}`];
  const now = [...(await byAuthEvents(ctx, stored)), ...(await byStateBefore(ctx, stored))];
  return now.length === 0 ? lines : [...lines, 'Judged again now, it would be rejected:', ...now];
}

async function outlier(ctx: RoomsReader, stored: StoredEvent): Promise<string[]> {
  const lines = [
    'Outlier: it has no place among the events of the room. It is known only as a part of a state or of an auth',
    'chain, and clients do not see it.',
  ];
  return [...lines, ...(await byAuthEvents(ctx, stored))];
}

async function softFailed(ctx: RoomsReader, stored: StoredEvent): Promise<string[]> {
  const { event, roomNid, reason } = stored;
  const lines = [
    `Soft-failed: it is allowed where it stands, but not by the state that the room had when it came${because(reason)}`,
    'Clients do not see it, and no event of ours follows it; the state that it makes counts where others build on it.',
  ];
  const current = await authStateIn(ctx, groupRef((await headOf(ctx, roomNid)).stateGroup), event);
  const judged = judgedBy(event, current);
  if (judged === undefined) return [...lines, 'The state that the room has now would allow it.'];
  return [
    ...lines,
    `By the state that the room has now: ${refusalInWords(judged.refusal, event.rules)}`,
    ...deciding(judged.decidedBy),
  ];
}

async function rejected(ctx: RoomsReader, stored: StoredEvent): Promise<string[]> {
  const lines = [`Rejected${because(stored.reason)}`];
  const byAuth = await byAuthEvents(ctx, stored);
  lines.push(...(byAuth.length > 0 ? byAuth : await byStateBefore(ctx, stored)));
  const awaited = await provisionalRejections.awaitedBy(ctx.db, stored.nid);
  if (awaited.length > 0) {
    lines.push(`This may change: it is judged again when one of these arrives: ${awaited.join(', ')}`);
  } else if (lines.length === 1) {
    lines.push('Judged again now, by its auth events and the state before it, it would be allowed.');
  }
  return lines;
}

/** Check 4: why its auth events do not allow it; no lines where they do. */
async function byAuthEvents(ctx: RoomsReader, { event }: StoredEvent): Promise<string[]> {
  const stored = await authEventsOf(ctx, event);
  const missing = event.authEvents.filter((eventId) => !stored.has(eventId));
  if (missing.length > 0) return [`  Its auth events ${missing.join(', ')} are not stored here.`];
  const byId = new Map<EventId, Event | 'rejected'>();
  for (const [eventId, { status, event }] of stored)
    byId.set(eventId, status === 'rejected' ? 'rejected' : event);
  const refusal = judge(event, byId);
  if (refusal === undefined) return [];
  const lines = [`  By its auth events: ${refusalInWords(refusal, event.rules)}`];
  if (refusal.rule === 'v10 2.3') return [...lines, ...(await rejectedChain(ctx, event))];
  const standing = [...stored.values()].filter(({ status }) => status !== 'rejected');
  const judged = judgedBy(event, authStateOf(standing.map((authEvent) => authEvent.event)));
  return [
    ...lines,
    ...deciding(judged !== undefined && judged.refusal.rule === refusal.rule ? judged.decidedBy : []),
  ];
}

/** The rejected auth event, the rejected auth event of that, and so on, each with its reason. */
async function rejectedChain(ctx: RoomsReader, event: Event): Promise<string[]> {
  const lines: string[] = [];
  let at: Event | undefined = event;
  while (at !== undefined && lines.length < 2 * LONGEST_CHAIN) {
    // One after the other: what to look at next, the last one says.
    const authEvents: ReadonlyMap<EventId, StoredEvent> = await loadEvents(ctx, at.authEvents);
    const first = authEvents.values().find(({ status }) => status === 'rejected');
    if (first !== undefined) {
      lines.push(`    ${inWords(first.event)}`, `      rejected${because(first.reason)}`);
    }
    at = first?.event;
  }
  return lines;
}

/** Check 5: why the state before it does not allow it; no lines where it does, or is not known. */
async function byStateBefore(ctx: RoomsReader, { event, stateBefore }: StoredEvent): Promise<string[]> {
  if (stateBefore === undefined) return [];
  const judged = judgedBy(event, await authStateIn(ctx, groupRef(stateBefore), event));
  if (judged === undefined) return [];
  const lines = [`  By the state before it: ${refusalInWords(judged.refusal, event.rules)}`];
  return [...lines, ...deciding(judged.decidedBy)];
}

async function authEventsOf(ctx: RoomsReader, event: Event): Promise<ReadonlyMap<EventId, StoredEvent>> {
  const implied = event.rules.roomIdIsCreateHash && event.type !== 'm.room.create';
  return loadEvents(ctx, implied ? [...event.authEvents, createEventIdOf(event.roomId)] : event.authEvents);
}

function because(reason: string | undefined): string {
  return reason === undefined ? '.' : `: ${reason}.`;
}

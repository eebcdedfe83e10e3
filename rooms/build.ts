/** Templates of events: those that we give to other servers, and our own events made from theirs. */

import { isEventId } from '#keys/ids.ts';
import type { JsonObject } from '#keys/json.ts';
import { checkStateDependent } from './auth/check.ts';
import { bareEvent, buildEvent, type EventParts } from './build-event.ts';
import type { RoomsContext } from './context.ts';
import { MAX_EVENT_DEPTH } from './depth.ts';
import { lineFrom, partsUpon, stateFor } from './draft.ts';
import { eventFrom } from './event.ts';
import { MAX_AUTH_EVENTS, MAX_PREV_EVENTS } from './format.ts';
import type { Room } from './room.ts';
import { headOf } from './room-head.ts';
import type { Draft } from './send.ts';
import type { VerifiedEvent } from './verified-event.ts';

export type Template =
  | { readonly kind: 'ok'; readonly template: JsonObject }
  | { readonly kind: 'forbidden'; readonly reason: string };

/**
 * The PDU that a user of another server is to complete, hash and have signed there, for instance to join: with
 * the references that it needs now, and only if the room would allow it.
 */
export async function buildTemplate(ctx: RoomsContext, room: Room, draft: Draft): Promise<Template> {
  const line = await lineFrom(ctx, room, await headOf(ctx, room.roomNid));
  if (line.cited.length === 0) return { kind: 'forbidden', reason: 'The server is not in the room' };
  const state = await stateFor(ctx, line, draft);
  const bare = bareEvent(ctx, await partsUpon(ctx, line, draft, state));
  const refusal = checkStateDependent(eventFrom(bare, room.rules), state);
  if (refusal !== undefined) return { kind: 'forbidden', reason: refusal.reason };
  // v1, v2: who completes the event chooses its id.
  const { event_id: _, ...template } = bare;
  return { kind: 'ok', template };
}

/**
 * Our own event in a room that another server lets us into, signed: only the references and the depth are the
 * other server's, and of them what no event may have is left out. `content` is ours, and canonical.
 */
export function eventFromTemplate(
  ctx: RoomsContext,
  parts: Omit<EventParts, 'originServerTs' | 'redacts'> & { readonly originServerTs?: number },
): VerifiedEvent {
  const built = buildEvent(ctx, {
    ...parts,
    originServerTs: parts.originServerTs ?? ctx.clock.now(),
    prevEvents: parts.prevEvents.filter(isEventId).slice(0, MAX_PREV_EVENTS),
    authEvents: parts.authEvents.filter(isEventId).slice(0, MAX_AUTH_EVENTS),
    depth: Number.isSafeInteger(parts.depth) ? Math.max(0, parts.depth) : MAX_EVENT_DEPTH,
  });
  if (built.kind === 'invalid') throw new TypeError(`an event of ours is invalid: ${built.reason}`);
  return built.event;
}

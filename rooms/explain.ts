import type { EventId } from '#keys/ids.ts';
import type { RoomsReader } from './context.ts';
import { effectOn } from './explain/effect.ts';
import { verdictOf } from './explain/verdict.ts';
import { inWords } from './explain/words.ts';
import { loadEvent } from './load.ts';
import { getRoomByNid } from './room.ts';

/**
 * What the server made of an event and why, in lines for an operator: the checks on receipt made again, with the rule
 * and the events that decided, and what state resolution did to it. Undefined for an event that is not stored.
 */
export async function explainEvent(ctx: RoomsReader, eventId: EventId): Promise<string[] | undefined> {
  const stored = await loadEvent(ctx, eventId);
  if (stored === undefined) return undefined;
  const room = await getRoomByNid(ctx, stored.roomNid);
  if (room === undefined) return undefined;
  return [
    inWords(stored.event),
    `In the room ${room.roomId}, of version ${room.rules.version}.`,
    ...(stored.redactedBy === undefined ? [] : [`Its content was redacted by ${stored.redactedBy}.`]),
    ...(await verdictOf(ctx, stored)),
    ...(await effectOn(ctx, room, stored)),
  ];
}

/** Events that get no place in the graph of a room, whatever else holds for them: there is no state before them. */

import type { EventId } from '#keys/ids.ts';
import type { Event } from './event.ts';
import type { Room } from './room.ts';
import type { StoredEvent } from './stored-event.ts';

/**
 * Why an event gets no place, by those of its prev events that are stored, and by why it is refused, if it is;
 * undefined where it may get one.
 */
export function placelessBecause(
  room: Room,
  event: Event,
  prevEvents: ReadonlyMap<EventId, StoredEvent>,
  refused: string | undefined,
): string | undefined {
  if (prevEvents.values().some((prevEvent) => prevEvent.roomNid !== room.roomNid)) {
    // The state after it is that of another room: there is none to judge the event by.
    return 'A prev event is of another room';
  }
  if (event.prevEvents.length > 0) return undefined;
  return event.type === 'm.room.create' ? refused : pastlessBecause(event);
}

/**
 * Why an event without a past is rejected, whatever else is known: there is no create event in the state before it.
 *
 * Only the create event of the room follows nothing. Who cites another such event beside the newest ones would have
 * the state of the room resolved with none at all, so that all of it would have to pass the newest rules anew.
 */
export function pastlessBecause({ type, prevEvents }: Event): string | undefined {
  const isPastless = prevEvents.length === 0 && type !== 'm.room.create';
  return isPastless ? 'Only a create event has no prev_events' : undefined;
}

/**
 * Which of the events at the rim of a room's history other servers are asked for: those that ours cite and we do not
 * have. Any member of a room can cite events that nobody has, or that are not valid, and cite as many as they like.
 */

import type { EventId } from '#keys/ids.ts';
import type { Reader } from '#storage/database.ts';
import * as eventEdges from '#storage/event-edges.ts';
import { Lru } from '#storage/lru.ts';

/** Events that one request starts from. */
const MOST_AT_ONCE = 20;
/** Events of the rim that are looked at to find them. */
const MOST_LOOKED_AT = 200;
const MOST_ROOMS = 10_000;
const MOST_IN_VAIN = 20_000;

export class HistoryRim {
  /** By room, the event after which the next ones are taken: around and around, so that each has its turn. */
  readonly #last = new Lru<number, EventId>({ maxEntries: MOST_ROOMS });
  readonly #inVain = new Lru<string, true>({ maxEntries: MOST_IN_VAIN });

  /** At most 20 events of the rim to ask for; those that were asked for in vain only where there are no others. */
  async next(reader: Reader, roomNid: number): Promise<EventId[]> {
    const after = this.#last.get(roomNid) ?? '';
    const behind = await eventEdges.backwardExtremities(reader, roomNid, { after, limit: MOST_LOOKED_AT });
    const limit = MOST_LOOKED_AT - behind.length;
    const before = limit > 0 ? await eventEdges.backwardExtremities(reader, roomNid, { limit }) : [];
    const rim = [...new Set([...behind, ...before])];
    const fresh = this.fresh(roomNid, rim);
    const next = (fresh.length > 0 ? fresh : rim).slice(0, MOST_AT_ONCE);
    const last = (fresh.length > 0 ? rim : next).at(-1);
    if (last !== undefined) this.#last.set(roomNid, last);
    return next;
  }

  /** Those that were not asked for in vain. */
  fresh(roomNid: number, eventIds: readonly EventId[]): EventId[] {
    return eventIds.filter((eventId) => this.#inVain.get(`${roomNid} ${eventId}`) === undefined);
  }

  /** Remembers that the servers were asked for these, and gave nothing new. */
  wasInVain(roomNid: number, eventIds: readonly EventId[]): void {
    for (const eventId of eventIds) this.#inVain.set(`${roomNid} ${eventId}`, true);
  }
}

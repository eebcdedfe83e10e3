import type { ServerName } from '#keys/ids.ts';
import { joinedServers, type Room } from '#rooms/room.ts';
import type { FederationContext } from '../context.ts';

export type PullContext = Omit<FederationContext, 'sender' | 'inbound'>;

/** What may still be fetched for the sake of one transaction in one room, or of one page of history. */
export interface Budget {
  /** Events that belong into the room's graph. */
  events: number;
  /** Events that are fetched one by one for a state or an auth chain. */
  outliers: number;
  /** States that are asked for. */
  states: number;
  /** Questions that nobody answered, or that there was no time or budget left for: the answer may be had later. */
  unanswered: number;
}

/** Where what is missing is fetched from, and how much of it. */
export interface Source {
  /** The server to ask first. */
  readonly origin: ServerName;
  /** No other server is asked. */
  readonly isAlone?: boolean;
  /** Ends the fetching. */
  readonly signal: AbortSignal;
  readonly budget: Budget;
}

const MOST_SOURCES = 3;
/** For what is missing for one batch of events of a room. */
const DEADLINE_MS = 120_000;

/** "prev-event fetch depth": 200 events for a room and transaction. */
export function newBudget(): Budget {
  return { events: 200, outliers: 500, states: 5, unanswered: 0 };
}

/** How long and how much is fetched for one batch of events of a room; `stop` ends it before. */
export function newLimits(stop: AbortSignal): Pick<Source, 'signal' | 'budget'> {
  return { signal: AbortSignal.any([stop, AbortSignal.timeout(DEADLINE_MS)]), budget: newBudget() };
}

/** Servers that may know an event of the room: the origin, then others in the room. */
export async function sourcesOf(
  ctx: PullContext,
  room: Room,
  { origin, isAlone = false }: Pick<Source, 'origin' | 'isAlone'>,
): Promise<readonly ServerName[]> {
  const others = isAlone ? [] : await joinedServers(ctx, room.roomNid);
  const sources = new Set([origin, ...others]);
  sources.delete(ctx.serverName);
  return [...sources].slice(0, MOST_SOURCES);
}

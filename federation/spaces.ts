/** Rooms and spaces that this server is not in, as other servers tell of them. */

import { isServerName, type RoomId, type ServerName } from '#keys/ids.ts';
import { type HierarchyRoom, SPACE, type Step } from '#rooms/directory/hierarchy.ts';
import type { ToldRoom } from '#rooms/directory/told-room.ts';
import { Lru } from '#storage/lru.ts';
import type { FederationContext } from './context.ts';
import { hierarchy, type ToldSpace } from './remote/spaces.ts';

type SpacesContext = Pick<FederationContext, 'client' | 'clock' | 'rooms' | 'serverName'>;

/** A room by the word of the server `toldBy`. */
export interface RemoteRoom extends HierarchyRoom {
  readonly entry: ToldRoom;
  readonly toldBy: ServerName;
}

/** "Responses to this endpoint should be cached for a period of time." */
const FRESH_MS = 5 * 60_000;
const MOST_SERVERS = 3;
const MOST_ANSWERS = 5_000;
const MOST_BYTES = 32 * 1024 * 1024;

interface Kept {
  readonly told: ToldSpace;
  /** In milliseconds since 1970. */
  readonly ts: number;
}

interface Answers {
  readonly kept: Lru<string, Kept>;
  readonly flights: Map<string, Promise<ToldSpace | undefined>>;
}

const answers = new WeakMap<SpacesContext['rooms'], Answers>();

/**
 * A room as the first server that answers tells of it, five minutes old at most; undefined where none does, or where
 * the server that told of the space above says that nobody may come in. By whatever name the server is asked, what it
 * says is only its word: whether a user may know of the room is for the caller to judge.
 */
export async function remoteRoom(
  ctx: SpacesContext,
  step: Pick<Step, 'roomId' | 'via' | 'parent' | 'toldBy'>,
  { suggestedOnly, signal }: { readonly suggestedOnly: boolean; readonly signal: AbortSignal },
): Promise<RemoteRoom | undefined> {
  const { roomId, parent, toldBy } = step;
  const above =
    parent === undefined || toldBy === undefined
      ? undefined
      : keptOf(ctx, keyOf(toldBy, parent, suggestedOnly))?.told;
  if (above?.inaccessible.has(roomId) === true) return undefined;
  const entry = above?.rooms.get(roomId);
  if (entry !== undefined && toldBy !== undefined && entry.room_type !== SPACE) {
    return { entry, children: [], toldBy };
  }
  // A server that told of a space inside another one is likely to know what is in there.
  const servers = new Set([...(entry !== undefined && toldBy !== undefined ? [toldBy] : []), ...step.via]);
  servers.delete(ctx.serverName);
  for (const server of [...servers].filter(isServerName).slice(0, MOST_SERVERS)) {
    if (signal.aborted) return undefined;
    // One after the other: mostly the first one answers.
    const told = await ask(ctx, server, { roomId, suggestedOnly }, signal);
    if (told !== undefined) return { entry: told.room, children: told.children, toldBy: server };
  }
  return undefined;
}

/** One question at a time for each server and room: who comes meanwhile waits for the same answer. */
function ask(
  ctx: SpacesContext,
  server: ServerName,
  wanted: { readonly roomId: RoomId; readonly suggestedOnly: boolean },
  signal: AbortSignal,
): Promise<ToldSpace | undefined> {
  const key = keyOf(server, wanted.roomId, wanted.suggestedOnly);
  const kept = keptOf(ctx, key);
  if (kept !== undefined) return Promise.resolve(kept.told);
  const { flights } = answersOf(ctx);
  const running = flights.get(key);
  if (running !== undefined) return Promise.race([running, whenAborted(signal)]);
  const flight = askNow(ctx, server, wanted).finally(() => flights.delete(key));
  flights.set(key, flight);
  return Promise.race([flight, whenAborted(signal)]);
}

async function askNow(
  ctx: SpacesContext,
  server: ServerName,
  wanted: { readonly roomId: RoomId; readonly suggestedOnly: boolean },
): Promise<ToldSpace | undefined> {
  const answer = await hierarchy(ctx, server, wanted);
  // A refusal is not kept: the server may be let in, or hear of one of our users, at any time.
  if (answer.kind === 'failed') return undefined;
  const told = answer.value;
  answersOf(ctx).kept.set(keyOf(server, wanted.roomId, wanted.suggestedOnly), { told, ts: ctx.clock.now() });
  return told;
}

function whenAborted(signal: AbortSignal): Promise<undefined> {
  return new Promise((resolve) => {
    if (signal.aborted) resolve(undefined);
    else signal.addEventListener('abort', () => resolve(undefined), { once: true });
  });
}

function keptOf(ctx: SpacesContext, key: string): Kept | undefined {
  const { kept } = answersOf(ctx);
  const found = kept.get(key);
  return found !== undefined && Math.abs(ctx.clock.now() - found.ts) < FRESH_MS ? found : undefined;
}

function answersOf(ctx: SpacesContext): Answers {
  const known = answers.get(ctx.rooms);
  if (known !== undefined) return known;
  const made: Answers = {
    kept: new Lru<string, Kept>({
      maxEntries: MOST_ANSWERS,
      maxWeight: MOST_BYTES,
      weigh: ({ told }) => told.bytes,
    }),
    flights: new Map(),
  };
  answers.set(ctx.rooms, made);
  return made;
}

function keyOf(server: ServerName, roomId: RoomId, suggestedOnly: boolean): string {
  return `${server} ${roomId} ${suggestedOnly}`;
}

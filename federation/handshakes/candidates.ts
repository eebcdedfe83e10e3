/** Which servers are asked for a handshake, and in which order. */

import { type RoomId, type ServerName, serverNameOf } from '#keys/ids.ts';
import type { HandshakeFailure } from './template.ts';

export interface Candidates {
  /** Those that somebody has named for it, or that let users in as far as we know: each is asked, likeliest first. */
  readonly named: readonly ServerName[];
  /** Those that may be in the room for all we know: asked where none of the named ones has a say in it. */
  readonly others: readonly ServerName[];
}

const MOST_CANDIDATES = 10;

/** Each server once, without us. The one whose name is in the room's id may be in the room still. */
export function candidatesOf(
  ownName: ServerName,
  roomId: RoomId,
  from: {
    readonly named: readonly (ServerName | undefined)[];
    readonly others?: readonly (ServerName | undefined)[];
  },
): Candidates {
  const named = withoutDoubles(from.named, [ownName]);
  const others = withoutDoubles([...(from.others ?? []), serverNameOf(roomId)], [ownName, ...named]);
  return { named, others };
}

/** As `candidatesOf`, in one list: for a question that harms nothing, however many are asked. */
export function serversToAsk(
  ownName: ServerName,
  roomId: RoomId,
  names: readonly (ServerName | undefined)[],
): ServerName[] {
  const { named, others } = candidatesOf(ownName, roomId, { named: names });
  return [...named, ...others];
}

function withoutDoubles(
  names: readonly (ServerName | undefined)[],
  besides: readonly ServerName[],
): ServerName[] {
  const kept = new Set(names.filter((name) => name !== undefined)).difference(new Set(besides));
  return [...kept].slice(0, MOST_CANDIDATES);
}

/**
 * Asks server after server until one does what is wanted, for which `attempt` answers undefined. Answers undefined
 * then, and else the failure that says most. What a server refuses that was named is not asked of the others.
 */
export async function throughOneOf(
  { named, others }: Candidates,
  signal: AbortSignal,
  attempt: (server: ServerName) => Promise<HandshakeFailure | undefined>,
): Promise<HandshakeFailure | undefined> {
  const failures: HandshakeFailure[] = [];
  for (const servers of [named, others]) {
    for (const server of servers) {
      if (signal.aborted) return tellingFailure(failures);
      // One after the other: each would do it.
      const failure = await attempt(server);
      if (failure === undefined) return undefined;
      failures.push(failure);
    }
    if (failures.some(({ kind }) => kind !== 'unreachable' && kind !== 'not_found')) break;
  }
  return tellingFailure(failures);
}

/** Of the failures of several servers the one that says most. */
function tellingFailure(failures: readonly HandshakeFailure[]): HandshakeFailure {
  const order = ['invite_blocked', 'incompatible', 'forbidden', 'not_found', 'unreachable'];
  const [first] = [...failures].sort((a, b) => order.indexOf(a.kind) - order.indexOf(b.kind));
  return first ?? { kind: 'not_found', reason: 'No server is known that is in the room' };
}

import type { ServerName } from '#keys/ids.ts';
import type { FederationContext } from '../context.ts';

export interface HandshakesContext extends FederationContext {
  /** `take` throws where a server has handed in too many memberships of a room of late. */
  readonly limits: { take(kind: 'handshake', key: string): void };
}

/**
 * Each membership that is handed in is an event that we tell all servers of the room, and a state that we answer with:
 * whoever joins and leaves without end is held back. Throws `M_LIMIT_EXCEEDED`.
 */
export function takeHandshake({ limits }: HandshakesContext, origin: ServerName, roomId: string): void {
  limits.take('handshake', `${origin} ${roomId}`);
}

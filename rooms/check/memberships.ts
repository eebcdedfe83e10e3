import { belongsTo, isUserId, type ServerName } from '#keys/ids.ts';
import * as memberships from '#storage/memberships.ts';
import { type Event, membershipOf } from '../event.ts';
import type { Room } from '../room.ts';
import type { CheckContext } from './context.ts';

/**
 * Memberships are what the members of the state say. Of a room that the server is not in, our own users may have been
 * told more: that they are invited, or no longer.
 */
export class MembershipCheck {
  readonly #told: Map<string, string>;
  readonly #isIn: boolean;
  readonly #serverName: ServerName;

  private constructor(told: Map<string, string>, isIn: boolean, serverName: ServerName) {
    this.#told = told;
    this.#isIn = isIn;
    this.#serverName = serverName;
  }

  static async of(ctx: CheckContext, room: Room): Promise<MembershipCheck> {
    const rows = await memberships.inRoom(ctx.db, room.roomNid);
    const told = new Map<string, string>(rows.map((row) => [row.userId, row.membership]));
    const isIn = await memberships.serverIsIn(ctx.db, room.roomNid, ctx.serverName);
    return new MembershipCheck(told, isIn, ctx.serverName);
  }

  /** One event of the state. */
  check(event: Event): string[] {
    const { type, stateKey } = event;
    if (type !== 'm.room.member' || stateKey === undefined) return [];
    const [stated, row] = [membershipOf(event), this.#told.get(stateKey)];
    this.#told.delete(stateKey);
    const mayDiffer = !this.#isIn && belongsTo(stateKey, this.#serverName);
    if (row === stated || !isUserId(stateKey) || mayDiffer) return [];
    return [`the membership of ${stateKey} is ${row ?? 'none'} instead of ${stated ?? 'none'}`];
  }

  /** After all events of the state. */
  left(): string[] {
    return [...this.#told]
      .filter(([, membership]) => membership === 'join')
      .map(([userId]) => `${userId} is joined without an event that says so`);
  }
}

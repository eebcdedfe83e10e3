/** Whether the history at events is open to all who are joined, as it mostly is: found out once for all who count them. */

import { stringAt } from '#keys/json.ts';
import type { RoomsContext } from '#rooms/context.ts';
import { stateOfGroup } from '#rooms/room-head.ts';
import { Lru } from '#storage/lru.ts';
import type { StateGroup } from '#storage/state-groups.ts';

const MOST_GROUPS = 10_000;
const VISIBILITY = { type: 'm.room.history_visibility', stateKey: '' };
const RESTRICTED: ReadonlySet<string> = new Set(['joined', 'invited']);

export class OpenHistory {
  readonly #ctx: RoomsContext;
  readonly #groups = new Lru<StateGroup, boolean>({ maxEntries: MOST_GROUPS });

  constructor(ctx: RoomsContext) {
    this.#ctx = ctx;
  }

  /** By the state after an event, where it is in memory that it is open. */
  isKnownAt(stateAfter: StateGroup): boolean {
    return this.#groups.get(stateAfter) === true;
  }

  /** By the state after an event. */
  async isAt(stateAfter: StateGroup): Promise<boolean> {
    const known = this.#groups.get(stateAfter);
    if (known !== undefined) return known;
    const [found] = (await stateOfGroup(this.#ctx, stateAfter, [VISIBILITY])).values();
    const visibility = found && stringAt(found.event.content, 'history_visibility');
    const isOpen = visibility === undefined || !RESTRICTED.has(visibility);
    this.#groups.set(stateAfter, isOpen);
    return isOpen;
  }
}

/** Keeps the index of the search up to date, some moments behind the rooms. */

import { setImmediate as nextTurn } from 'node:timers/promises';
import type { RoomsContext } from '#rooms/context.ts';
import * as arrivals from '#storage/arrivals.ts';
import { cursors } from '#storage/cursors.ts';
import type { Database, Tx } from '#storage/database.ts';
import * as search from '#storage/search.ts';
import { EventFollower } from '../event-follower.ts';
import { searchable } from './searchable.ts';

export type SearchIndexer = EventFollower<readonly search.SearchableEvent[]>;

/** The cursor; the migration has set it to the beginning. */
const NAME = 'search';
const BATCH = 200;
/** A search does not wait for it: it asks the follower to hurry. */
const LINGER_MS = 500;

export function searchIndexer(ctx: RoomsContext): SearchIndexer {
  return new EventFollower(ctx, {
    name: NAME,
    batch: BATCH,
    lingerMs: LINGER_MS,
    prepare: async (events) => {
      // An index that is built anew has much to read: others have their turn between the batches.
      await nextTurn();
      const found = events
        .filter(({ redactedBy }) => redactedBy === undefined)
        .map(searchable)
        .filter((event) => event !== undefined);
      return found.length === 0 ? undefined : found;
    },
    apply: (tx, found) => search.add(tx, found),
  });
}

/** The follower of a server that searches; where it does not, what an earlier process has indexed goes. */
export async function openSearch(ctx: RoomsContext, isOn: boolean): Promise<SearchIndexer | undefined> {
  if (isOn) return searchIndexer(ctx);
  if (await emptyIndex(ctx.db)) ctx.log.info({}, 'the search is switched off: its index was emptied');
  return undefined;
}

/** Reads everything again, from the first event on. */
export function rebuildIndex(indexer: SearchIndexer): Promise<void> {
  return indexer.restart((tx) => search.clear(tx));
}

/** Empties the index of a server that does not run: the next process builds it anew. True where there was one. */
export async function emptyIndex(db: Database): Promise<boolean> {
  const begun = await cursors.find(db, NAME);
  if (begun === arrivals.BEFORE_ALL && (await search.isEmpty(db))) return false;
  await db.write('search.empty', async (tx: Tx) => {
    await search.clear(tx);
    await cursors.set(tx, NAME, arrivals.BEFORE_ALL);
  });
  return true;
}

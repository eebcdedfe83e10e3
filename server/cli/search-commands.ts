/** The operator's command about the search: by the running server, or on its database. */

import { type JsonObject, own } from '#keys/json.ts';
import type { Database } from '#storage/database.ts';
import type { Config } from '../config-options.ts';
import { emptyIndex, rebuildIndex, type SearchIndexer } from '../search/indexer.ts';
import { carryOut } from './carry-out.ts';
import type { Outcome } from './operations.ts';

export interface SearchOperationContext {
  readonly db: Database;
  readonly config: Pick<Config, 'search'>;
  /** Undefined where no server runs, or none that searches. */
  readonly search?: SearchIndexer | undefined;
}

/** Builds the index of the search anew. */
export async function rebuildSearch(config: Config): Promise<Outcome> {
  const operation = { operation: 'search.rebuild' };
  return carryOut(config, operation, ({ db }) => performOnSearch({ db, config }, operation));
}

/** Does one thing: `{"operation": "search.rebuild"}`; undefined for what is something else. */
export async function performOnSearch(
  { db, config, search }: SearchOperationContext,
  operation: JsonObject,
): Promise<Outcome | undefined> {
  if (own(operation, 'operation') !== 'search.rebuild') return undefined;
  if (!config.search) {
    return {
      kind: 'refused',
      problem: 'the search is switched off: set search (KURIR_SEARCH) to true first',
    };
  }
  if (search !== undefined) {
    await rebuildIndex(search);
    return done(
      'The index is being built anew, also after a restart; searches find more and more meanwhile.',
    );
  }
  await emptyIndex(db);
  return done('The index is built anew when the server starts.');
}

function done(line: string): Outcome {
  return { kind: 'done', lines: [line] };
}

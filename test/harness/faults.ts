/** Points at which a process may die: before and after every statement of a write, its commit, and its answer. */

import type { Database, Tx } from '#storage/database.ts';

/** The database, that tells each point when it is reached. Points are named by their statement or write. */
export function withFaultPoints(db: Database, reached: (point: string) => void): Database {
  return {
    dialect: db.dialect,
    get: (statement, ...params) => db.get(statement, ...params),
    all: (statement, ...params) => db.all(statement, ...params),
    scan: (statement, ...params) => db.scan(statement, ...params),
    close: () => db.close(),
    [Symbol.asyncDispose]: () => db[Symbol.asyncDispose](),
    write: async (name, body) => {
      const result = await db.write(name, async (tx) => {
        tx.afterCommit(() => reached(`after the commit of ${name}`));
        const answer = await body(withStatementPoints(tx, reached));
        reached(`before the commit of ${name}`);
        return answer;
      });
      reached(`after the answer of ${name}`);
      return result;
    },
  };
}

function withStatementPoints(tx: Tx, reached: (point: string) => void): Tx {
  const around = async <T>(name: string, run: () => Promise<T>): Promise<T> => {
    reached(`before ${name}`);
    const result = await run();
    reached(`after ${name}`);
    return result;
  };
  return {
    // Some insertions answer a row.
    get: (statement, ...params) => around(statement.name, () => tx.get(statement, ...params)),
    all: (statement, ...params) => around(statement.name, () => tx.all(statement, ...params)),
    run: (statement, ...params) => around(statement.name, () => tx.run(statement, ...params)),
    afterCommit: (hook) => tx.afterCommit(hook),
    afterRollback: (hook) => tx.afterRollback(hook),
  };
}

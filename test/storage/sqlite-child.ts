/** A process of its own for the tests of the folder lock and of failing disks. Tells its parent what happens. */

import { sql } from '#storage/sql.ts';
import { openSqlite } from '#storage/sqlite.ts';

const [path = '', mode] = process.argv.slice(2);
const tell = (line: string) => process.stdout.write(`${line}\n`);

try {
  const db = await openSqlite({
    path,
    onFatal: (error) => tell(`fatal ${error instanceof Error && 'code' in error ? error.code : 'unknown'}`),
  });
  tell('open');
  if (mode === 'fill') {
    const insert = sql<[body: Uint8Array]>('child.insert', 'INSERT INTO blobs (body) VALUES (?)');
    await db.write('child', (tx) => tx.run({ name: '', text: 'CREATE TABLE blobs (body {bytes})' }));
    const write = () => db.write('child', (tx) => tx.run(insert, new Uint8Array(200_000)));
    let error: unknown;
    // Until the file may not grow any more.
    for (let count = 0; count < 1_000 && error === undefined; count += 1) {
      error = await write().then(
        () => undefined,
        (reason: unknown) => reason,
      );
    }
    tell(`write ${error instanceof Error ? error.name : 'succeeds'}`);
    await write().catch((reason: Error) => tell(`next ${reason.name}`));
    await db.all({ name: '', text: 'SELECT 1' }).catch((reason: Error) => tell(`read ${reason.name}`));
    await db.close();
    tell('closed');
  } else {
    setInterval(() => undefined, 1_000);
  }
} catch (error) {
  tell(`refused ${error instanceof Error ? `${error.name}: ${error.message}` : 'unknown'}`);
}

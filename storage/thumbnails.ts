import type { Reader, Tx } from './database.ts';
import { anyOf, sql } from './sql.ts';

/** A thumbnail that was made: the file that holds it, and its type. */
export interface Thumbnail {
  readonly sha256: string;
  readonly size: number;
  readonly contentType: string;
}

const OF = sql<[string, string], { sha256: string; size: number; content_type: string }>(
  'thumbnails.of',
  'SELECT sha256, size, content_type FROM thumbnails WHERE source_sha256 = ? AND variant = ?',
);
const ADD = sql<[string, string, string, number, string]>(
  'thumbnails.add',
  `INSERT INTO thumbnails (source_sha256, variant, sha256, size, content_type) VALUES (?, ?, ?, ?, ?)
   ON CONFLICT (source_sha256, variant) DO NOTHING`,
);
const FILES_OF = sql<[string], { sha256: string }>(
  'thumbnails.filesOf',
  'SELECT DISTINCT sha256 FROM thumbnails WHERE source_sha256 = ? ORDER BY sha256',
);
const REMOVE_OF = sql<[string]>('thumbnails.removeOf', 'DELETE FROM thumbnails WHERE source_sha256 = ?');
const HELD = sql<[string], { sha256: string }>(
  'thumbnails.held',
  'SELECT DISTINCT sha256 FROM thumbnails WHERE sha256 {anyOf} ORDER BY sha256',
);

/** The thumbnail of a file in a variant (`320x240-scale`), if it was made. */
export async function of(reader: Reader, source: string, variant: string): Promise<Thumbnail | undefined> {
  const row = await reader.get(OF, source, variant);
  return row && { sha256: row.sha256, size: row.size, contentType: row.content_type };
}

/** Adds a thumbnail, unless there is one. */
export async function add(tx: Tx, source: string, variant: string, made: Thumbnail): Promise<void> {
  await tx.run(ADD, source, variant, made.sha256, made.size, made.contentType);
}

/** Forgets the thumbnails of a file; answers the files that held them. */
export async function removeOf(tx: Tx, source: string): Promise<string[]> {
  const rows = await tx.all(FILES_OF, source);
  await tx.run(REMOVE_OF, source);
  return rows.map((row) => row.sha256);
}

/** Those of the files that hold some thumbnail. */
export async function held(reader: Reader, files: Iterable<string>): Promise<ReadonlySet<string>> {
  const rows = await reader.all(HELD, anyOf(files));
  return new Set(rows.map((row) => row.sha256));
}

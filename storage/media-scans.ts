/** What the scanner for malware says of files. */

import type { Reader, Tx } from './database.ts';
import { anyOf, sql } from './sql.ts';

/** `allowed`: by the operator, whatever the scanner says. */
export const scanVerdicts = ['clean', 'infected', 'allowed'] as const;
export type ScanVerdict = (typeof scanVerdicts)[number];

export interface MediaScan {
  readonly verdict: ScanVerdict;
  /** What was found. */
  readonly signature: string | undefined;
  /** Of the signatures that the scanner knew. */
  readonly version: string;
  /** In milliseconds since 1970. */
  readonly scannedTs: number;
}

/** A file that some media has as its bytes. */
export interface StoredFile {
  readonly sha256: string;
  readonly size: number;
}

interface Row {
  sha256: string;
  verdict: ScanVerdict;
  signature: string | null;
  version: string;
  scanned_ts: number;
}

const OF = sql<[string], Row>(
  'mediaScans.of',
  `SELECT sha256, verdict, signature, version, scanned_ts FROM media_scans WHERE sha256 {anyOf} ORDER BY sha256`,
);
const SET = sql<[string, ScanVerdict, string | null, string, number]>(
  'mediaScans.set',
  `INSERT INTO media_scans (sha256, verdict, signature, version, scanned_ts) VALUES (?, ?, ?, ?, ?)
   ON CONFLICT (sha256) DO UPDATE SET verdict = excluded.verdict, signature = excluded.signature,
     version = excluded.version, scanned_ts = excluded.scanned_ts
   WHERE media_scans.verdict <> 'allowed'`,
);
const ALLOW = sql<[string]>(
  'mediaScans.allow',
  `UPDATE media_scans SET verdict = 'allowed' WHERE sha256 = ? AND verdict = 'infected'`,
);
const REMOVE = sql<[string]>('mediaScans.remove', 'DELETE FROM media_scans WHERE sha256 {anyOf}');
const COUNT = sql<[], { verdict: ScanVerdict; files: number }>(
  'mediaScans.count',
  'SELECT verdict, count(*) AS files FROM media_scans GROUP BY verdict ORDER BY verdict',
);
const FILES = sql<[string, number], { sha256: string; size: number }>(
  'mediaScans.files',
  `SELECT DISTINCT sha256, size FROM media WHERE sha256 > ? AND sha256 IS NOT NULL ORDER BY sha256, size LIMIT ?`,
);

/** What was said of a file, if anything. */
export async function of(reader: Reader, sha256: string): Promise<MediaScan | undefined> {
  return (await ofFiles(reader, [sha256])).get(sha256);
}

/** What was said of those of the files of which anything was. */
export async function ofFiles(
  reader: Reader,
  files: Iterable<string>,
): Promise<ReadonlyMap<string, MediaScan>> {
  const rows = await reader.all(OF, anyOf(files));
  return new Map(rows.map((row) => [row.sha256, fromRow(row)]));
}

/** Notes what is said of a file, unless the operator has allowed it. */
export async function set(tx: Tx, sha256: string, scan: MediaScan): Promise<void> {
  await tx.run(SET, sha256, scan.verdict, scan.signature ?? null, scan.version, scan.scannedTs);
}

/** Lets an infected file be served from now on. */
export async function allow(tx: Tx, sha256: string): Promise<void> {
  await tx.run(ALLOW, sha256);
}

/** Forgets what was said of files. */
export async function remove(tx: Tx, files: Iterable<string>): Promise<void> {
  await tx.run(REMOVE, anyOf(files));
}

/** How many files have which verdict. */
export async function count(reader: Pick<Reader, 'all'>): Promise<ReadonlyMap<ScanVerdict, number>> {
  const rows = await reader.all(COUNT);
  return new Map(rows.map(({ verdict, files }) => [verdict, files]));
}

/** The files of media, those after `after`, in the order of their hashes. */
export async function filesAfter(reader: Reader, after: string, limit: number): Promise<StoredFile[]> {
  return reader.all(FILES, after, limit);
}

function fromRow(row: Row): MediaScan {
  return {
    verdict: row.verdict,
    signature: row.signature ?? undefined,
    version: row.version,
    scannedTs: row.scanned_ts,
  };
}

/** Media by their ids: what users of ours uploaded or will upload, and what is kept of other servers. */

import type { ServerName, UserId } from '#keys/ids.ts';
import type { Mxc } from '#keys/mxc.ts';
import type { Reader, Tx } from './database.ts';
import { anyOf, sql } from './sql.ts';
import { fromTextColumn, textColumn } from './text-column.ts';

/** A media as it is stored. Times are in milliseconds since 1970. */
export interface Media extends Mxc {
  readonly nid: number;
  /** Who uploaded it; undefined for one of another server, and for the picture of a preview. */
  readonly userId: string | undefined;
  /** The file that holds the bytes, in lower-case hex; undefined where there is none (yet). */
  readonly sha256: string | undefined;
  readonly size: number;
  readonly contentType: string;
  readonly uploadName: string | undefined;
  /** Until when a reserved one may be uploaded; undefined for others. */
  readonly expiresTs: number | undefined;
  readonly createdTs: number;
  readonly accessedTs: number;
  readonly isQuarantined: boolean;
  /** Kept until the operator says otherwise. */
  readonly isProtected: boolean;
}

/** The bytes of a media, and what is said of them. */
export interface Content {
  readonly sha256: string;
  readonly size: number;
  readonly contentType: string;
  readonly uploadName: string | undefined;
}

interface Row {
  media_nid: number;
  server_name: string;
  media_id: string;
  user_id: string | null;
  sha256: string | null;
  size: number;
  content_type: string;
  upload_name: string | null;
  expires_ts: number | null;
  created_ts: number;
  accessed_ts: number;
  quarantined_ts: number | null;
  protected_ts: number | null;
}

const COLUMNS = `media_nid, server_name, media_id, user_id, sha256, size, content_type, upload_name, expires_ts,
  created_ts, accessed_ts, quarantined_ts, protected_ts`;

const OF = sql<[string, string], Row>(
  'media.of',
  `SELECT ${COLUMNS} FROM media WHERE server_name = ? AND media_id = ?`,
);
const EXISTING = sql<[string, string], { media_id: string }>(
  'media.existing',
  'SELECT media_id FROM media WHERE server_name = ? AND media_id {anyOf} ORDER BY media_id',
);
/** The same bytes under another id stay in quarantine. */
const ADD = sql<
  [string, string, string | null, string, number, string, string | null, number, number, string]
>(
  'media.add',
  `INSERT INTO media (server_name, media_id, user_id, sha256, size, content_type, upload_name, created_ts,
     accessed_ts, quarantined_ts)
   VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, (SELECT MAX(m.quarantined_ts) FROM media m WHERE m.sha256 = ?))
   ON CONFLICT (server_name, media_id) DO NOTHING`,
);
const RESERVE = sql<[string, string, string, number, number, number]>(
  'media.reserve',
  `INSERT INTO media (server_name, media_id, user_id, created_ts, accessed_ts, expires_ts)
   VALUES (?, ?, ?, ?, ?, ?)`,
);
const RESERVED = sql<[string, number], { reserved: number }>(
  'media.reserved',
  `SELECT count(*) AS reserved FROM media WHERE user_id = ? AND expires_ts > ? AND expires_ts IS NOT NULL`,
);
const FILL = sql<[string, number, string, string | null, number, string, number, number]>(
  'media.fill',
  `UPDATE media SET sha256 = ?, size = ?, content_type = ?, upload_name = ?, accessed_ts = ?, expires_ts = NULL,
     quarantined_ts = (SELECT MAX(m.quarantined_ts) FROM media m WHERE m.sha256 = ?)
   WHERE media_nid = ? AND sha256 IS NULL AND expires_ts > ?`,
);
const REMOVE_EXPIRED = sql<[number, number]>(
  'media.removeExpired',
  `DELETE FROM media WHERE media_nid IN (SELECT m.media_nid FROM media m
     WHERE m.expires_ts <= ? AND m.expires_ts IS NOT NULL ORDER BY m.expires_ts LIMIT ?)`,
);
const TOUCH = sql<[number, number]>('media.touch', 'UPDATE media SET accessed_ts = ? WHERE media_nid = ?');
const LEAST_USED = sql<[number, number], Row>(
  'media.leastUsed',
  `SELECT ${COLUMNS} FROM media
   WHERE user_id IS NULL AND sha256 IS NOT NULL AND accessed_ts < ? AND quarantined_ts IS NULL
     AND protected_ts IS NULL
   ORDER BY accessed_ts, media_nid LIMIT ?`,
);
const OWN_UNUSED = sql<[number, number, number, number], Row>(
  'media.ownUnused',
  `SELECT ${COLUMNS} FROM media
   WHERE user_id IS NOT NULL AND sha256 IS NOT NULL AND (accessed_ts, media_nid) > (?, ?) AND accessed_ts < ?
     AND quarantined_ts IS NULL AND protected_ts IS NULL
   ORDER BY accessed_ts, media_nid LIMIT ?`,
);
const OWN_OLD = sql<[number, number, number], Row>(
  'media.ownOld',
  `SELECT ${COLUMNS} FROM media
   WHERE user_id IS NOT NULL AND sha256 IS NOT NULL AND media_nid > ? AND created_ts < ?
     AND quarantined_ts IS NULL AND protected_ts IS NULL
   ORDER BY media_nid LIMIT ?`,
);
const OF_USER = sql<[string, number, number], Row>(
  'media.ofUser',
  `SELECT ${COLUMNS} FROM media WHERE user_id = ? AND sha256 IS NOT NULL AND media_nid > ?
   ORDER BY media_nid LIMIT ?`,
);
const PROTECT = sql<[number | null, number]>(
  'media.protect',
  'UPDATE media SET protected_ts = ? WHERE media_nid = ?',
);
const REMOVE = sql<[number]>('media.remove', 'DELETE FROM media WHERE media_nid = ?');
const HELD = sql<[string], { sha256: string }>(
  'media.held',
  'SELECT DISTINCT sha256 FROM media WHERE sha256 {anyOf} ORDER BY sha256',
);
const QUARANTINE_BYTES = sql<[number, string]>(
  'media.quarantineBytes',
  'UPDATE media SET quarantined_ts = ? WHERE sha256 = ? AND quarantined_ts IS NULL',
);
const QUARANTINE = sql<[number, number]>(
  'media.quarantine',
  'UPDATE media SET quarantined_ts = ? WHERE media_nid = ? AND quarantined_ts IS NULL',
);
const QUARANTINE_UNSEEN = sql<[string, string, number, number, number]>(
  'media.quarantineUnseen',
  `INSERT INTO media (server_name, media_id, created_ts, accessed_ts, quarantined_ts) VALUES (?, ?, ?, ?, ?)
   ON CONFLICT (server_name, media_id) DO NOTHING`,
);
const RELEASE_BYTES = sql<[string]>(
  'media.releaseBytes',
  'UPDATE media SET quarantined_ts = NULL WHERE sha256 = ? AND quarantined_ts IS NOT NULL',
);
const RELEASE = sql<[number]>(
  'media.release',
  'UPDATE media SET quarantined_ts = NULL WHERE media_nid = ? AND quarantined_ts IS NOT NULL',
);

/** A media; undefined where nothing is stored of it. */
export async function of(reader: Reader, { server, mediaId }: Mxc): Promise<Media | undefined> {
  const row = await reader.get(OF, server, mediaId);
  return row === undefined ? undefined : fromRow(row);
}

/** Those of the ids under which a server has a media here. */
export async function existing(
  reader: Reader,
  server: ServerName,
  mediaIds: Iterable<string>,
): Promise<string[]> {
  return (await reader.all(EXISTING, server, anyOf(mediaIds))).map((row) => row.media_id);
}

/** Adds a media with its bytes, `userId` being its uploader, if any; false where its id is taken. */
export async function add(
  tx: Tx,
  { server, mediaId, userId }: Mxc & { readonly userId: UserId | undefined },
  content: Content,
  now: number,
): Promise<boolean> {
  const { sha256, size, contentType } = content;
  const name = nameColumn(content);
  const who = [server, mediaId, userId ?? null] as const;
  return (await tx.run(ADD, ...who, sha256, size, contentType, name, now, now, sha256)) === 1;
}

/** Reserves an id that `userId` may upload to until `expiresTs`. */
export async function reserve(
  tx: Tx,
  { server, mediaId, userId }: Mxc & { readonly userId: UserId },
  { now, expiresTs }: { readonly now: number; readonly expiresTs: number },
): Promise<void> {
  await tx.run(RESERVE, server, mediaId, userId, now, now, expiresTs);
}

/** How many ids a user has reserved, and not used yet. */
export async function reservedBy(reader: Reader, userId: UserId, now: number): Promise<number> {
  return (await reader.get(RESERVED, userId, now))?.reserved ?? 0;
}

/** Gives a reserved media its bytes; false where it has some already, or was not uploaded in time. */
export async function fill(tx: Tx, nid: number, content: Content, now: number): Promise<boolean> {
  const { sha256, size, contentType } = content;
  const changed = await tx.run(
    FILL,
    ...[sha256, size, contentType, nameColumn(content), now, sha256, nid, now],
  );
  return changed === 1;
}

/** Removes ids that were reserved and not used in time; answers how many, at most `limit`. */
export async function removeExpired(tx: Tx, now: number, limit: number): Promise<number> {
  return tx.run(REMOVE_EXPIRED, now, limit);
}

/** Notes that a media was read. */
export async function touch(tx: Tx, nid: number, now: number): Promise<void> {
  await tx.run(TOUCH, now, nid);
}

/** What is kept of other servers and was not read since `before`, the longest unread first. */
export async function leastUsed(reader: Reader, before: number, limit: number): Promise<Media[]> {
  return (await reader.all(LEAST_USED, before, limit)).map(fromRow);
}

/** A place among media in the order in which they were last read. */
export interface UseCursor {
  readonly accessedTs: number;
  readonly nid: number;
}

/**
 * What users of ours uploaded and nobody has read since `before`, the longest unread first, after the cursor; without
 * what is protected or in quarantine.
 */
export async function ownUnused(
  reader: Reader,
  { accessedTs, nid }: UseCursor,
  before: number,
  limit: number,
): Promise<Media[]> {
  return (await reader.all(OWN_UNUSED, accessedTs, nid, before, limit)).map(fromRow);
}

/** As `ownUnused`: what was uploaded before a time, in the order in which it came. */
export async function ownOld(
  reader: Reader,
  { nid }: Pick<UseCursor, 'nid'>,
  before: number,
  limit: number,
): Promise<Media[]> {
  return (await reader.all(OWN_OLD, nid, before, limit)).map(fromRow);
}

/** What a user of ours has uploaded, in the order in which it came, after one of them. */
export async function ofUser(reader: Reader, userId: UserId, after: number, limit: number): Promise<Media[]> {
  return (await reader.all(OF_USER, userId, after, limit)).map(fromRow);
}

/** Protects a media, since `now`, or, by undefined, ends that. */
export async function protect(tx: Tx, nid: number, now: number | undefined): Promise<void> {
  await tx.run(PROTECT, now ?? null, nid);
}

/** Forgets a media; false where it is gone already. */
export async function remove(tx: Tx, nid: number): Promise<boolean> {
  return (await tx.run(REMOVE, nid)) === 1;
}

/** Those of the files that some media has as its bytes. */
export async function held(reader: Reader, files: Iterable<string>): Promise<ReadonlySet<string>> {
  const rows = await reader.all(HELD, anyOf(files));
  return new Set(rows.map((row) => row.sha256));
}

/**
 * Withholds a media and all that has the same bytes, now and later. One of another server may be unknown yet; false
 * for an unknown one of our own.
 */
export async function quarantine(
  tx: Tx,
  mxc: Mxc,
  { serverName, now }: { readonly serverName: ServerName; readonly now: number },
): Promise<boolean> {
  const known = await of(tx, mxc);
  if (known?.sha256 !== undefined) await tx.run(QUARANTINE_BYTES, now, known.sha256);
  else if (known !== undefined) await tx.run(QUARANTINE, now, known.nid);
  else if (mxc.server === serverName) return false;
  else await tx.run(QUARANTINE_UNSEEN, mxc.server, mxc.mediaId, now, now, now);
  return true;
}

/** Withholds all that has these bytes, now and later. */
export async function quarantineFile(tx: Tx, sha256: string, now: number): Promise<void> {
  await tx.run(QUARANTINE_BYTES, now, sha256);
}

/** The reverse of `quarantine`; false where the media is not in quarantine. */
export async function release(tx: Tx, mxc: Mxc): Promise<boolean> {
  const known = await of(tx, mxc);
  if (known === undefined || !known.isQuarantined) return false;
  if (known.sha256 !== undefined) await tx.run(RELEASE_BYTES, known.sha256);
  // What was never seen is to be fetched when it is asked for.
  else if (known.userId === undefined) await tx.run(REMOVE, known.nid);
  else await tx.run(RELEASE, known.nid);
  return true;
}

function nameColumn({ uploadName }: Content): string | null {
  return uploadName === undefined ? null : textColumn(uploadName);
}

function fromRow(row: Row): Media {
  return {
    nid: row.media_nid,
    server: row.server_name,
    mediaId: row.media_id,
    userId: row.user_id ?? undefined,
    sha256: row.sha256 ?? undefined,
    size: row.size,
    contentType: row.content_type,
    uploadName: row.upload_name === null ? undefined : fromTextColumn(row.upload_name),
    expiresTs: row.expires_ts ?? undefined,
    createdTs: row.created_ts,
    accessedTs: row.accessed_ts,
    isQuarantined: row.quarantined_ts !== null,
    isProtected: row.protected_ts !== null,
  };
}

/** Previews of pages of the web, kept for a while. */

import type { Reader, Tx } from './database.ts';
import { sql } from './sql.ts';

/** A preview as it is kept. */
export interface KeptPreview {
  /** A JSON object: what clients get, without the picture. */
  readonly preview: string;
  /** The media id of the picture, and what is said of it, a JSON object. */
  readonly picture: { readonly mediaId: string; readonly about: string } | undefined;
  /** In milliseconds since 1970. */
  readonly createdTs: number;
}

interface Row {
  preview: string;
  media_id: string | null;
  picture: string | null;
  created_ts: number;
}

const OF = sql<[string], Row>(
  'urlPreviews.of',
  'SELECT preview, media_id, picture, created_ts FROM url_previews WHERE url_sha256 = ?',
);
const PUT = sql<[string, string, string | null, string | null, number]>(
  'urlPreviews.put',
  `INSERT INTO url_previews (url_sha256, preview, media_id, picture, created_ts) VALUES (?, ?, ?, ?, ?)
   ON CONFLICT (url_sha256) DO UPDATE SET preview = excluded.preview, media_id = excluded.media_id,
     picture = excluded.picture, created_ts = excluded.created_ts`,
);
const FORGET_SURPLUS = sql<[number, number]>(
  'urlPreviews.forgetSurplus',
  `DELETE FROM url_previews WHERE url_sha256 IN (SELECT p.url_sha256 FROM url_previews p
     ORDER BY p.created_ts DESC, p.url_sha256 DESC LIMIT ? OFFSET ?)`,
);
const REMOVE_BEFORE = sql<[number, number]>(
  'urlPreviews.removeBefore',
  `DELETE FROM url_previews WHERE url_sha256 IN (SELECT p.url_sha256 FROM url_previews p
     WHERE p.created_ts < ? ORDER BY p.created_ts, p.url_sha256 LIMIT ?)`,
);

/** As many as one is added after another: there is hardly ever more than one too many. */
const SURPLUS_AT_ONCE = 10;

/** The preview of an address, by its SHA-256. */
export async function of(reader: Reader, urlSha256: string): Promise<KeptPreview | undefined> {
  const row = await reader.get(OF, urlSha256);
  if (row === undefined) return undefined;
  const { preview, media_id: mediaId, picture: about, created_ts: createdTs } = row;
  const picture = mediaId === null || about === null ? undefined : { mediaId, about };
  return { preview, picture, createdTs };
}

/** Keeps a preview in the place of an earlier one; of all of them the newest `most`. */
export async function put(tx: Tx, urlSha256: string, kept: KeptPreview, most: number): Promise<void> {
  const { preview, picture, createdTs } = kept;
  await tx.run(PUT, urlSha256, preview, picture?.mediaId ?? null, picture?.about ?? null, createdTs);
  await tx.run(FORGET_SURPLUS, SURPLUS_AT_ONCE, most);
}

/** Removes what was kept before a time; answers how many, at most `limit`. */
export async function removeBefore(tx: Tx, before: number, limit: number): Promise<number> {
  return tx.run(REMOVE_BEFORE, before, limit);
}

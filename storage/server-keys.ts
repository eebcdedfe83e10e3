import { encodeCanonical, parseLoose } from '#keys/canonical-json.ts';
import type { KeyId, ServerName } from '#keys/ids.ts';
import { isObject } from '#keys/json.ts';
import type { ServerKey, ServerKeys } from '#keys/server-key-document.ts';
import type { Reader, Tx } from './database.ts';
import { sql } from './sql.ts';

interface Row {
  keys: string;
  document: string;
  valid_until_ts: number;
  /** 0 where it is unknown. */
  fetched_ts: number;
}

/** A key as it stands in the column `keys`. */
type StoredKey = readonly [keyId: KeyId, publicKey: string, expiredTs: number | null];

const GET = sql<[string], Row>(
  'serverKeys.get',
  'SELECT keys, document, valid_until_ts, fetched_ts FROM server_keys WHERE server = ?',
);
const SET = sql<[string, string, string, number, number]>(
  'serverKeys.set',
  `INSERT INTO server_keys (server, keys, document, valid_until_ts, fetched_ts) VALUES (?, ?, ?, ?, ?)
   ON CONFLICT (server) DO UPDATE SET keys = excluded.keys, document = excluded.document,
     valid_until_ts = excluded.valid_until_ts, fetched_ts = excluded.fetched_ts`,
);

/** What was stored of a server's keys, verified when it was fetched. */
export async function of(reader: Reader, server: ServerName): Promise<ServerKeys | undefined> {
  const row = await reader.get(GET, server);
  if (row === undefined) return undefined;
  const document = parseLoose(row.document);
  if (document.kind === 'invalid' || !isObject(document.value)) {
    throw new Error(`the stored key document of ${server} is not a JSON object`);
  }
  return {
    serverName: server,
    validUntilTs: row.valid_until_ts,
    keys: new Map((JSON.parse(row.keys) as StoredKey[]).map(keyOf)),
    document: document.value,
    ...(row.fetched_ts !== 0 && { fetchedTs: row.fetched_ts }),
  };
}

/** Stores a server's keys in place of what was stored before. */
export async function set(tx: Tx, keys: ServerKeys): Promise<void> {
  const stored = [...keys.keys].map(
    ([keyId, key]): StoredKey => [keyId, key.publicKey, key.expiredTs ?? null],
  );
  const document = encodeCanonical(keys.document);
  await tx.run(
    SET,
    keys.serverName,
    JSON.stringify(stored),
    document,
    keys.validUntilTs,
    keys.fetchedTs ?? 0,
  );
}

function keyOf([keyId, publicKey, expiredTs]: StoredKey): [KeyId, ServerKey] {
  return [keyId, expiredTs === null ? { publicKey } : { publicKey, expiredTs }];
}

import type { Reader, Tx } from './database.ts';
import { Lru } from './lru.ts';
import { anyOf, sql } from './sql.ts';
import { stateKeyText } from './state-key-text.ts';
import { fromTextColumn, textColumn } from './text-column.ts';

/** What a piece of room state is found by. */
export interface StateKey {
  readonly type: string;
  readonly stateKey: string;
}

interface StateKeyRow {
  state_key_nid: number;
  type: string;
  state_key: string;
}

const OF_TYPE = sql<[string, string], StateKeyRow>(
  'stateKeys.ofType',
  `SELECT state_key_nid, type, state_key FROM state_keys
   WHERE type = ? AND state_key {anyOf} ORDER BY state_key_nid`,
);

const BY_KEY = sql<[string, string], StateKeyRow>(
  'stateKeys.byKey',
  'SELECT state_key_nid, type, state_key FROM state_keys WHERE type = ? AND state_key = ?',
);

const BY_NIDS = sql<[string], StateKeyRow>(
  'stateKeys.byNids',
  `SELECT state_key_nid, type, state_key FROM state_keys
   WHERE state_key_nid {anyInt} ORDER BY state_key_nid`,
);

const INSERT = sql<[string, string], { state_key_nid: number }>(
  'stateKeys.insert',
  `INSERT INTO state_keys (type, state_key) VALUES (?, ?)
   ON CONFLICT (type, state_key) DO UPDATE SET type = excluded.type
   RETURNING state_key_nid`,
);

const INSERT_OF_EVENTS = sql<[string]>(
  'stateKeys.insertOfEvents',
  `INSERT INTO state_keys (type, state_key)
   SELECT type, state_key FROM events WHERE event_nid {anyInt} AND state_key IS NOT NULL ORDER BY event_nid
   ON CONFLICT (type, state_key) DO NOTHING`,
);

const OF_EVENTS = sql<[string], { event_nid: number; state_key_nid: number }>(
  'stateKeys.ofEvents',
  `SELECT e.event_nid, k.state_key_nid FROM events e
   JOIN state_keys k ON k.type = e.type AND k.state_key = e.state_key
   WHERE e.event_nid {anyInt} ORDER BY e.event_nid`,
);

const CACHED_KEYS = 20_000;

interface Cache {
  readonly nids: Lru<string, number>;
  readonly keys: Lru<number, StateKey>;
}

/** What was read outside transactions, for each database. Rows never change, so an entry stays true. */
const caches = new WeakMap<Reader, Cache>();

/** The numeric id of a state key, made where it is new. */
export async function nidOf(tx: Tx, type: string, stateKey: string): Promise<number> {
  const [nid] = await nidsOf(tx, [{ type, stateKey }]);
  if (nid === undefined) throw new Error('a state key got no numeric id');
  return nid;
}

/** The numeric ids of state keys, in their order, made where they are new. */
export async function nidsOf(tx: Tx, keys: readonly StateKey[]): Promise<number[]> {
  const found = new Map<string, number>();
  await readNids(tx, keys, found);
  const nids: number[] = [];
  for (const key of keys) {
    const text = textOf(key);
    // One statement each: no list of pairs can be inserted in a text that both databases take.
    const nid = found.get(text) ?? (await insert(tx, key));
    found.set(text, nid);
    nids.push(nid);
  }
  return nids;
}

/** The numeric ids of the state keys of stored state events, by those of the events; made where they are new. */
export async function nidsOfEvents(
  tx: Tx,
  eventNids: Iterable<number>,
): Promise<ReadonlyMap<number, number>> {
  const list = anyOf(eventNids);
  await tx.run(INSERT_OF_EVENTS, list);
  const rows = await tx.all(OF_EVENTS, list);
  return new Map(rows.map((row) => [row.event_nid, row.state_key_nid]));
}

/** The numeric ids of state keys, in their order; undefined for a key that no event ever had. */
export async function findNids(reader: Reader, keys: readonly StateKey[]): Promise<(number | undefined)[]> {
  const cache = cacheOf(reader);
  const found = new Map<string, number>();
  const missing: StateKey[] = [];
  for (const key of keys) {
    const nid = cache?.nids.get(textOf(key));
    if (nid === undefined) missing.push(key);
    else found.set(textOf(key), nid);
  }
  if (missing.length > 0) {
    await readNids(reader, missing, found);
    for (const key of missing) {
      const nid = found.get(textOf(key));
      if (nid !== undefined) cache?.nids.set(textOf(key), nid);
    }
  }
  return keys.map((key) => found.get(textOf(key)));
}

/** The state keys that numeric ids stand for; an unknown id is absent from the answer. */
export async function keysOf(reader: Reader, nids: Iterable<number>): Promise<ReadonlyMap<number, StateKey>> {
  const cache = cacheOf(reader);
  const found = new Map<number, StateKey>();
  const missing: number[] = [];
  for (const nid of nids) {
    const key = cache?.keys.get(nid);
    if (key === undefined) missing.push(nid);
    else found.set(nid, key);
  }
  if (missing.length === 0) return found;
  for (const row of await reader.all(BY_NIDS, anyOf(missing))) {
    const key = { type: fromTextColumn(row.type), stateKey: fromTextColumn(row.state_key) };
    found.set(row.state_key_nid, key);
    cache?.keys.set(row.state_key_nid, key);
  }
  return found;
}

async function readNids(
  reader: Reader,
  keys: readonly StateKey[],
  found: Map<string, number>,
): Promise<void> {
  for (const [type, ofType] of Map.groupBy(keys, (key) => key.type)) {
    const stateKeys = ofType.map((key) => textColumn(key.stateKey));
    // One query for each type: a state has few types and many members.
    const rows = await rowsOf(reader, textColumn(type), stateKeys);
    for (const row of rows)
      found.set(textOf({ type, stateKey: fromTextColumn(row.state_key) }), row.state_key_nid);
  }
}

async function rowsOf(reader: Reader, type: string, stateKeys: readonly string[]): Promise<StateKeyRow[]> {
  const [first, second] = stateKeys;
  if (first === undefined || second !== undefined) return reader.all(OF_TYPE, type, anyOf(stateKeys));
  const row = await reader.get(BY_KEY, type, first);
  return row === undefined ? [] : [row];
}

async function insert(tx: Tx, key: StateKey): Promise<number> {
  const row = await tx.get(INSERT, textColumn(key.type), textColumn(key.stateKey));
  if (row === undefined) throw new Error('a state key got no numeric id');
  return row.state_key_nid;
}

function cacheOf(reader: Reader): Cache | undefined {
  // A transaction sees rows that may yet be undone: it reads past the cache.
  if ('run' in reader) return undefined;
  let cache = caches.get(reader);
  if (cache === undefined) {
    cache = { nids: new Lru({ maxEntries: CACHED_KEYS }), keys: new Lru({ maxEntries: CACHED_KEYS }) };
    caches.set(reader, cache);
  }
  return cache;
}

function textOf({ type, stateKey }: StateKey): string {
  return stateKeyText(type, stateKey);
}

import type { Reader, Tx } from './database.ts';
import { Lru } from './lru.ts';
import { anyOf, sql } from './sql.ts';
import {
  type Draft,
  EMPTY,
  inTrieOrder,
  isBranch,
  type Leaf,
  pack,
  partOf,
  slotOf,
  type TrieNode,
  unpack,
  valueIn,
  withChanges,
} from './state-trie.ts';

/** A room's state at some point: the node_nid of the root of a persistent trie; 0 is the empty state. */
export type StateGroup = number;

/** A state key whose event differs between two states; undefined where a state has none. */
export interface StateDifference {
  readonly key: number;
  readonly a: number | undefined;
  readonly b: number | undefined;
}

interface NodeRow {
  node_nid: number;
  bytes: Uint8Array;
}

const BY_NIDS = sql<[string], NodeRow>(
  'stateNodes.byNids',
  'SELECT node_nid, bytes FROM state_nodes WHERE node_nid {anyInt} ORDER BY node_nid',
);

/** Reading one node, as a join does at each level, costs a third of reading a list of one. */
const BY_NID = sql<[number], NodeRow>(
  'stateNodes.byNid',
  'SELECT node_nid, bytes FROM state_nodes WHERE node_nid = ?',
);

const INSERT = sql<[Uint8Array], { node_nid: number }>(
  'stateNodes.insert',
  'INSERT INTO state_nodes (bytes) VALUES (?) RETURNING node_nid',
);

const DELETE = sql<[string]>(
  'stateNodes.delete',
  `DELETE FROM state_nodes
   WHERE node_nid {anyInt} AND node_nid < (SELECT MAX(n.node_nid) FROM state_nodes n)`,
);

/** Of decoded nodes, in bytes of memory, roughly: the states of some 500 rooms of 1,000 members. */
const CACHE_BYTES = 16 * 1024 * 1024;
const CACHED_NODES = 100_000;
/** How many nodes of a level to read and walk before others may have a turn. */
const NODES_AT_ONCE = 256;

/**
 * Decoded nodes read outside transactions, for each database. Nodes never change, and their ids are never given to
 * others, so an entry stays true: SQLite would give the id of the newest node again, which is therefore not deleted.
 */
const caches = new WeakMap<Reader, Lru<number, TrieNode>>();

/**
 * Writes the state that `changes` makes of the state `base`: state_key_nid to event_nid, or to undefined where
 * the key goes. Writes only the nodes on the paths to the changes; answers `base` where nothing changes.
 */
export async function apply(
  tx: Tx,
  base: StateGroup,
  changes: ReadonlyMap<number, number | undefined>,
): Promise<StateGroup> {
  if (changes.size === 0) return base;
  const nodes = await pathsTo(tx, [base], [...changes.keys()]);
  return write(tx, withChanges(nodes, base, changes));
}

/**
 * Cuts changes into parts to `apply` one after the other, in transactions of their own: of the nodes that one part
 * writes the next replaces only those near the root.
 */
export function* inParts(
  changes: ReadonlyMap<number, number | undefined>,
  length: number,
): Generator<ReadonlyMap<number, number | undefined>> {
  const keys = inTrieOrder([...changes.keys()]);
  for (let from = 0; from < keys.length; from += length) {
    yield new Map(keys.slice(from, from + length).map((key) => [key, changes.get(key)]));
  }
}

/**
 * The whole state: state_key_nid to event_nid. Reads the trie level by level, and `rest`s after each few
 * milliseconds of work.
 */
export async function load(
  reader: Reader,
  group: StateGroup,
  rest?: () => Promise<void>,
): Promise<ReadonlyMap<number, number>> {
  const state = new Map<number, number>();
  let level = group === 0 ? [] : [group];
  while (level.length > 0) {
    const below: number[] = [];
    for (let from = 0; from < level.length; from += NODES_AT_ONCE) {
      const nodes = await read(reader, level.slice(from, from + NODES_AT_ONCE));
      for (const node of nodes.values()) {
        if (isBranch(node)) below.push(...node.children.filter((child) => child !== 0));
        else for (const [index, key] of node.keys.entries()) state.set(key, node.values[index] ?? 0);
      }
      await rest?.();
    }
    level = below;
  }
  return state;
}

/** The events under some keys of a state; a key that the state lacks is absent from the answer. */
export async function get(
  reader: Reader,
  group: StateGroup,
  keys: readonly number[],
): Promise<ReadonlyMap<number, number>> {
  return valuesIn(await pathsTo(reader, [group], keys), group, keys);
}

/** `get` for many states at once, with no more queries than for one. */
export async function getMany(
  reader: Reader,
  groups: Iterable<StateGroup>,
  keys: readonly number[],
): Promise<ReadonlyMap<StateGroup, ReadonlyMap<number, number>>> {
  const roots = [...new Set(groups)];
  const nodes = await pathsTo(reader, roots, keys);
  return new Map(roots.map((root) => [root, valuesIn(nodes, root, keys)]));
}

/**
 * The keys under which two states differ, in ascending order. Skips what the two share, so that the cost goes
 * with the difference and not with the size of the states. `rest`s after each few milliseconds of work.
 */
export async function difference(
  reader: Reader,
  a: StateGroup,
  b: StateGroup,
  rest?: () => Promise<void>,
): Promise<StateDifference[]> {
  const found: StateDifference[] = [];
  let pairs: Pair[] = a === b ? [] : [{ a, b }];
  for (let depth = 0; pairs.length > 0; depth++) {
    const below: Pair[] = [];
    for (let from = 0; from < pairs.length; from += NODES_AT_ONCE) {
      const portion = pairs.slice(from, from + NODES_AT_ONCE);
      const sides = portion.flatMap((pair) => [pair.a, pair.b]);
      const nodes = await read(
        reader,
        sides.filter((side) => typeof side === 'number'),
      );
      for (const pair of portion) {
        compare(nodeOf(nodes, pair.a), nodeOf(nodes, pair.b), { depth, below, found });
      }
      await rest?.();
    }
    pairs = below;
  }
  return found.sort((x, y) => x.key - y.key);
}

/**
 * Deletes the nodes of some states, at most `most` of them: all that they share with other states too, which must be
 * such as are deleted as well. Children go before their parents, so that what a missing node led to is gone with it.
 * Answers how many were deleted, and whether that is all.
 */
export async function free(
  tx: Tx,
  groups: readonly StateGroup[],
  most: number,
): Promise<{ readonly deleted: number; readonly done: boolean }> {
  const deleted = await freeUnder(tx, groups, most);
  return { deleted, done: deleted < most };
}

/** Deletes the nodes, and what is below each before it; less than `most` where that was all. */
async function freeUnder(tx: Tx, nids: readonly number[], most: number): Promise<number> {
  let deleted = 0;
  const empty: number[] = [];
  for (const row of await rowsOf(tx, new Set(nids))) {
    const node = unpack(row.bytes);
    // One after the other, so as not to hold more than one path.
    if (isBranch(node))
      deleted += await freeUnder(
        tx,
        node.children.filter((child) => child !== 0),
        most - deleted - empty.length,
      );
    if (deleted + empty.length >= most) break;
    empty.push(row.node_nid);
  }
  if (empty.length > 0) await tx.run(DELETE, anyOf(empty));
  return deleted + empty.length;
}

/** Either the node_nid of a subtrie, 0 where it is empty, or the part of a leaf that stands in its place. */
type Side = number | Leaf;

interface Pair {
  readonly a: Side;
  readonly b: Side;
}

function nodeOf(nodes: ReadonlyMap<number, TrieNode>, side: Side): TrieNode {
  if (typeof side !== 'number') return side;
  return nodes.get(side) ?? EMPTY;
}

/** Collects the differences of two leaves; otherwise the pairs of children that are to be compared next. */
function compare(
  a: TrieNode,
  b: TrieNode,
  into: { readonly depth: number; readonly below: Pair[]; readonly found: StateDifference[] },
): void {
  if (!isBranch(a) && !isBranch(b)) {
    for (const key of new Set([...a.keys, ...b.keys])) {
      const difference = { key, a: valueIn(a, key), b: valueIn(b, key) };
      if (difference.a !== difference.b) into.found.push(difference);
    }
    return;
  }
  const width = isBranch(a) ? a.children.length : isBranch(b) ? b.children.length : 0;
  for (let slot = 0; slot < width; slot++) {
    const pair = { a: childOf(a, slot, into.depth), b: childOf(b, slot, into.depth) };
    if (pair.a !== pair.b) into.below.push(pair);
  }
}

function childOf(node: TrieNode, slot: number, depth: number): Side {
  if (isBranch(node)) return node.children[slot] ?? 0;
  const part = partOf(node, slot, depth);
  return part.keys.length === 0 ? 0 : part;
}

/** The nodes on the paths from some roots to some keys, level by level. */
async function pathsTo(
  reader: Reader,
  roots: readonly StateGroup[],
  keys: readonly number[],
): Promise<ReadonlyMap<number, TrieNode>> {
  const paths = new Map<number, TrieNode>();
  let level: ReadonlyMap<number, readonly number[]> = new Map(roots.map((root) => [root, keys]));
  for (let depth = 0; level.size > 0; depth++) {
    const nodes = await read(reader, [...level.keys()]);
    // Two states may share a node below: the keys on the way to it are the same for both.
    const below = new Map<number, readonly number[]>();
    for (const [nid, node] of nodes) {
      paths.set(nid, node);
      if (!isBranch(node)) continue;
      const bySlot = Map.groupBy(level.get(nid) ?? [], (key) => slotOf(key, depth));
      for (const [slot, inSlot] of bySlot) below.set(node.children[slot] ?? 0, inSlot);
    }
    below.delete(0);
    level = below;
  }
  return paths;
}

function valuesIn(
  nodes: ReadonlyMap<number, TrieNode>,
  root: StateGroup,
  keys: readonly number[],
): ReadonlyMap<number, number> {
  const found = new Map<number, number>();
  for (const key of keys) {
    let node = nodes.get(root);
    for (let depth = 0; node !== undefined && isBranch(node); depth++) {
      node = nodes.get(node.children[slotOf(key, depth)] ?? 0);
    }
    const value = node && !isBranch(node) ? valueIn(node, key) : undefined;
    if (value !== undefined) found.set(key, value);
  }
  return found;
}

/** Nodes by their ids (0 is left out). Throws where one is missing: then the database is damaged. */
async function read(reader: Reader, nids: readonly number[]): Promise<ReadonlyMap<number, TrieNode>> {
  const cache = cacheOf(reader);
  const nodes = new Map<number, TrieNode>();
  const missing = new Set<number>();
  for (const nid of nids) {
    const node = cache?.get(nid);
    if (node !== undefined) nodes.set(nid, node);
    else if (nid !== 0) missing.add(nid);
  }
  if (missing.size === 0) return nodes;
  for (const row of await rowsOf(reader, missing)) {
    const node = unpack(row.bytes);
    nodes.set(row.node_nid, node);
    missing.delete(row.node_nid);
    cache?.set(row.node_nid, node);
  }
  if (missing.size > 0) throw new Error(`${missing.size} nodes of a state are missing`);
  return nodes;
}

async function rowsOf(reader: Reader, nids: ReadonlySet<number>): Promise<NodeRow[]> {
  const [first, second] = nids;
  if (first === undefined || second !== undefined) return reader.all(BY_NIDS, anyOf(nids));
  const row = await reader.get(BY_NID, first);
  return row === undefined ? [] : [row];
}

/** Writes a draft's new nodes, children first, and answers the node_nid of its root. */
async function write(tx: Tx, draft: Draft): Promise<number> {
  if (typeof draft === 'number') return draft;
  if (!('drafts' in draft)) return insert(tx, draft);
  const children: number[] = [];
  // One after the other: a branch holds the ids of its children.
  for (const child of draft.drafts) children.push(typeof child === 'number' ? child : await write(tx, child));
  return insert(tx, { children });
}

async function insert(tx: Tx, node: TrieNode): Promise<number> {
  const row = await tx.get(INSERT, pack(node));
  if (row === undefined) throw new Error('a state node got no numeric id');
  return row.node_nid;
}

function cacheOf(reader: Reader): Lru<number, TrieNode> | undefined {
  // A transaction sees nodes that may yet be undone, whose ids then go to others: it reads past the cache.
  if ('run' in reader) return undefined;
  let cache = caches.get(reader);
  if (cache === undefined) {
    cache = new Lru({ maxEntries: CACHED_NODES, maxWeight: CACHE_BYTES, weigh: weightOf });
    caches.set(reader, cache);
  }
  return cache;
}

function weightOf(node: TrieNode): number {
  return 128 + 8 * (isBranch(node) ? node.children.length : 2 * node.keys.length);
}

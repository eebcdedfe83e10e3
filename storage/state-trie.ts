/**
 * The shape of a room's state: a persistent trie from state_key_nid to event_nid, as pure functions.
 *
 * A branch has 16 children, chosen by 4 bits of the key, the lowest first; a leaf holds up to 32 pairs with
 * their whole keys. Nodes never change: a new state writes only the nodes on the paths to what changed and
 * shares the rest. Two states that share a node therefore hold the same pairs below it.
 */

const BITS = 4;
const WIDTH = 2 ** BITS;
const LEAF_CAPACITY = 32;
/** What a key is divided by at each depth: 4 bits each, as long as it is a safe integer. */
const DIVISORS = Array.from({ length: 14 }, (_, depth) => WIDTH ** depth);

/** Pairs in ascending order of their keys. */
export interface Leaf {
  readonly keys: readonly number[];
  readonly values: readonly number[];
}

export const EMPTY: Leaf = { keys: [], values: [] };

/** The node_nid of each of the 16 children, 0 where there is none. */
export interface Branch {
  readonly children: readonly number[];
}

export type TrieNode = Leaf | Branch;

/** A node to be written; a number is the node_nid of one that exists, 0 the empty trie. */
export type Draft = number | Leaf | { readonly drafts: readonly Draft[] };

/** For each key its new value, or undefined where the key goes. */
export type Changes = ReadonlyMap<number, number | undefined>;

export function isBranch(node: TrieNode): node is Branch {
  return 'children' in node;
}

/** Which child of a branch at `depth` (0 is the root) leads to `key`. */
export function slotOf(key: number, depth: number): number {
  return Math.floor(key / (DIVISORS[depth] ?? Number.POSITIVE_INFINITY)) % WIDTH;
}

/**
 * The trie under `nid` with the changes applied. `nodes` holds every existing node on the paths to the changed
 * keys. Answers `nid` itself where nothing changes.
 */
export function withChanges(
  nodes: ReadonlyMap<number, TrieNode>,
  nid: number,
  changes: Changes,
  depth = 0,
): Draft {
  const node = nid === 0 ? EMPTY : nodes.get(nid);
  if (node === undefined) throw new Error(`the state node ${nid} was not loaded`);
  if (!isBranch(node)) return leafWithChanges(node, nid, changes, depth);
  const bySlot = new Map<number, Map<number, number | undefined>>();
  for (const [key, value] of changes) {
    const slot = slotOf(key, depth);
    const inSlot = bySlot.get(slot);
    if (inSlot === undefined) bySlot.set(slot, new Map([[key, value]]));
    else inSlot.set(key, value);
  }
  const drafts: Draft[] = [...node.children];
  for (const [slot, inSlot] of bySlot) {
    drafts[slot] = withChanges(nodes, node.children[slot] ?? 0, inSlot, depth + 1);
  }
  if (drafts.every((draft, slot) => draft === node.children[slot])) return nid;
  return drafts.every((draft) => draft === 0) ? 0 : { drafts };
}

/** Different keys in the order of the leaves that they lie in, so that those of a few leaves follow each other. */
export function inTrieOrder(keys: readonly number[]): number[] {
  const greatest = keys.reduce((a, b) => Math.max(a, b), 0);
  const digits = DIVISORS.filter((divisor) => divisor <= greatest).length;
  // The lowest digit of a key decides first: read backwards they are in the order of numbers.
  const backwards = Float64Array.from(keys, (key) => readBackwards(key, digits)).sort();
  return Array.from(backwards, (key) => readBackwards(key, digits));
}

/** The number whose digits, one for each depth, are those of `key` in the opposite order. */
function readBackwards(key: number, digits: number): number {
  let [rest, read] = [key, 0];
  for (let digit = 0; digit < digits; digit++) {
    read = read * WIDTH + (rest % WIDTH);
    rest = Math.floor(rest / WIDTH);
  }
  if (!Number.isSafeInteger(read)) throw new RangeError(`${key} is no numeric id`);
  return read;
}

/** The part of a leaf whose keys lie in one slot of a branch at `depth`. */
export function partOf(leaf: Leaf, slot: number, depth: number): Leaf {
  const keys: number[] = [];
  const values: number[] = [];
  for (const [index, key] of leaf.keys.entries()) {
    if (slotOf(key, depth) !== slot) continue;
    keys.push(key);
    values.push(leaf.values[index] ?? 0);
  }
  return { keys, values };
}

/** The value of `key` in a leaf. */
export function valueIn(leaf: Leaf, key: number): number | undefined {
  const index = leaf.keys.indexOf(key);
  return index < 0 ? undefined : leaf.values[index];
}

/**
 * The bytes of a node, as variable-length integers: for a leaf its number of pairs shifted left, the
 * differences of its keys, its values; for a branch the bitmap of its children shifted left with a 1 in the
 * lowest bit, then the children that exist.
 */
export function pack(node: TrieNode): Uint8Array {
  const bytes: number[] = [];
  if (isBranch(node)) {
    let bitmap = 0;
    for (const [slot, child] of node.children.entries()) if (child !== 0) bitmap |= 1 << slot;
    pushInteger(bytes, bitmap * 2 + 1);
    for (const child of node.children) if (child !== 0) pushInteger(bytes, child);
  } else {
    pushInteger(bytes, node.keys.length * 2);
    let before = 0;
    for (const key of node.keys) {
      pushInteger(bytes, key - before);
      before = key;
    }
    for (const value of node.values) pushInteger(bytes, value);
  }
  return Uint8Array.from(bytes);
}

/** The node that `pack` wrote. Throws where the bytes are cut short or too many. */
export function unpack(bytes: Uint8Array): TrieNode {
  const reading = { bytes, at: 0 };
  const head = nextInteger(reading);
  const node = head % 2 === 1 ? unpackBranch(reading, Math.floor(head / 2)) : unpackLeaf(reading, head / 2);
  if (reading.at !== bytes.length) throw new Error('a state node has bytes left over');
  return node;
}

function leafWithChanges(leaf: Leaf, nid: number, changes: Changes, depth: number): Draft {
  const pairs = new Map<number, number>();
  for (const [index, key] of leaf.keys.entries()) pairs.set(key, leaf.values[index] ?? 0);
  let changed = false;
  for (const [key, value] of changes) {
    if (pairs.get(key) === value) continue;
    changed = true;
    if (value === undefined) pairs.delete(key);
    else pairs.set(key, value);
  }
  if (!changed) return nid;
  const keys = [...pairs.keys()].sort((a, b) => a - b);
  return draftOf({ keys, values: keys.map((key) => pairs.get(key) ?? 0) }, depth);
}

function draftOf(leaf: Leaf, depth: number): Draft {
  if (leaf.keys.length === 0) return 0;
  if (leaf.keys.length <= LEAF_CAPACITY) return leaf;
  const parts = Array.from({ length: WIDTH }, (): { keys: number[]; values: number[] } => ({
    keys: [],
    values: [],
  }));
  for (const [index, key] of leaf.keys.entries()) {
    const part = parts[slotOf(key, depth)];
    part?.keys.push(key);
    part?.values.push(leaf.values[index] ?? 0);
  }
  return { drafts: parts.map((part) => draftOf(part, depth + 1)) };
}

function unpackBranch(reading: Reading, bitmap: number): Branch {
  const children: number[] = [];
  for (let slot = 0; slot < WIDTH; slot++) children.push(bitmap & (1 << slot) ? nextInteger(reading) : 0);
  return { children };
}

function unpackLeaf(reading: Reading, count: number): Leaf {
  const keys: number[] = [];
  const values: number[] = [];
  let key = 0;
  for (let index = 0; index < count; index++) {
    key += nextInteger(reading);
    keys.push(key);
  }
  for (let index = 0; index < count; index++) values.push(nextInteger(reading));
  return { keys, values };
}

interface Reading {
  readonly bytes: Uint8Array;
  at: number;
}

function pushInteger(bytes: number[], value: number): void {
  if (!Number.isSafeInteger(value) || value < 0) throw new RangeError(`${value} is no numeric id`);
  let rest = value;
  while (rest > 127) {
    bytes.push((rest % 128) + 128);
    rest = Math.floor(rest / 128);
  }
  bytes.push(rest);
}

function nextInteger(reading: Reading): number {
  let value = 0;
  for (let factor = 1; ; factor *= 128) {
    const byte = reading.bytes[reading.at++];
    if (byte === undefined) throw new Error('a state node is cut short');
    value += (byte % 128) * factor;
    if (byte < 128) return value;
  }
}

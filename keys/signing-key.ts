/**
 * Our own signing key in its file. Whoever holds it is this server, so it is made once and never again over a
 * file that exists.
 *
 * The file has one key a line. The first is what Synapse writes too:
 *
 *     ed25519 a_Xy12 <seed in unpadded Base64>
 *     old ed25519 a_Ab34 <public key in unpadded Base64> <when it expired, in milliseconds>
 *
 * Empty lines, and those that start with `#`, do not count.
 */

import { randomInt } from 'node:crypto';
import { constants, type FileHandle, open, rename, rm, stat } from 'node:fs/promises';
import { dirname } from 'node:path';
import { decodeBase64, encodeBase64 } from './base64.ts';
import {
  generateSeed,
  isEd25519KeyId,
  keyPairFromSeed,
  type PublicKey,
  publicKeyFrom,
  type SigningKeyPair,
} from './ed25519.ts';
import type { KeyId } from './ids.ts';

/** A key that we signed with until `expiredTs` (milliseconds). */
export interface OldKey {
  readonly keyId: KeyId;
  /** Unpadded Base64. */
  readonly publicKey: string;
  readonly expiredTs: number;
}

/** The key that we sign with, and those that we signed with before. */
export interface SigningKey {
  readonly keyPair: SigningKeyPair;
  readonly oldKeys: readonly OldKey[];
}

/** The key of a running server. Whoever holds it signs with the new key from the moment of a rotation. */
export class LiveSigningKey implements SigningKey {
  #current: SigningKey;

  constructor(current: SigningKey) {
    this.#current = current;
  }

  get keyPair(): SigningKeyPair {
    return this.#current.keyPair;
  }

  get oldKeys(): readonly OldKey[] {
    return this.#current.oldKeys;
  }

  /** Takes the place of the present key, which must be among the old ones of `next`. */
  replaceBy(next: SigningKey): void {
    if (!next.oldKeys.some(({ keyId }) => keyId === this.keyPair.keyId)) {
      throw new Error('the present key would be lost');
    }
    this.#current = next;
  }
}

/** The file cannot be used. The message is one line for the operator and holds nothing of the key. */
export class SigningKeyError extends Error {
  override readonly name = 'SigningKeyError';
}

const OWNER_ONLY = 0o600;
/** What nobody but the owner, and for reading the group, may have. */
const FORBIDDEN_MODE = 0o027;
const MAX_FILE_BYTES = 65_536;
/** Other servers refuse a key document with very many keys, and ask for it often: as many as a server ever needs. */
export const MOST_OLD_KEYS = 32;
const VERSION_ALPHABET = 'ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789';

/**
 * Reads the key, or makes it where there is no file. Throws `SigningKeyError` where the file is open to others,
 * unreadable or malformed; the folder must exist.
 */
export async function loadOrCreateSigningKey(path: string): Promise<SigningKey> {
  const text = await readKeyFile(path);
  if (text !== undefined) return parseSigningKey(text, path);
  await createKeyFile(path);
  return readBack(path);
}

/** Reads the key; undefined where there is no file. Throws `SigningKeyError` as `loadOrCreateSigningKey` does. */
export async function loadSigningKey(path: string): Promise<SigningKey | undefined> {
  const text = await readKeyFile(path);
  return text === undefined ? undefined : parseSigningKey(text, path);
}

/**
 * Makes a new key in the file. The one before stays in it as an old one that expired at `expiredTs` (milliseconds),
 * without its secret. The file is on disk when this resolves; rights and owner stay as they were. Throws
 * `SigningKeyError` as `loadOrCreateSigningKey` does, and where there is no file or it holds too many old keys.
 */
export async function rotateSigningKey(path: string, expiredTs: number): Promise<SigningKey> {
  await writeThroughDraft(path, async (draft) => {
    // Read while the draft is ours: of two rotations at once one is refused.
    const before = await readKeyFile(path);
    if (before === undefined) throw new SigningKeyError(`signing key ${path}: there is none to follow on`);
    await copyRights(path, draft);
    return rotated(before, { path, expiredTs });
  });
  return readBack(path);
}

/** The public keys by key id: the present one, and the old ones. */
export function publicKeysOf({ keyPair, oldKeys }: SigningKey): Map<KeyId, PublicKey> {
  const keys = [{ keyId: keyPair.keyId, publicKey: keyPair.publicKey }, ...oldKeys];
  const known = keys.map(({ keyId, publicKey }) => [keyId, publicKeyFrom(publicKey)] as const);
  return new Map(known.filter((entry): entry is [KeyId, PublicKey] => entry[1] !== undefined));
}

async function readBack(path: string): Promise<SigningKey> {
  const made = await loadSigningKey(path);
  if (made === undefined) throw new SigningKeyError(`signing key ${path}: vanished while it was made`);
  return made;
}

/** Undefined where there is no such file. */
async function readKeyFile(path: string): Promise<string | undefined> {
  let file: FileHandle;
  try {
    file = await open(path, constants.O_RDONLY);
  } catch (error) {
    if (codeOf(error) === 'ENOENT') return undefined;
    throw new SigningKeyError(`signing key ${path}: cannot be opened (${codeOf(error)})`, { cause: error });
  }
  try {
    const stats = await file.stat();
    if (!stats.isFile()) throw new SigningKeyError(`signing key ${path}: is no file`);
    // Windows has no such modes: it reports every file as open to all.
    if (process.platform !== 'win32' && (stats.mode & FORBIDDEN_MODE) !== 0) {
      throw new SigningKeyError(`signing key ${path}: open to other users; run chmod 600 on it`);
    }
    if (stats.size > MAX_FILE_BYTES) throw new SigningKeyError(`signing key ${path}: too large to be one`);
    return await file.readFile('utf8');
  } finally {
    await file.close();
  }
}

async function createKeyFile(path: string): Promise<void> {
  await writeThroughDraft(path, async () => {
    // Whoever owns the draft is the only one who makes a key; another may just have been done.
    const isThere = (await readKeyFile(path)) !== undefined;
    return isThere ? undefined : `ed25519 a_${newVersion()} ${encodeBase64(generateSeed())}\n`;
  });
}

/** Either the whole text of `textOf` is under `path`, on disk, or what was there before. Undefined changes nothing. */
async function writeThroughDraft(
  path: string,
  textOf: (draft: FileHandle) => Promise<string | undefined>,
): Promise<void> {
  const draft = `${path}.new`;
  const file = await openDraft(path, draft);
  // Once it has the other name, a file of this name is the draft of somebody else.
  let isOurs = true;
  try {
    const text = await textOf(file);
    if (text === undefined) return;
    await file.writeFile(text);
    await file.sync();
    await rename(draft, path);
    isOurs = false;
    await syncFolder(dirname(path));
  } finally {
    await file.close();
    if (isOurs) await rm(draft, { force: true });
  }
}

/** The server must be able to read what an administrator wrote for it. */
async function copyRights(path: string, draft: FileHandle): Promise<void> {
  if (process.platform === 'win32') return;
  const { mode, uid, gid } = await stat(path);
  try {
    if (uid !== process.getuid?.() || gid !== process.getgid?.()) await draft.chown(uid, gid);
    await draft.chmod(mode & 0o777);
  } catch (error) {
    const reason = 'belongs to another user: run this as the user of the server';
    throw new SigningKeyError(`signing key ${path}: ${reason}`, { cause: error });
  }
}

/** The text of the file with a new key, and the present one as an old one. Comments stay. */
function rotated(text: string, { path, expiredTs }: { path: string; expiredTs: number }): string {
  const { keyPair, oldKeys } = parseSigningKey(text, path);
  if (oldKeys.length >= MOST_OLD_KEYS) {
    throw new SigningKeyError(
      `signing key ${path}: it holds ${oldKeys.length} old keys, and others take no more; remove the oldest lines`,
    );
  }
  const taken = new Set([keyPair.keyId, ...oldKeys.map(({ keyId }) => keyId)]);
  let version = `a_${newVersion()}`;
  while (taken.has(`ed25519:${version}`)) version = `a_${newVersion()}`;
  const others = text.split('\n').filter((line) => parseKeyPair(wordsOf(line)) === undefined);
  const present = `old ed25519 ${keyPair.keyId.slice('ed25519:'.length)} ${keyPair.publicKey} ${expiredTs}`;
  const lines = [`ed25519 ${version} ${encodeBase64(generateSeed())}`, present, ...others];
  return `${lines.join('\n').trimEnd()}\n`;
}

async function openDraft(path: string, draft: string): Promise<FileHandle> {
  try {
    return await open(draft, 'wx', OWNER_ONLY);
  } catch (error) {
    const reason =
      codeOf(error) === 'EEXIST'
        ? `${draft} is left of an attempt to make one; remove it if no other process starts now`
        : `cannot be made (${codeOf(error)})`;
    throw new SigningKeyError(`signing key ${path}: ${reason}`, { cause: error });
  }
}

/** A rename is on disk when its folder is. */
async function syncFolder(path: string): Promise<void> {
  if (process.platform === 'win32') return;
  const folder = await open(path, constants.O_RDONLY);
  try {
    await folder.sync();
  } finally {
    await folder.close();
  }
}

function parseSigningKey(text: string, path: string): SigningKey {
  let keyPair: SigningKeyPair | undefined;
  const oldKeys: OldKey[] = [];
  for (const [index, line] of text.split('\n').entries()) {
    const words = wordsOf(line);
    if (words[0] === '' || words[0]?.startsWith('#')) continue;
    const parsed = parseOldKey(words) ?? parseKeyPair(words);
    if (parsed === undefined) throw malformed(path, `line ${index + 1} is not a key`);
    if ('expiredTs' in parsed) oldKeys.push(parsed);
    else if (keyPair === undefined) keyPair = parsed;
    else throw malformed(path, `line ${index + 1} is a second key; one signs, others are "old"`);
  }
  if (keyPair === undefined) throw malformed(path, 'it holds no key');
  const ids = new Set([keyPair.keyId, ...oldKeys.map((old) => old.keyId)]);
  if (ids.size !== oldKeys.length + 1) throw malformed(path, 'two keys have the same id');
  return { keyPair, oldKeys };
}

function wordsOf(line: string): string[] {
  return line.trim().split(/\s+/);
}

function parseKeyPair(words: readonly string[]): SigningKeyPair | undefined {
  const [algorithm, version = '', base64 = '', ...rest] = words;
  const seed = decodeBase64(base64);
  const fits = algorithm === 'ed25519' && isEd25519KeyId(`ed25519:${version}`) && rest.length === 0;
  return fits && seed?.length === 32 ? keyPairFromSeed(version, seed) : undefined;
}

function parseOldKey(words: readonly string[]): OldKey | undefined {
  const [word, algorithm, version, base64 = '', expired = '', ...rest] = words;
  if (word !== 'old' || algorithm !== 'ed25519' || rest.length > 0) return undefined;
  const keyId = `ed25519:${version}`;
  const publicKey = publicKeyFrom(base64);
  if (!isEd25519KeyId(keyId) || publicKey === undefined || !/^\d{1,15}$/.test(expired)) return undefined;
  return { keyId, publicKey: publicKey.base64, expiredTs: Number(expired) };
}

function malformed(path: string, reason: string): SigningKeyError {
  return new SigningKeyError(`signing key ${path}: ${reason}; it is left as it is`);
}

function newVersion(): string {
  return Array.from({ length: 4 }, () => VERSION_ALPHABET[randomInt(VERSION_ALPHABET.length)]).join('');
}

function codeOf(error: unknown): string {
  return error instanceof Error && 'code' in error ? String(error.code) : 'unknown error';
}

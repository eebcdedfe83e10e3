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
import { constants, type FileHandle, open, rename, rm } from 'node:fs/promises';
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

/** The file cannot be used. The message is one line for the operator and holds nothing of the key. */
export class SigningKeyError extends Error {
  override readonly name = 'SigningKeyError';
}

const OWNER_ONLY = 0o600;
/** What nobody but the owner, and for reading the group, may have. */
const FORBIDDEN_MODE = 0o027;
const MAX_FILE_BYTES = 65_536;
const VERSION_ALPHABET = 'ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789';

/**
 * Reads the key, or makes it where there is no file. Throws `SigningKeyError` where the file is open to others,
 * unreadable or malformed; the folder must exist.
 */
export async function loadOrCreateSigningKey(path: string): Promise<SigningKey> {
  const text = await readKeyFile(path);
  if (text !== undefined) return parseSigningKey(text, path);
  await createKeyFile(path);
  const created = await readKeyFile(path);
  if (created === undefined) throw new SigningKeyError(`signing key ${path}: vanished while it was made`);
  return parseSigningKey(created, path);
}

/** Reads the key; undefined where there is no file. Throws `SigningKeyError` as `loadOrCreateSigningKey` does. */
export async function loadSigningKey(path: string): Promise<SigningKey | undefined> {
  const text = await readKeyFile(path);
  return text === undefined ? undefined : parseSigningKey(text, path);
}

/** The public keys by key id: the present one, and the old ones. */
export function publicKeysOf({ keyPair, oldKeys }: SigningKey): Map<KeyId, PublicKey> {
  const keys = [{ keyId: keyPair.keyId, publicKey: keyPair.publicKey }, ...oldKeys];
  const known = keys.map(({ keyId, publicKey }) => [keyId, publicKeyFrom(publicKey)] as const);
  return new Map(known.filter((entry): entry is [KeyId, PublicKey] => entry[1] !== undefined));
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

/** Either a whole file appears under `path`, on disk, or none. */
async function createKeyFile(path: string): Promise<void> {
  const seed = encodeBase64(generateSeed());
  const draft = `${path}.new`;
  const file = await openDraft(path, draft);
  try {
    // Whoever owns the draft is the only one who makes a key; another may just have been done.
    if ((await readKeyFile(path)) !== undefined) return;
    await file.writeFile(`ed25519 a_${newVersion()} ${seed}\n`);
    await file.sync();
    await rename(draft, path);
    await syncFolder(dirname(path));
  } finally {
    await file.close();
    await rm(draft, { force: true });
  }
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
    const words = line.trim().split(/\s+/);
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

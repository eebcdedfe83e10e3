/** The encryption of matrix-bot-sdk, which others build upon, by a newer library than its own: WebAssembly, and no build. */

import { copyFile, mkdir, rm } from 'node:fs/promises';
import path from 'node:path';

const ITS_CRYPTO = '@matrix-org/matrix-sdk-crypto-nodejs';

/** What is installed in its place. */
export const OUR_CRYPTO = '@matrix-org/matrix-sdk-crypto-wasm@18.9.0';

/** Puts ours in the place of its own. */
export async function useOurCrypto(folder: string): Promise<void> {
  const crypto = path.join(folder, 'node_modules', ITS_CRYPTO);
  await rm(crypto, { recursive: true, force: true });
  await mkdir(crypto, { recursive: true });
  await copyFile(path.join(import.meta.dirname, 'crypto-by-wasm.cjs'), path.join(crypto, 'index.js'));
}

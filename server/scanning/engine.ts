/** A scanner for malware, by whichever protocol. */

/** What a scanner says of bytes. */
export type EngineAnswer =
  | { readonly kind: 'clean' }
  | { readonly kind: 'infected'; readonly signature: string }
  /** More than the scanner takes. */
  | { readonly kind: 'too_large' };

/** The scanner does not answer, or not as its protocol has it. */
export class ScannerFailed extends Error {
  override readonly name = 'ScannerFailed';
}

export interface ScanEngine {
  /** Names the signatures that the scanner knows now. @throws ScannerFailed */
  version(signal: AbortSignal): Promise<string>;
  /** Has bytes looked at. @throws ScannerFailed, and what `bytes` throws */
  scan(bytes: ScannedBytes, signal: AbortSignal): Promise<EngineAnswer>;
}

export interface ScannedBytes {
  readonly size: number;
  readonly pieces: AsyncIterable<Buffer>;
}

const MOST_CHARACTERS = 200;

/** A name from a scanner, as it is kept and shown. */
export function cleanName(text: string): string {
  return text
    .replaceAll(/[^\x20-\x7e]/g, '')
    .trim()
    .slice(0, MOST_CHARACTERS);
}

import type { Config } from '../config-options.ts';
import { contentTypeOf } from './content-type.ts';

/** Which types of files the API of scanners lets through. */
export class TypeRules {
  readonly #allowed: readonly string[];
  readonly #forbidden: readonly string[];

  constructor({ scannerAllowedTypes, scannerForbiddenTypes }: TypeOptions) {
    this.#allowed = scannerAllowedTypes;
    this.#forbidden = scannerForbiddenTypes;
  }

  /** False where every type is let through. */
  get areAny(): boolean {
    return this.#allowed.length > 0 || this.#forbidden.length > 0;
  }

  /** Whether a file that begins with these bytes is let through. What is forbidden is, though it be allowed as well. */
  allow(start: Buffer): boolean {
    const type = contentTypeOf(start);
    if (this.#forbidden.some((pattern) => matches(pattern, type))) return false;
    return this.#allowed.length === 0 || this.#allowed.some((pattern) => matches(pattern, type));
  }
}

type TypeOptions = Pick<Config, 'scannerAllowedTypes' | 'scannerForbiddenTypes'>;

/** `image/png`, `image/*` or `*`. */
function matches(pattern: string, type: string): boolean {
  const wanted = pattern.toLowerCase();
  if (wanted === '*' || wanted === '*/*') return true;
  return wanted.endsWith('/*') ? type.startsWith(wanted.slice(0, -1)) : type === wanted;
}

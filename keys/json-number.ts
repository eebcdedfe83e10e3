/**
 * Numbers of JSON that JavaScript would write otherwise than they have to be hashed. Room versions 1 to 5 do not
 * enforce canonical JSON, so that their events may hold `1.0`, `1e3` or integers beyond 2^53.
 *
 * The specification does not say how such numbers are hashed. What the servers of these rooms have signed is what
 * Python's `json` makes of them, and so do we: an integer in all its digits; anything with a point or an exponent
 * as the shortest decimal of the double, with at least one digit behind the point, and with an exponent of two
 * digits or more below 1e-4 and from 1e16 on.
 *
 * A number that `JSON.stringify` writes in that very form is a plain number. Any other is a raw number: an object
 * of `JSON.rawJSON`, which `JSON.stringify` writes as it is. `isObject` says no to it.
 */

/** What `JSON` has since ES2026, and TypeScript's libraries not yet. */
interface RawJson {
  rawJSON(text: string): RawNumber;
  isRawJSON(value: unknown): value is RawNumber;
}

/** To the types an object as any other, so that `Json` covers it. */
export interface RawNumber {
  readonly [key: string]: string;
  readonly rawJSON: string;
}

const { rawJSON, isRawJSON } = rawJson();

/** Python reads no integers of more digits. */
const MOST_DIGITS = 4_300;
const EXPONENT_FROM = 16;
const EXPONENT_BELOW = -4;

/** True for a number that is kept as its text. */
export const isRawNumber: (value: unknown) => value is RawNumber = isRawJSON;

/** For `JSON.parse`: keeps numbers such that they are written as above. Throws SyntaxError where they cannot be. */
export function keepNumber(_key: string, value: unknown, context?: { readonly source?: string }): unknown {
  return typeof value === 'number' && context?.source !== undefined ? numberFrom(context.source) : value;
}

/** The number as it is written in an event that is hashed; undefined for one that is too large to have a form. */
export function numberText(token: string): string | undefined {
  if (!/[.eE]/.test(token)) return token.length > MOST_DIGITS ? undefined : BigInt(token).toString();
  const value = Number(token);
  return Number.isFinite(value) ? decimalText(value) : undefined;
}

/** The value of a number, plain or raw, as the nearest double; undefined for anything else. */
export function numberOf(value: unknown): number | undefined {
  if (typeof value === 'number') return value;
  return isRawNumber(value) ? Number(value.rawJSON) : undefined;
}

/** The value of an integer, plain or raw, of any size; undefined for what is no integer or not written as one. */
export function bigIntOf(value: unknown): bigint | undefined {
  const text = typeof value === 'number' ? String(value) : isRawNumber(value) ? value.rawJSON : '';
  return /^-?\d+$/.test(text) ? BigInt(text) : undefined;
}

function numberFrom(token: string): number | RawNumber {
  const text = numberText(token);
  if (text === undefined) throw new SyntaxError('a number is too large');
  const value = Number(text);
  return String(value) === text ? value : rawJSON(text);
}

function decimalText(value: number): string {
  const sign = value < 0 || Object.is(value, -0) ? '-' : '';
  const [mantissa = '', exponentText = ''] = Math.abs(value).toExponential().split('e');
  const digits = mantissa.replace('.', '');
  const exponent = Number(exponentText);
  if (exponent >= EXPONENT_FROM || exponent < EXPONENT_BELOW) {
    const size = String(Math.abs(exponent)).padStart(2, '0');
    return `${sign}${mantissa}e${exponent < 0 ? '-' : '+'}${size}`;
  }
  if (exponent < 0) return `${sign}0.${'0'.repeat(-exponent - 1)}${digits}`;
  const whole = digits.slice(0, exponent + 1).padEnd(exponent + 1, '0');
  return `${sign}${whole}.${digits.slice(exponent + 1) || '0'}`;
}

function rawJson(): RawJson {
  const json: JSON & Partial<RawJson> = JSON;
  const { rawJSON, isRawJSON } = json;
  if (rawJSON === undefined || isRawJSON === undefined) throw new Error('Node 22 or newer is needed');
  return { rawJSON, isRawJSON };
}

/**
 * Positions as clients see them: opaque, and versioned so that a later version can hold more. The same tokens
 * serve /sync, /messages and all other pages: a position is a point between two events of every timeline.
 */

const TOKEN = /^s1_(-?\d{1,15})$/;

/** The token that says "up to and with this position". */
export function formatToken(position: number): string {
  return `s1_${position}`;
}

/** The position of a token that this server made; undefined for anything else. */
export function parseToken(token: string): number | undefined {
  const digits = TOKEN.exec(token)?.[1];
  return digits === undefined ? undefined : Number(digits);
}

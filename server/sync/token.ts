/**
 * Positions as clients see them: opaque, and versioned so that a later version can hold more. The same tokens
 * serve /sync, /messages and all other pages: a position is a point between two events of every timeline.
 */

const PREFIX = 's1_';
const PLAIN = /^s1_\d{1,15}$/;
const TOKEN = /^s1_(-?\d{1,15})(?:_(\d{1,15}))?$/;
/** Of sliding sync: with the connection, and the number of what was sent on it. */
const POS = /^s1_(\d{1,15})\.([0-9a-f]{1,40})\.(\d{1,15})$/;

/** Where a /sync continues. */
export interface SyncPoint {
  readonly position: number;
  /** Where the device's inbox continues: before `position` where not all of it fitted into the answer. */
  readonly inbox: number;
}

/** The token that says "up to and with this position". */
export function formatToken(position: number): string {
  return `s1_${position}`;
}

/** The position of a token that this server made; undefined for anything else. */
export function parseToken(token: string): number | undefined {
  const digits = (TOKEN.exec(token) ?? POS.exec(token))?.[1];
  return digits === undefined ? undefined : Number(digits);
}

/** The token of a /sync answer. */
export function formatSyncToken({ position, inbox }: SyncPoint): string {
  return inbox === position ? formatToken(position) : `${formatToken(position)}_${inbox}`;
}

/** Where the /sync with this token continues; undefined for what is no token of a /sync answer. */
export function parseSyncToken(token: string): SyncPoint | undefined {
  const [, digits, inbox] = TOKEN.exec(token) ?? [];
  const position = Number(digits);
  if (digits === undefined || position < 0) return undefined;
  return { position, inbox: inbox === undefined ? position : Math.min(Number(inbox), position) };
}

/** The position of a token that says nothing else, as most do. */
export function parsePlainToken(token: string): number | undefined {
  return PLAIN.test(token) ? Number(token.slice(PREFIX.length)) : undefined;
}

/** Where a connection of sliding sync continues. */
export interface PosPoint {
  readonly position: number;
  readonly connection: string;
  readonly number: number;
}

/** The `pos` of an answer of sliding sync. */
export function formatPos({ position, connection, number }: PosPoint): string {
  return `${formatToken(position)}.${connection}.${number}`;
}

/** Undefined for what is no `pos`. */
export function parsePos(pos: string): PosPoint | undefined {
  const [, position, connection, number] = POS.exec(pos) ?? [];
  if (connection === undefined) return undefined;
  return { position: Number(position), connection, number: Number(number) };
}

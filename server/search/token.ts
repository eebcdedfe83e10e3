/** Where the next page of a search begins. */

import { isRoomId, isUserId } from '#keys/ids.ts';

export interface SearchToken {
  readonly orderBy: 'rank' | 'recent';
  /** The newest event there was when the search began: so that pages do not shift. */
  readonly upto: number;
  /** By `recent` the position before which it goes on; by `rank` how many events have been looked at. */
  readonly place: number;
  /** What the first page counted. */
  readonly count: number;
  /** The only group that is of interest. */
  readonly group?: { readonly key: 'room_id' | 'sender'; readonly value: string } | undefined;
}

const TOKEN = /^([rt])(-?\d{1,15})_(-?\d{1,15})_(\d{1,9})(?:_([A-Za-z0-9_-]{1,400}))?$/;

export function formatSearchToken({ orderBy, upto, place, count, group }: SearchToken): string {
  const text = `${orderBy === 'rank' ? 'r' : 't'}${upto}_${place}_${count}`;
  return group === undefined ? text : `${text}_${Buffer.from(group.value).toString('base64url')}`;
}

/** Undefined for what is none of our tokens. */
export function parseSearchToken(text: string): SearchToken | undefined {
  const [, order, upto, place, count, encoded] = TOKEN.exec(text) ?? [];
  if (order === undefined) return undefined;
  const orderBy = order === 'r' ? 'rank' : 'recent';
  const token = { orderBy, upto: Number(upto), place: Number(place), count: Number(count) } as const;
  if (orderBy === 'rank' && token.place < 0) return undefined;
  if (encoded === undefined) return token;
  const value = Buffer.from(encoded, 'base64url').toString();
  if (isRoomId(value)) return { ...token, group: { key: 'room_id', value } };
  return isUserId(value) ? { ...token, group: { key: 'sender', value } } : undefined;
}

/** The `ephemeral` of a transaction: https://spec.matrix.org/v1.19/application-service-api/#pushing-ephemeral-data */

import type { RoomId, UserId } from '#keys/ids.ts';
import { getRoom } from '#rooms/room.ts';
import * as news from '#storage/appservice-news.ts';
import * as presence from '#storage/presence.ts';
import { presenceContent } from '../profiles/presence-content.ts';
import { receiptContents } from '../sync/ephemeral.ts';
import type { Appservice } from './appservice.ts';
import type { NewsContext } from './context.ts';
import type { Interest } from './interest.ts';

/** What the streams announce receipts by. */
export const RECEIPT_KEYS = ['receipts', 'private_receipts'];
const MOST_RECEIPTS = 1_000;
const MOST_ROOMS = 10_000;
const MOST_USERS = 10_000;

/** What has changed in memory since it was last told: of each room and user the newest state is of interest. */
export class EphemeralChanges {
  #rooms = new Set<RoomId>();
  #users = new Set<UserId>();
  readonly #stop: (() => void)[];

  constructor(ctx: NewsContext, onChange: () => void) {
    this.#stop = [
      ctx.typing.onChange(({ roomId }) => {
        if (this.#rooms.size < MOST_ROOMS) this.#rooms.add(roomId);
        onChange();
      }),
      ctx.presence.onChange((users) => {
        for (const userId of users) if (this.#users.size < MOST_USERS) this.#users.add(userId);
        onChange();
      }),
    ];
  }

  get isEmpty(): boolean {
    return this.#rooms.size === 0 && this.#users.size === 0;
  }

  take(): { readonly rooms: ReadonlySet<RoomId>; readonly users: ReadonlySet<UserId> } {
    const taken = { rooms: this.#rooms, users: this.#users };
    this.#rooms = new Set();
    this.#users = new Set();
    return taken;
  }

  [Symbol.dispose](): void {
    for (const stop of this.#stop) stop();
  }
}

export interface ReceiptPage {
  readonly receipts: Awaited<ReturnType<typeof news.receipts>>;
  readonly upto: number;
}

/** The next receipts of all rooms. */
export async function receiptPage(
  ctx: NewsContext,
  range: { readonly after: number; readonly upto: number },
): Promise<ReceiptPage> {
  const mayBe = RECEIPT_KEYS.some((key) => ctx.streams.mayConcern(key, range.after));
  if (!mayBe) return { receipts: [], upto: range.upto };
  const receipts = await news.receipts(ctx.db, { ...range, limit: MOST_RECEIPTS });
  const last = receipts.at(-1);
  return {
    receipts,
    upto: receipts.length === MOST_RECEIPTS && last !== undefined ? last.position : range.upto,
  };
}

/** Each event as JSON. */
export async function ephemeralTexts(
  ctx: NewsContext,
  { service, interest }: { readonly service: Appservice; readonly interest: Interest },
  given: {
    readonly receipts: ReceiptPage['receipts'];
    readonly changes: ReturnType<EphemeralChanges['take']>;
  },
): Promise<string[]> {
  return [
    ...(await presenceTexts(ctx, interest, given.changes.users)),
    ...(await typingTexts(ctx, interest, given.changes.rooms)),
    ...(await receiptTexts({ service, interest }, given.receipts)),
  ];
}

/** "A presence update for a user an application service shares a room with, or matching one of its namespaces." */
async function presenceTexts(
  ctx: NewsContext,
  interest: Interest,
  users: ReadonlySet<UserId>,
): Promise<string[]> {
  if (ctx.presence.mode === 'off') return [];
  const shown = await interest.inTouchWith(users, (userId) => presence.roomsOf(ctx.db, [userId]));
  const now = ctx.clock.now();
  return shown.map((sender) =>
    JSON.stringify({ type: 'm.presence', sender, content: presenceContent(ctx.presence.of(sender), now) }),
  );
}

async function typingTexts(
  ctx: NewsContext,
  interest: Interest,
  rooms: ReadonlySet<RoomId>,
): Promise<string[]> {
  const texts: string[] = [];
  for (const roomId of rooms) {
    // One after the other: mostly in memory.
    const room = await getRoom(ctx, roomId);
    if (room === undefined || !(await interest.inRoom(room, ctx.streams.upto()))) continue;
    const content = { user_ids: ctx.typing.in(roomId) };
    texts.push(JSON.stringify({ type: 'm.typing', room_id: roomId, content }));
  }
  return texts;
}

/** "Private read receipts MUST only be sent for users matching one of the application service's namespaces." */
async function receiptTexts(
  { service, interest }: { readonly service: Appservice; readonly interest: Interest },
  receipts: ReceiptPage['receipts'],
): Promise<string[]> {
  const texts: string[] = [];
  for (const [roomNid, inRoom] of Map.groupBy(receipts, (receipt) => receipt.roomNid)) {
    const shown = inRoom.filter(({ type, userId }) => type !== 'm.read.private' || service.hasUser(userId));
    const [first] = shown;
    // One after the other: mostly in memory.
    if (first === undefined || !(await interest.inRoom({ roomNid, roomId: first.roomId }, first.position)))
      continue;
    for (const content of receiptContents(shown)) {
      texts.push(JSON.stringify({ type: 'm.receipt', room_id: first.roomId, content }));
    }
  }
  return texts;
}

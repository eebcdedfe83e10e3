/** The extensions that are for the rooms of a request: account data, receipts, typing. */

import type { RoomId } from '#keys/ids.ts';
import type { StoredEvent } from '#rooms/stored-event.ts';
import * as accountData from '#storage/account-data.ts';
import type { AccountPart } from '../sync/account.ts';
import { receiptContents, shownReceipts, typingEvent } from '../sync/ephemeral.ts';
import type { JoinedRoom } from '../sync/sync-users.ts';
import type { SlidingAnswer, SlidingContext } from './context.ts';
import { Flag } from './sent-rooms.ts';
import { isInScope, type WindowRoom } from './windows.ts';

/** A room, and what the client has of it. */
export interface ExtendedRoom {
  readonly window: WindowRoom;
  readonly joined: JoinedRoom;
  /** Undefined where the client has nothing of the room. */
  readonly since: number | undefined;
  /** Of `Flag`: what the client was told all of, and has up to `since`. */
  readonly flags: number;
  /** What this answer tells of the timeline. */
  readonly timeline: readonly StoredEvent[];
}

/** What of each extension is told, by room, as JSON. */
export class RoomExtensions {
  readonly #sliding: SlidingContext;
  readonly #answer: SlidingAnswer;
  readonly #changed: AccountPart['roomAccountData'];
  readonly accountData = new Map<RoomId, string>();
  readonly receipts = new Map<RoomId, string>();
  readonly typing = new Map<RoomId, string>();
  /** The events that this answer tells in timelines, by numeric id. */
  readonly inTimelines = new Set<number>();

  /** `changed`: the user's account data of rooms that is new since the last answer. */
  constructor(sliding: SlidingContext, answer: SlidingAnswer, changed: AccountPart['roomAccountData']) {
    this.#sliding = sliding;
    this.#answer = answer;
    this.#changed = changed;
  }

  /** Tells what is new of a room; answers the flags that the client has afterwards. */
  async tell(room: ExtendedRoom): Promise<number> {
    const { rooms: request } = this.#answer.request;
    const { window } = room;
    for (const { nid } of room.timeline) this.inTimelines.add(nid);
    let flags = 0;
    // What is not asked for is missing from now on.
    if (isInScope(request.accountData, window)) {
      flags |= Flag.accountData;
      await this.#tellAccountData(room);
    }
    if (isInScope(request.receipts, window)) {
      flags |= Flag.receipts;
      await this.#tellReceipts(room);
    }
    if (isInScope(request.typing, window)) {
      flags |= Flag.typing;
      this.#tellTyping(room);
    }
    return flags;
  }

  get isEmpty(): boolean {
    return this.accountData.size === 0 && this.receipts.size === 0 && this.typing.size === 0;
  }

  async #tellAccountData({ joined: { roomId }, since, flags }: ExtendedRoom): Promise<void> {
    const { user, since: last } = this.#answer;
    const hasAll = since !== undefined && since === last && (flags & Flag.accountData) !== 0;
    const data = hasAll
      ? (this.#changed.get(roomId) ?? [])
      : await accountData.ofRoom(this.#sliding.sync.server.db, user.userId, roomId);
    if (data.length > 0) {
      const events = data.map(({ type, content }) => ({ type, content }));
      this.accountData.set(roomId, JSON.stringify(events));
    }
  }

  /**
   * "On initial sync, receipts MUST only be returned for events sent in the `timeline` [...]. In addition, public and
   * private receipts sent by the client MUST be returned, even if the events in question are not in the `timeline`."
   */
  async #tellReceipts({ joined, since, flags, timeline }: ExtendedRoom): Promise<void> {
    const { user, upto } = this.#answer;
    const known = (flags & Flag.receipts) !== 0 ? since : undefined;
    const isOld = timeline.some(({ position = 0 }) => known !== undefined && position <= known);
    const { server } = this.#sliding.sync;
    const from = isOld ? undefined : known;
    const told = new Set<string>(timeline.map(({ event }) => event.eventId));
    const found = await shownReceipts(server, user, joined, { since: from, upto });
    const shown =
      from === undefined
        ? found.filter(({ eventId, userId }) => told.has(eventId) || userId === user.userId)
        : found;
    // Events that are told again, beside which there may be new receipts for others.
    const others = isOld ? await shownReceipts(server, user, joined, { since: known, upto }) : [];
    const all = [
      ...new Map([...shown, ...others].map((receipt) => [JSON.stringify(receipt), receipt])).values(),
    ];
    // One event for a room is all that there is room for; the first has what means most.
    const [content] = receiptContents(all);
    if (content !== undefined)
      this.receipts.set(joined.roomId, JSON.stringify({ type: 'm.receipt', content }));
  }

  #tellTyping({ joined: { roomId }, since, flags }: ExtendedRoom): void {
    const known = (flags & Flag.typing) !== 0 ? since : undefined;
    const event = typingEvent(this.#sliding.sync.server, this.#answer.user, { roomId, since: known });
    if (event !== undefined) this.typing.set(roomId, event);
  }
}

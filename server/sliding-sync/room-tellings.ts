/** The rooms of one answer, told one after the other, and what the client has of each afterwards. */

import type { RoomId } from '#keys/ids.ts';
import type { JoinedRoom } from '../sync/sync-users.ts';
import type { SlidingAnswer, SlidingContext } from './context.ts';
import { joinedRoom, type RoomTold, sinceOf } from './joined-room.ts';
import { otherRoom } from './other-room.ts';
import type { RoomExtensions } from './room-extensions.ts';
import type { ListedRoom } from './room-order.ts';
import { Flag, isSameRoom, LIVE, type SentRoom } from './sent-rooms.ts';
import type { WindowRoom } from './windows.ts';

export class RoomTellings {
  readonly #sliding: SlidingContext;
  readonly #answer: SlidingAnswer;
  readonly #extensions: RoomExtensions;
  readonly #direct: ReadonlySet<string>;
  /** By room, the object of each of which there is something to tell. */
  readonly told = new Map<RoomId, string>();
  /** What the client has afterwards, where that is not what it had. */
  readonly changes = new Map<number, SentRoom | undefined>();

  constructor(
    sliding: SlidingContext,
    answer: SlidingAnswer,
    { extensions, direct }: { readonly extensions: RoomExtensions; readonly direct: ReadonlySet<string> },
  ) {
    this.#sliding = sliding;
    this.#answer = answer;
    this.#extensions = extensions;
    this.#direct = direct;
  }

  /** Tells what is new of a room. */
  async tell(window: WindowRoom): Promise<void> {
    const { room } = window;
    const sent = this.#answer.state.rooms.get(room.roomNid);
    const isDirect = this.#direct.has(room.roomId);
    const asked = { window, sent, isDirect, wasDirect: ((sent?.flags ?? 0) & Flag.dm) !== 0 };
    if (room.joined !== undefined) {
      const told = await joinedRoom(
        this.#sliding,
        this.#answer,
        { listed: room, joined: room.joined },
        asked,
      );
      const flags = await this.#extend(window, room.joined, { told, sent });
      this.#note(window, told, flags | (isDirect ? Flag.dm : 0));
    } else if (room.other !== undefined) {
      const told = await otherRoom(this.#sliding, this.#answer, room.other, asked);
      if (told.json !== undefined || sent !== undefined) this.#note(window, told, isDirect ? Flag.dm : 0);
    }
  }

  /** Notes of rooms that are not told that the client lacks from now on what happened there. */
  noteOthers(rooms: readonly ListedRoom[]): void {
    const { state, since } = this.#answer;
    for (const { roomNid } of rooms) {
      const sent = state.rooms.get(roomNid);
      if (sent?.since === LIVE && since !== undefined) this.changes.set(roomNid, { ...sent, since });
    }
  }

  async #extend(
    window: WindowRoom,
    joined: JoinedRoom,
    { told, sent }: { readonly told: RoomTold; readonly sent: SentRoom | undefined },
  ): Promise<number> {
    const known = told.isInitial ? undefined : sent;
    return this.#extensions.tell({
      ...{ window, joined, flags: known?.flags ?? 0, timeline: told.timeline },
      since: known && sinceOf(known, this.#answer),
    });
  }

  #note({ room, isSubscribed }: WindowRoom, told: RoomTold, flags: number): void {
    const { state, order } = this.#answer;
    if (told.json !== undefined) this.told.set(room.roomId, told.json);
    const sent = state.rooms.get(room.roomNid);
    if (room.joined === undefined && !order.byNid.has(room.roomNid) && !isSubscribed) {
      // The client knows that the user has left: that is all there was to say.
      if (sent !== undefined) this.changes.set(room.roomNid, undefined);
      return;
    }
    const after = { ...told.sent, since: LIVE, flags };
    if (sent === undefined || !isSameRoom(sent, after)) this.changes.set(room.roomNid, after);
  }
}

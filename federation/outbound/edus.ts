/**
 * What is not events but goes to other servers: typing and public read receipts of our users.
 * https://spec.matrix.org/v1.19/server-server-api/#typing-notifications and #receipts
 */

import { belongsTo, type RoomId, type ServerName } from '#keys/ids.ts';
import type { JsonObject } from '#keys/json.ts';
import { getRoom, joinedServers } from '#rooms/room.ts';
import * as outboundReceipts from '#storage/outbound-receipts.ts';
import type { TypingChange } from '#storage/typing.ts';
import type { FederationContext } from '../context.ts';

/** To whom the source of EDUs tells its news. */
export interface EduListener {
  typing(server: ServerName, change: TypingChange): void;
  /** There may be receipts that the server does not have, none of them at a position up to `after`. */
  receipts(server: ServerName, after: number): void;
}

type EduContext = Omit<FederationContext, 'sender' | 'inbound'>;

/** Other servers forget who types after a while: those who still do are told again. */
const RENEW_TYPING_MS = 30_000;
const RECEIPTS_AT_ONCE = 1_000;
const RECEIPTS_PER_EDU = 100;

/** Follows typing and receipts from `start` until it is disposed of. */
export class EduSource {
  readonly #ctx: EduContext;
  readonly #listener: EduListener;
  readonly #typing = new Map<string, TypingChange>();
  #renewal: NodeJS.Timeout | undefined;
  #stops: (() => void)[] = [];
  #receiptsPosition: number;
  #reading = false;

  constructor(ctx: EduContext, listener: EduListener) {
    this.#ctx = ctx;
    this.#listener = listener;
    this.#receiptsPosition = ctx.streams.upto();
  }

  start(): void {
    this.#stops = [
      this.#ctx.typing.onChange((change) => this.#onTyping(change)),
      this.#ctx.streams.subscribe('receipts', () => this.#onReceipts()),
    ];
  }

  [Symbol.dispose](): void {
    for (const stop of this.#stops) stop();
    clearTimeout(this.#renewal);
    this.#typing.clear();
  }

  #onTyping(change: TypingChange): void {
    if (!belongsTo(change.userId, this.#ctx.serverName)) return;
    const key = `${change.roomId} ${change.userId}`;
    if (change.typing) this.#typing.set(key, change);
    else this.#typing.delete(key);
    this.#tell(change);
    this.#renewal ??= setTimeout(() => this.#renew(), RENEW_TYPING_MS).unref();
  }

  #renew(): void {
    this.#renewal = undefined;
    for (const change of this.#typing.values()) this.#tell(change);
    if (this.#typing.size > 0) this.#renewal = setTimeout(() => this.#renew(), RENEW_TYPING_MS).unref();
  }

  #tell(change: TypingChange): void {
    this.#otherServers(change.roomId).then(
      (servers) => {
        for (const server of servers) this.#listener.typing(server, change);
      },
      (error: unknown) => this.#ctx.log.error({ err: error }, 'typing was not sent'),
    );
  }

  async #otherServers(roomId: RoomId): Promise<ServerName[]> {
    const room = await getRoom(this.#ctx, roomId);
    const servers = room === undefined ? [] : await joinedServers(this.#ctx, room.roomNid);
    return servers.filter((server) => server !== this.#ctx.serverName);
  }

  #onReceipts(): void {
    if (this.#reading) return;
    this.#reading = true;
    this.#readReceipts()
      .catch((error: unknown) => this.#ctx.log.error({ err: error }, 'receipts were not sent'))
      .finally(() => {
        this.#reading = false;
      });
  }

  /** Tells the servers of each room where one of our users has read something. */
  async #readReceipts(): Promise<void> {
    const { db, streams, serverName } = this.#ctx;
    while (this.#receiptsPosition < streams.upto()) {
      const upto = streams.upto();
      const range = { after: this.#receiptsPosition, upto, limit: RECEIPTS_AT_ONCE };
      // Page by page, each after the last.
      const found = await outboundReceipts.roomsWithNew(db, range);
      this.#receiptsPosition = found.length < RECEIPTS_AT_ONCE ? upto : (found.at(-1)?.position ?? upto);
      const ours = found.filter(({ userId }) => belongsTo(userId, serverName));
      const servers = await Promise.all(
        [...new Set(ours.map(({ roomNid }) => roomNid))].map((roomNid) => joinedServers(this.#ctx, roomNid)),
      );
      for (const server of new Set(servers.flat())) {
        if (server !== serverName) this.#listener.receipts(server, range.after);
      }
    }
  }
}

/** The `m.typing` EDU. */
export function typingEdu({ roomId, userId, typing }: TypingChange): JsonObject {
  return { edu_type: 'm.typing', content: { room_id: roomId, user_id: userId, typing } };
}

/** The `m.receipt` EDUs: one holds one receipt of a user in a room, so those of several threads need several. */
export function receiptEdus(receipts: readonly outboundReceipts.OutboundReceipt[]): JsonObject[] {
  const edus: Map<string, outboundReceipts.OutboundReceipt>[] = [];
  for (const receipt of receipts) {
    const key = `${receipt.roomId} ${receipt.userId}`;
    const free = edus.find((edu) => edu.size < RECEIPTS_PER_EDU && !edu.has(key));
    if (free === undefined) edus.push(new Map([[key, receipt]]));
    else free.set(key, receipt);
  }
  return edus.map((edu) => receiptEdu([...edu.values()]));
}

function receiptEdu(receipts: readonly outboundReceipts.OutboundReceipt[]): JsonObject {
  const rooms = Map.groupBy(receipts, (receipt) => receipt.roomId);
  const content = [...rooms].map(([roomId, inRoom]) => {
    const users = inRoom.map(({ userId, eventId, ts, threadId }) => {
      const data = threadId === '' ? { ts } : { ts, thread_id: threadId };
      return [userId, { event_ids: [eventId], data }] as const;
    });
    return [roomId, { 'm.read': Object.fromEntries(users) }] as const;
  });
  return { edu_type: 'm.receipt', content: Object.fromEntries(content) };
}

/** What is told to one server of the moment: who types, and the receipts that it does not have. */

import { belongsTo, type ServerName } from '#keys/ids.ts';
import type { JsonObject } from '#keys/json.ts';
import * as outboundReceipts from '#storage/outbound-receipts.ts';
import type { TypingChange } from '#storage/typing.ts';
import type { FederationContext } from '../context.ts';
import { receiptEdus, typingEdu } from './edus.ts';

/** Users who type: more are not worth telling. */
const MAX_TYPING = 200;
const MAX_RECEIPTS = 500;

export interface Taken {
  readonly edus: readonly JsonObject[];
  /** The receipts among them bring the server up to this position. */
  readonly receiptsUpto: number | undefined;
}

export class MomentaryEdus {
  readonly #ctx: Pick<FederationContext, 'db' | 'streams' | 'serverName'>;
  readonly #server: ServerName;
  readonly #typing = new Map<string, TypingChange>();
  #wantsReceipts = true;

  constructor(ctx: Pick<FederationContext, 'db' | 'streams' | 'serverName'>, server: ServerName) {
    this.#ctx = ctx;
    this.#server = server;
  }

  typing(change: TypingChange): void {
    const key = `${change.roomId} ${change.userId}`;
    if (this.#typing.size >= MAX_TYPING && !this.#typing.has(key)) return;
    this.#typing.set(key, change);
  }

  /** There may be receipts that the server does not have. */
  receipts(): void {
    this.#wantsReceipts = true;
  }

  /** Who types now is no news any more once the server answers again. */
  forgetTyping(): void {
    this.#typing.clear();
  }

  /** True where `take` may have more. */
  get isAwaited(): boolean {
    return this.#typing.size > 0 || this.#wantsReceipts;
  }

  /** At most `free` EDUs: receipts after a position, and typing as it is now. */
  async take(after: number, free: number): Promise<Taken> {
    if (free <= 0) return { edus: [], receiptsUpto: undefined };
    const { edus, receiptsUpto } = await this.#takeReceipts(after, free);
    const typing = [...this.#typing].slice(0, free - edus.length);
    for (const [key] of typing) this.#typing.delete(key);
    return { edus: [...edus, ...typing.map(([, change]) => typingEdu(change))], receiptsUpto };
  }

  async #takeReceipts(after: number, free: number): Promise<Taken> {
    if (!this.#wantsReceipts) return { edus: [], receiptsUpto: undefined };
    this.#wantsReceipts = false;
    const upto = this.#ctx.streams.upto();
    const range = { after, upto, limit: MAX_RECEIPTS };
    const found = await outboundReceipts.forServer(this.#ctx.db, this.#server, range);
    let taken = found;
    let edus = this.#edusOf(taken);
    while (edus.length > free) {
      taken = taken.slice(0, Math.ceil(taken.length / 2));
      edus = this.#edusOf(taken);
    }
    const isAll = taken.length === found.length && found.length < MAX_RECEIPTS;
    if (!isAll) this.#wantsReceipts = true;
    return { edus, receiptsUpto: isAll ? upto : taken.at(-1)?.position };
  }

  #edusOf(receipts: readonly outboundReceipts.OutboundReceipt[]): JsonObject[] {
    return receiptEdus(receipts.filter(({ userId }) => belongsTo(userId, this.#ctx.serverName)));
  }
}

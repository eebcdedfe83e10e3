import type { Tx } from './database.ts';
import { sql } from './sql.ts';

const reserve = sql<[upto: number, id: string]>(
  'streams.reserve',
  'UPDATE stream_reserve SET upto = {greatest}(upto, ?) WHERE id = ?',
);

/** A counter whose numbers never repeat: it starts above the bound that earlier processes have reserved. */
export class Reservation {
  readonly #id: string;
  readonly #block: number;
  #last: number;
  /** The bound that is on disk. */
  #durable: number;
  #pending: { readonly tx: Tx; readonly bound: number } | undefined;

  constructor(id: string, reserved: number, block: number) {
    this.#id = id;
    this.#block = block;
    this.#last = reserved;
    this.#durable = reserved;
  }

  get durable(): number {
    return this.#durable;
  }

  get headroom(): number {
    return this.#durable - this.#last;
  }

  take(): number {
    this.#last += 1;
    return this.#last;
  }

  /** Makes the write that uses `position` reserve it too, unless it is reserved already. */
  reserveIn(tx: Tx, position: number): void {
    if (position <= this.#durable) return;
    if (this.#pending?.tx === tx && position <= this.#pending.bound) return;
    // Not awaited: if it fails, the write fails (rule 7 of database.ts).
    this.reserveMore(tx).catch(() => undefined);
  }

  async reserveMore(tx: Tx): Promise<void> {
    const bound = this.#last + this.#block;
    this.#pending = { tx, bound };
    tx.afterCommit(() => {
      this.#durable = Math.max(this.#durable, bound);
    });
    await tx.run(reserve, bound, this.#id);
  }
}

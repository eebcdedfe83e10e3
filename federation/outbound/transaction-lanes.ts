import { Lanes } from '#keys/lanes.ts';

/** Each transaction that is under way is held in memory. */
const MOST = 512;
/** A server that does not answer holds its place until the time is over: those that do answer must not wait for it. */
const MOST_OF_FAILING = 64;

/** Bounds the transactions that are under way to all servers, and keeps those that failed before from the others. */
export class TransactionLanes {
  readonly #answering = new Lanes(MOST, Number.POSITIVE_INFINITY);
  readonly #failing = new Lanes(MOST_OF_FAILING, Number.POSITIVE_INFINITY);

  /** Runs the job when its turn has come. `isFailing`: the last transaction to the server failed. */
  run<T>(isFailing: boolean, job: () => Promise<T>): Promise<T> {
    return (isFailing ? this.#failing : this.#answering).run(job);
  }
}

import type { RoomId, ServerName } from '#keys/ids.ts';
import type { Log } from '#rooms/context.ts';

/** Of a large room a line for so many events, so that an operator sees that it goes on. */
const EVENTS_A_LINE = 10_000;

/** What an operator sees of a join by way of another server, which takes minutes for a large room. */
export class JoinProgress {
  readonly #log: Log;
  readonly #join: { readonly roomId: RoomId; readonly server: ServerName };
  readonly #started = performance.now();
  #events = 0;
  #lines = 0;

  /** `version`: that of the room. */
  constructor(log: Log, join: { roomId: RoomId; server: ServerName; version: string }) {
    const { version, ...of } = join;
    this.#log = log;
    this.#join = of;
    log.info({ ...of, version }, 'joining a room through a server');
  }

  /** So many more events have come. */
  took(events: number): void {
    this.#events += events;
    const lines = Math.floor(this.#events / EVENTS_A_LINE);
    if (lines === this.#lines) return;
    this.#lines = lines;
    this.#log.info({ ...this.#join, events: this.#events, ms: this.#ms }, 'the state of a room is coming');
  }

  /** All have come: so many that are valid, and of so many servers in the room. */
  received(counts: { readonly events: number; readonly servers: number }): void {
    this.#log.info({ ...this.#join, ...counts, ms: this.#ms }, 'the state of a room has come');
  }

  joined(): void {
    this.#log.info({ ...this.#join, ms: this.#ms }, 'joined a room through a server');
  }

  get #ms(): number {
    return Math.round(performance.now() - this.#started);
  }
}

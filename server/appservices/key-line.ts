/** How one service is asked for keys: a few questions at once, and none for a while where it does not answer. */

import { isObject, type JsonObject } from '#keys/json.ts';
import { Lanes, LanesFull } from '#keys/lanes.ts';
import type { Log } from '#rooms/context.ts';
import type { Appservice } from './appservice.ts';
import { type Answered, isUnknownPath } from './call.ts';

/** Of the connections to a service, so that what it is told always finds one. */
const AT_ONCE = 2;
const MOST_WAITING = 200;
/** From the question on, however many are before it: whoever wants keys waits for this. */
const TIMEOUT_MS = 5_000;
/** With less time than this left, what is slow would say nothing of the service. */
const LEAST_MS = 1_000;
const MOST_BYTES = 2 * 1024 * 1024;
/** So long a service is not asked that did not answer, or with what cannot be read. */
const PAUSE_MS = 30_000;
/** "If the appservice indicates that the route is unknown, homeservers can back off to avoid slowing down requests." */
const UNKNOWN_PAUSE_MS = 10 * 60_000;

export class KeyLine {
  readonly #service: Appservice;
  readonly #path: string;
  readonly #log: Log;
  readonly #lanes = new Lanes(AT_ONCE, MOST_WAITING);
  /** Until when, by the process's own clock, the service is not asked. */
  #pausedUntil = 0;

  constructor(service: Appservice, path: string, log: Log) {
    this.#service = service;
    this.#path = path;
    this.#log = log;
  }

  /** "If the appservice responds with an error of any kind (including timeout)", its answer is `{}`. */
  async ask(body: JsonObject): Promise<JsonObject> {
    const deadline = performance.now() + TIMEOUT_MS;
    try {
      return await this.#lanes.run(() => this.#ask(body, deadline));
    } catch (error) {
      if (error instanceof LanesFull) return {};
      throw error;
    }
  }

  async #ask(body: JsonObject, deadline: number): Promise<JsonObject> {
    const now = performance.now();
    const timeoutMs = Math.floor(deadline - now);
    if (timeoutMs < LEAST_MS || now < this.#pausedUntil) return {};
    const answer = await this.#service.caller.call({
      ...{ method: 'POST', path: this.#path, body: JSON.stringify(body) },
      ...{ timeoutMs, mostBytes: MOST_BYTES },
    });
    if (answer.kind === 'answered' && answer.status === 200 && isObject(answer.json)) return answer.json;
    this.#pause(answer);
    return {};
  }

  #pause(answer: Answered): void {
    const isUnknown = isUnknownPath(answer);
    this.#pausedUntil = performance.now() + (isUnknown ? UNKNOWN_PAUSE_MS : PAUSE_MS);
    if (isUnknown) return;
    const reason = answer.kind === 'answered' ? `it answers ${answer.status}` : answer.reason;
    const fields = { appservice: this.#service.id, path: this.#path, reason };
    this.#log.warn(fields, 'an application service was asked for keys in vain');
  }
}

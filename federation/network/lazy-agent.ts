import type { Agent } from 'undici';

type Undici = typeof import('undici');

/** What asks, and the connections to ask on. */
export interface Asking extends Pick<Undici, 'fetch' | 'request'> {
  readonly agent: Agent;
}

/** Connections of undici, which is loaded at first use: a server that asks nobody should not hold its 20 MB. */
export class LazyAgent {
  readonly #options: Agent.Options;
  #opened: Promise<Asking> | undefined;
  #isOver = false;

  constructor(options: Agent.Options) {
    this.#options = options;
  }

  open(): Promise<Asking> {
    if (this.#isOver) throw new Error('the connections are closed');
    this.#opened ??= import('undici').then(({ Agent, fetch, request }) => ({
      ...{ fetch, request },
      agent: new Agent(this.#options),
    }));
    return this.#opened;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.#isOver = true;
    await (await this.#opened)?.agent.destroy();
  }
}

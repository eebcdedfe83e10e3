/** Servers in one process of their own that Kurir joins rooms of, and that then send into these rooms. */

import { type ChildProcess, fork } from 'node:child_process';
import { once } from 'node:events';
import { type LoopbackServer, loopbackServers } from '#bench/lib/loopback-servers.ts';
import type { EventId, RoomId, ServerName } from '#keys/ids.ts';
import type { TestAuthority } from '#test/harness/certificates.ts';

/**
 * `one`: a single peer, into a room of its own. `own`: each into its own. `mixed`: each transaction into the peer's own
 * room and four that it shares with others, who speak there at the same time; what people do in encrypted rooms.
 */
export type Kind = 'one' | 'own' | 'mixed';

export type ToProgram =
  | {
      readonly kind: 'start';
      readonly servers: readonly LoopbackServer[];
    }
  | { readonly kind: 'build'; readonly what: Kind; readonly events: number }
  | { readonly kind: 'send'; readonly port: number };

/** What the program answers to each. */
export interface Answered {
  readonly start: { readonly rooms: readonly { readonly roomId: RoomId; readonly server: ServerName }[] };
  readonly build: { readonly eventIds: readonly EventId[] };
  readonly send: {
    /** Of each transaction, from its sending to the 200, in milliseconds. */
    readonly latencies: readonly number[];
    /** How often one was to be sent again later. */
    readonly busy: number;
  };
}

export class SendingPeers implements AsyncDisposable {
  readonly rooms: Answered['start']['rooms'];
  readonly #child: ChildProcess;

  static async start(authority: TestAuthority, count: number): Promise<SendingPeers> {
    const child = fork(new URL('sending-peers-program.ts', import.meta.url));
    const servers = await loopbackServers(authority, count);
    const started = await ask<'start'>(child, { kind: 'start', servers });
    return new SendingPeers(child, started.rooms);
  }

  private constructor(child: ChildProcess, rooms: SendingPeers['rooms']) {
    this.#child = child;
    this.rooms = rooms;
  }

  /** Makes transactions of 50 events; answers the ids of these. They are sent by the next `send`. */
  build(what: Kind, events: number): Promise<Answered['build']> {
    return ask<'build'>(this.#child, { kind: 'build', what, events });
  }

  /** Sends what was built to Kurir's federation port, each peer one transaction after the other. */
  send(port: number): Promise<Answered['send']> {
    return ask<'send'>(this.#child, { kind: 'send', port });
  }

  async [Symbol.asyncDispose](): Promise<void> {
    const ended = once(this.#child, 'exit');
    this.#child.disconnect();
    await ended;
  }
}

async function ask<K extends keyof Answered>(child: ChildProcess, message: ToProgram): Promise<Answered[K]> {
  child.send(message);
  const ended = once(child, 'exit').then(() => Promise.reject(new Error('the peers have ended')));
  const [answer] = await Promise.race([once(child, 'message'), ended]);
  return answer as Answered[K];
}

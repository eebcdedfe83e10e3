/**
 * Asking the policy servers of rooms for their signatures: https://spec.matrix.org/v1.19/server-server-api/#policy-servers
 *
 * 1. An event is asked for once at a time, and what was said of it counts for a minute: a signature for good, since it is
 *    kept with the event. A refusal is not, so that a policy server that has changed its mind is heard.
 * 2. Each question has ten seconds. A server that did not answer is left alone for five: what comes meanwhile is told so
 *    at once. It is a rule of its own, beside the back-off: a server may fail at this and do all else.
 * 3. A server that has too much to do is asked once more, if it says that it has time soon.
 */

import { setTimeout as pause } from 'node:timers/promises';
import type { ServerName } from '#keys/ids.ts';
import { objectAt, stringAt } from '#keys/json.ts';
import { Lanes, LanesFull } from '#keys/lanes.ts';
import type { Clock } from '#rooms/context.ts';
import type { Event } from '#rooms/event.ts';
import { POLICY_KEY_ID, type PolicyAnswer, type PolicySigner } from '#rooms/policy.ts';
import { Lru } from '#storage/lru.ts';
import type { FederationClient, FederationFailure } from '../client.ts';
import { Flights } from '../flights.ts';
import { readObject } from '../remote/answer.ts';

const TIMEOUT_MS = 10_000;
const MAX_BYTES = 64 * 1024;
const LEFT_ALONE_MS = 5_000;
const SOON_MS = 2_000;
const REMEMBERED_MS = 60_000;
const MOST_REMEMBERED = 5_000;
const MOST_SERVERS = 1_000;
const AT_ONCE = 16;
const MOST_WAITING = 1_000;

/** Judges for this server, where it is a policy server itself. */
export interface OwnPolicy {
  judge(event: Event): Promise<PolicyAnswer>;
}

interface Asked {
  readonly lanes: Lanes;
  leftAloneUntilTs: number;
}

interface Given {
  readonly client: FederationClient;
  readonly clock: Clock;
  readonly serverName: ServerName;
  /** Undefined where this server is no policy server. */
  readonly own: OwnPolicy | undefined;
}

export class PolicyAsker implements PolicySigner {
  readonly #given: Given;
  readonly #servers = new Lru<ServerName, Asked>({ maxEntries: MOST_SERVERS });
  /** What is under way is bounded by the lanes of the servers. */
  readonly #flights: Flights<PolicyAnswer>;

  constructor(given: Given) {
    this.#given = given;
    this.#flights = new Flights({
      clock: given.clock,
      isLasting: ({ kind }) => kind !== 'unanswered',
      rememberedMs: REMEMBERED_MS,
      mostRemembered: MOST_REMEMBERED,
    });
  }

  async sign(server: ServerName, event: Event): Promise<PolicyAnswer> {
    const { own, serverName } = this.#given;
    if (server === serverName) return own?.judge(event) ?? NOT_OURS;
    return this.#flights.run(`${server} ${event.eventId}`, () => this.#ask(server, event));
  }

  async #ask(server: ServerName, event: Event): Promise<PolicyAnswer> {
    const asked = this.#servers.get(server) ?? {
      lanes: new Lanes(AT_ONCE, MOST_WAITING),
      leftAloneUntilTs: 0,
    };
    this.#servers.set(server, asked);
    try {
      return await asked.lanes.run(() => this.#askNow(server, event, asked));
    } catch (error) {
      if (error instanceof LanesFull) return unanswered('too many events wait for it');
      throw error;
    }
  }

  async #askNow(server: ServerName, event: Event, asked: Asked): Promise<PolicyAnswer> {
    const { clock } = this.#given;
    if (clock.now() < asked.leftAloneUntilTs) return unanswered('it did not answer lately');
    const answer = await this.#request(server, event);
    if (answer.kind === 'ok') return signedFrom(server, answer.value);
    if (!isRefusal(answer)) {
      asked.leftAloneUntilTs = clock.now() + LEFT_ALONE_MS;
      return unanswered(answer.message);
    }
    return refusedBy(answer);
  }

  async #request(server: ServerName, event: Event) {
    const once = () =>
      this.#given.client.request({
        ...{ server, method: 'POST', path: '/_matrix/policy/v1/sign', body: event.pdu },
        ...{ timeoutMs: TIMEOUT_MS, maxBytes: MAX_BYTES, backoff: 'caller' },
      });
    const first = await once();
    const waitMs = first.kind === 'failed' && first.status === 429 ? (first.retryAfterMs ?? 0) : SOON_MS;
    if (waitMs >= SOON_MS) return readObject(first, (body) => body);
    await pause(waitMs, undefined, { ref: false });
    return readObject(await once(), (body) => body);
  }
}

const NOT_OURS: PolicyAnswer = {
  kind: 'refused',
  status: 404,
  body: { errcode: 'M_UNRECOGNIZED', error: 'This server is not a policy server' },
};

function signedFrom(server: ServerName, body: Parameters<typeof objectAt>[0]): PolicyAnswer {
  const signature = stringAt(objectAt(body, server) ?? {}, POLICY_KEY_ID);
  return signature === undefined
    ? unanswered('its answer holds no signature')
    : { kind: 'signed', signature };
}

/** An answer with an error, as the endpoint has them, is a word; what fails before or behind it is none. */
function isRefusal({ reason, status = 0 }: FederationFailure): boolean {
  return reason === 'refused' && status >= 400 && status < 500 && status !== 401 && status !== 408;
}

function refusedBy({ status = 400, body, errcode, message }: FederationFailure): PolicyAnswer {
  return { kind: 'refused', status, body: body ?? { errcode: errcode ?? 'M_FORBIDDEN', error: message } };
}

function unanswered(reason: string): PolicyAnswer {
  return { kind: 'unanswered', reason };
}

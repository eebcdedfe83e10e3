/**
 * Users and rooms that a service may make when they are asked for:
 * https://spec.matrix.org/v1.19/application-service-api/#querying
 *
 * "During this process, the application service is blocking the homeserver until the entity is created and configured."
 */

import { requestTimeout } from '#federation/errors.ts';
import { Flights } from '#federation/flights.ts';
import type { RoomAlias, UserId } from '#keys/ids.ts';
import type { Appservice } from './appservice.ts';
import type { Call } from './call.ts';

export interface Asked {
  all(): readonly Appservice[];
}

const TIMEOUT_MS = 10_000;
/** "the homeserver should retry several times before timing out" */
const ATTEMPTS = 2;
const MOST_AT_ONCE = 100;
const MOST_REMEMBERED = 10_000;
/** So long a service is not asked again for what it does not have. */
const ABSENT_MS = 30_000;

export class AppserviceQueries {
  readonly #services: Asked;
  readonly #flights = new Flights<boolean>({
    // The process's own: nobody sets it.
    clock: { now: () => performance.now() },
    isLasting: (isThere) => !isThere,
    rememberedMs: ABSENT_MS,
    mostRemembered: MOST_REMEMBERED,
  });

  constructor(services: Asked) {
    this.#services = services;
  }

  /** Whether a service says that it has made the user, who is unknown here. Throws 408 where it does not answer. */
  user(userId: UserId): Promise<boolean> {
    const services = this.#services.all().filter((service) => service.hasUser(userId));
    const path = `/users/${encodeURIComponent(userId)}`;
    return this.#ask(services, path);
  }

  /** As `user`, of a room with an alias of ours. */
  alias(alias: RoomAlias): Promise<boolean> {
    const services = this.#services.all().filter((service) => service.belongingOfAlias(alias) !== 'none');
    const path = `/rooms/${encodeURIComponent(alias)}`;
    return this.#ask(services, path);
  }

  async #ask(all: readonly Appservice[], path: string): Promise<boolean> {
    const services = all.filter(({ registration }) => registration.url !== undefined);
    if (services.length === 0) return false;
    // Whoever asks for more than that is answered as if there were nothing.
    if (this.#flights.running >= MOST_AT_ONCE && this.#flights.isNew(path)) return false;
    return this.#flights.run(path, () => askAll(services, path));
  }
}

async function askAll(services: readonly Appservice[], path: string): Promise<boolean> {
  const call: Call = { method: 'GET', path: `/v1${path}`, formerPath: path, timeoutMs: TIMEOUT_MS };
  // One after the other: mostly there is one, and what it makes the next one need not.
  for (const service of services) if (await isThere(service, call)) return true;
  return false;
}

async function isThere(service: Appservice, call: Call): Promise<boolean> {
  for (let attempt = 0; attempt < ATTEMPTS; attempt++) {
    const answer = await service.caller.call(call);
    if (answer.kind === 'answered') return answer.status >= 200 && answer.status < 300;
  }
  throw requestTimeout('The application service does not answer');
}

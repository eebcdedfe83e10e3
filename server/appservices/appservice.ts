/** One application service of a running server. */

import { belongsTo, type RoomAlias, type ServerName, type UserId } from '#keys/ids.ts';
import { Caller } from './call.ts';
import type { Belonging } from './namespaces.ts';
import type { Policy } from './policy.ts';
import type { Registration } from './registration.ts';

export interface AppserviceSource {
  /** Undefined for a service that was added by command. */
  readonly file: string | undefined;
  readonly policy: Policy;
}

export class Appservice {
  readonly registration: Registration;
  readonly source: AppserviceSource;
  readonly caller: Caller;
  readonly #serverName: ServerName;

  constructor(
    registration: Registration,
    source: AppserviceSource,
    options: { readonly serverName: ServerName; readonly tokenInQuery: boolean },
  ) {
    this.registration = registration;
    this.source = source;
    this.#serverName = options.serverName;
    this.caller = new Caller(registration, options);
  }

  get id(): string {
    return this.registration.id;
  }

  get policy(): Policy {
    return this.source.policy;
  }

  /** "Application services can only register interest in *local* users". Its own user is the service's alone. */
  belongingOf(userId: string): Belonging {
    const { sender, users } = this.registration;
    if (userId === sender) return 'exclusive';
    return belongsTo(userId, this.#serverName) ? users.of(userId) : 'none';
  }

  hasUser(userId: string): boolean {
    return this.belongingOf(userId) !== 'none';
  }

  belongingOfAlias(alias: RoomAlias): Belonging {
    return this.registration.aliases.of(alias);
  }

  /** "Whether requests from masqueraded users are rate-limited. The sender is excluded." */
  isLimited(userId: UserId): boolean {
    return this.registration.rateLimited && userId !== this.registration.sender;
  }
}

/** Why a service cannot be beside the others, for the operator; nothing where it can. */
export function clashOf(registration: Registration, others: Iterable<Appservice>): string | undefined {
  const { id, asToken, hsToken, sender } = registration;
  if (asToken === hsToken) return 'its as_token is its hs_token too: let the service generate the file';
  for (const other of others) {
    const { registration: known } = other;
    if (known.id === id) return `there is a service "${id}" already`;
    if (known.asToken === asToken) return `its as_token is that of "${known.id}"`;
    if (known.sender === sender) return `its sender_localpart is that of "${known.id}"`;
    if (known.users.of(sender) === 'exclusive') return `"${known.id}" has its sender_localpart for itself`;
    if (registration.users.of(known.sender) === 'exclusive') {
      return `its namespaces.users has the sender_localpart of "${known.id}"`;
    }
    for (const kind of ['users', 'aliases'] as const) {
      const exclusive = new Set(
        known[kind].entries.filter((entry) => entry.exclusive).map(({ regex }) => regex),
      );
      const twice = registration[kind].entries.find((entry) => entry.exclusive && exclusive.has(entry.regex));
      if (twice !== undefined) return `"${known.id}" has ${JSON.stringify(twice.regex)} for itself`;
    }
  }
  return undefined;
}

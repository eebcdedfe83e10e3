/** The application services of a running server: those of the configuration, and those added by command. */

import { readFile } from 'node:fs/promises';
import type { RoomAlias, ServerName, UserId } from '#keys/ids.ts';
import { hashToken } from '#keys/tokens.ts';
import * as accessTokens from '#storage/access-tokens.ts';
import * as appservices from '#storage/appservices.ts';
import type { Database } from '#storage/database.ts';
import * as users from '#storage/users.ts';
import type { AppservicesConfig } from '../config/appservice-options.ts';
import { ConfigError } from '../config/config-file.ts';
import { Appservice, clashOf } from './appservice.ts';
import type { NewsContext } from './context.ts';
import { Delivery, type DeliveryStatus } from './delivery.ts';
import { FREE, type Policy, policyIn, stricter } from './policy.ts';
import { type Registration, readRegistration } from './registration.ts';

/** A service beside what is told to it. */
interface Entry {
  readonly service: Appservice;
  /** Undefined for a service without an address. */
  readonly delivery: Delivery | undefined;
}

export type Added =
  | { readonly kind: 'added'; readonly service: Appservice }
  | { readonly kind: 'refused'; readonly reason: string };

const MOST_SERVICES = 200;

export class Appservices {
  readonly #ctx: NewsContext;
  readonly #config: AppservicesConfig;
  readonly #entries = new Map<string, Entry>();
  /** By the hashes of their tokens, so that no comparison tells how much of a guess is right. */
  readonly #byToken = new Map<string, Appservice>();
  #isStarted = false;

  /** @throws ConfigError for a file of the configuration that cannot be used, or beside another */
  static async open(ctx: NewsContext, config: AppservicesConfig): Promise<Appservices> {
    const opened = new Appservices(ctx, config);
    for (const file of config.appServiceConfigFiles) await opened.#addFile(file);
    for (const row of await appservices.list(ctx.db)) await opened.#addRow(row);
    return opened;
  }

  private constructor(ctx: NewsContext, config: AppservicesConfig) {
    this.#ctx = ctx;
    this.#config = config;
  }

  start(): void {
    this.#isStarted = true;
    for (const { delivery } of this.#entries.values()) delivery?.start();
  }

  all(): Appservice[] {
    return [...this.#entries.values()].map(({ service }) => service);
  }

  /** The service with this `as_token`. */
  ofToken(token: string): Appservice | undefined {
    return this.#byToken.size === 0 ? undefined : this.#byToken.get(hashToken(token));
  }

  /** The service that has a user, or who would be one, for itself. */
  exclusiveOwnerOf(userId: UserId): Appservice | undefined {
    return this.all().find((service) => service.belongingOf(userId) === 'exclusive');
  }

  exclusiveOwnerOfAlias(alias: RoomAlias): Appservice | undefined {
    return this.all().find((service) => service.belongingOfAlias(alias) === 'exclusive');
  }

  /** True for an alias that some service may make when it is asked. */
  hasAlias(alias: RoomAlias): boolean {
    return this.all().some((service) => service.belongingOfAlias(alias) !== 'none');
  }

  /** True for users that belong to a service alone which the limits spare. */
  isSpared(userId: string): boolean {
    for (const { service } of this.#entries.values()) {
      if (service.belongingOf(userId) !== 'exclusive') continue;
      if (!service.registration.rateLimited || userId === service.registration.sender) return true;
    }
    return false;
  }

  /** Adds a service for good. It is told what happens from now on. */
  async add(text: string, policy: Policy): Promise<Added> {
    const checked = await this.#check(text);
    if (checked.kind === 'refused') return checked;
    const { registration } = checked;
    const { db, clock } = this.#ctx;
    const row = { id: registration.id, registration: text, policy: jsonOf(policy), addedTs: clock.now() };
    const isNew = await db.write('appservices.add', (tx) => appservices.add(tx, row));
    if (!isNew) return { kind: 'refused', reason: `there is a service "${registration.id}" already` };
    const service = await this.#put(registration, { file: undefined, policy });
    if (this.#isStarted) this.#entries.get(service.id)?.delivery?.start();
    return { kind: 'added', service };
  }

  /** Ends a service that was added by command. Its users and rooms stay. */
  async remove(id: string): Promise<'removed' | 'unknown' | 'configured'> {
    const entry = this.#entries.get(id);
    if (entry === undefined) return 'unknown';
    if (entry.service.source.file !== undefined) return 'configured';
    this.#byToken.delete(hashToken(entry.service.registration.asToken));
    this.#entries.delete(id);
    await entry.delivery?.[Symbol.asyncDispose]();
    await entry.service.caller[Symbol.asyncDispose]();
    await this.#ctx.db.write('appservices.remove', (tx) => appservices.remove(tx, id));
    return 'removed';
  }

  /** How far a service has been told; undefined for one that is told nothing. */
  statusOf(id: string): DeliveryStatus | undefined {
    return this.#entries.get(id)?.delivery?.status;
  }

  /** A service has shown that it is there: what waits for it is sent now. */
  retry(id: string): void {
    this.#entries.get(id)?.delivery?.retry();
  }

  async [Symbol.asyncDispose](): Promise<void> {
    const entries = [...this.#entries.values()];
    await Promise.all(entries.map(({ delivery }) => delivery?.[Symbol.asyncDispose]()));
    await Promise.all(entries.map(({ service }) => service.caller[Symbol.asyncDispose]()));
  }

  async #addFile(file: string): Promise<void> {
    const text = await readFile(file, 'utf8').catch((cause: NodeJS.ErrnoException) => {
      throw new ConfigError(`app_service_config_files: ${file} cannot be read (${cause.code})`, { cause });
    });
    const checked = await this.#check(text);
    if (checked.kind === 'refused') {
      throw new ConfigError(`app_service_config_files: ${file}: ${checked.reason}`);
    }
    await this.#put(checked.registration, { file, policy: FREE });
  }

  /** One that has become unusable, by a clash with a file, must not keep the server from starting. */
  async #addRow({ id, registration, policy }: appservices.AppserviceRow): Promise<void> {
    const checked = await this.#check(registration);
    if (checked.kind === 'ok') {
      await this.#put(checked.registration, { file: undefined, policy: policyFrom(policy) });
      return;
    }
    const fields = { appservice: id, reason: checked.reason };
    this.#ctx.log.error(
      fields,
      'an application service is left out: remove it, or the file that it is at odds with',
    );
  }

  async #check(
    text: string,
  ): Promise<{ kind: 'ok'; registration: Registration } | { kind: 'refused'; reason: string }> {
    const { serverName, db } = this.#ctx;
    const checked = await checkRegistration(text, serverName, this.all());
    if (checked.kind === 'refused') return checked;
    const { asToken } = checked.registration;
    if ((await accessTokens.ownerOf(db, hashToken(asToken))) === undefined) return checked;
    return { kind: 'refused', reason: 'its as_token is the access token of a user' };
  }

  async #put(
    registration: Registration,
    source: { readonly file: string | undefined; readonly policy: Policy },
  ): Promise<Appservice> {
    const { serverName, db, clock } = this.#ctx;
    await makeSender({ db, now: clock.now() }, registration.sender);
    const policy = stricter(source.policy, registration.policy);
    const service = new Appservice(
      registration,
      { file: source.file, policy },
      { serverName, tokenInQuery: this.#config.appServiceTokenInQuery },
    );
    const isAnothers = (userId: UserId) => {
      const owner = this.exclusiveOwnerOf(userId);
      return owner !== undefined && owner !== service;
    };
    const delivery =
      registration.url === undefined ? undefined : new Delivery(this.#ctx, { service, isAnothers });
    this.#entries.set(service.id, { service, delivery });
    this.#byToken.set(hashToken(registration.asToken), service);
    return service;
  }
}

/** A registration that can be beside others, or why not, for the operator. */
export async function checkRegistration(
  text: string,
  serverName: ServerName,
  others: readonly Appservice[],
): Promise<{ kind: 'ok'; registration: Registration } | { kind: 'refused'; reason: string }> {
  const read = await readRegistration(text, serverName);
  if (read.kind === 'invalid') return { kind: 'refused', reason: `the file ${read.reason}` };
  if (others.length >= MOST_SERVICES)
    return { kind: 'refused', reason: `there are ${MOST_SERVICES} services` };
  const clash = clashOf(read.registration, others);
  return clash === undefined ? read : { kind: 'refused', reason: clash };
}

/** A service acts by its own user as soon as it is there: bridges do not all register it. */
async function makeSender(
  { db, now }: { readonly db: Database; readonly now: number },
  userId: UserId,
): Promise<void> {
  if ((await users.of(db, userId)) !== undefined) return;
  await db.write('appservices.sender', (tx) =>
    users.create(tx, { userId, passwordHash: undefined, isAdmin: false, now }),
  );
}

export function jsonOf({ federation, publicRooms, maxMembers }: Policy): string {
  const cap = maxMembers === undefined ? {} : { max_members: maxMembers };
  return JSON.stringify({ federation, public_rooms: publicRooms, ...cap });
}

export function policyFrom(json: string): Policy {
  const policy = policyIn(JSON.parse(json) as Parameters<typeof policyIn>[0]);
  if (typeof policy === 'string')
    throw new Error(`the policy of a service is kept as something else: ${policy}`);
  return policy;
}

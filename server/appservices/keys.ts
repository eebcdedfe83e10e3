/**
 * Keys of devices that application services keep to themselves: MSC3983, by which they give out one-time keys, and
 * MSC3984, by which they say what devices their users have.
 *
 * https://github.com/matrix-org/matrix-spec-proposals/pull/3983 and /3984
 */

import type { BridgedKeys } from '#federation/context.ts';
import type { OwnKeys } from '#federation/e2ee-keys/device-lists-own.ts';
import type { Claim, ClaimedKey } from '#federation/e2ee-keys/key-claims.ts';
import { claimedIn, devicesIn, signingKeyIn } from '#federation/remote/keys.ts';
import type { UserId } from '#keys/ids.ts';
import { isObject, type JsonObject, objectAt } from '#keys/json.ts';
import type { Log } from '#rooms/context.ts';
import type { AppservicesConfig } from '../config/appservice-options.ts';
import type { Appservice } from './appservice.ts';
import { KeyLine } from './key-line.ts';

type Kind = 'claim' | 'query';

const PATHS: Readonly<Record<Kind, string>> = {
  claim: '/unstable/org.matrix.msc3983/keys/claim',
  query: '/unstable/org.matrix.msc3984/keys/query',
};

/** In one request, so that its answer is no larger than one that is read. */
const CLAIMS_AT_ONCE = 1_000;
const USERS_AT_ONCE = 100;

export interface KeysSource {
  exclusiveOwnerOf(userId: UserId): Appservice | undefined;
}

export class AppserviceKeys implements BridgedKeys {
  readonly #services: KeysSource;
  readonly #config: AppservicesConfig;
  readonly #log: Log;
  readonly #lines: Readonly<Record<Kind, WeakMap<Appservice, KeyLine>>> = {
    claim: new WeakMap(),
    query: new WeakMap(),
  };

  constructor(services: KeysSource, config: AppservicesConfig, log: Log) {
    this.#services = services;
    this.#config = config;
    this.#log = log;
  }

  givesKeysOf(userId: UserId): boolean {
    return this.#config.appServiceKeyClaims && this.#askable(userId) !== undefined;
  }

  knowsDevicesOf(userId: UserId): boolean {
    return this.#config.appServiceKeyQueries && this.#askable(userId) !== undefined;
  }

  async claim(claims: readonly Claim[]): Promise<readonly ClaimedKey[]> {
    const byService = Map.groupBy(claims, ({ userId }) => this.#askable(userId));
    const given = await Promise.all(
      portionsOf(byService, CLAIMS_AT_ONCE).map(async ({ service, portion }) => {
        const answer = await this.#line('claim', service).ask(claimsBody(portion));
        return portion.flatMap((claim) => claimedFrom(answer, claim) ?? []);
      }),
    );
    return given.flat();
  }

  async query(wanted: ReadonlyMap<UserId, readonly string[]>): Promise<ReadonlyMap<UserId, OwnKeys>> {
    const byService = Map.groupBy(wanted, ([userId]) => this.#askable(userId));
    const told = await Promise.all(
      portionsOf(byService, USERS_AT_ONCE).map(async ({ service, portion }) => {
        const answer = await this.#line('query', service).ask(Object.fromEntries(portion));
        return portion.map(([userId]) => [userId, keysFrom(answer, userId)] as const);
      }),
    );
    return new Map(told.flat());
  }

  /** "we require the user to be in an exclusive namespace": by this there is one service alone to be asked. */
  #askable(userId: UserId): Appservice | undefined {
    const service = this.#services.exclusiveOwnerOf(userId);
    return service?.registration.url === undefined ? undefined : service;
  }

  #line(kind: Kind, service: Appservice): KeyLine {
    const known = this.#lines[kind].get(service);
    if (known !== undefined) return known;
    const line = new KeyLine(service, PATHS[kind], this.#log);
    this.#lines[kind].set(service, line);
    return line;
  }
}

function portionsOf<T>(
  byService: ReadonlyMap<Appservice | undefined, readonly T[]>,
  size: number,
): { readonly service: Appservice; readonly portion: readonly T[] }[] {
  return [...byService].flatMap(([service, all]) => {
    if (service === undefined) return [];
    const count = Math.ceil(all.length / size);
    return Array.from({ length: count }, (_, n) => ({
      service,
      portion: all.slice(n * size, (n + 1) * size),
    }));
  });
}

/** `{user_id: {device_id: [algorithm]}}` */
function claimsBody(claims: readonly Claim[]): JsonObject {
  const byUser = Map.groupBy(claims, ({ userId }) => userId);
  const users = [...byUser].map(([userId, ofUser]) => {
    const byDevice = Map.groupBy(ofUser, ({ deviceId }) => deviceId);
    const devices = [...byDevice].map(
      ([deviceId, ofDevice]) => [deviceId, ofDevice.map(({ algorithm }) => algorithm)] as const,
    );
    return [userId, Object.fromEntries(devices)] as const;
  });
  return Object.fromEntries(users);
}

function claimedFrom(answer: JsonObject, claim: Claim): ClaimedKey | undefined {
  const ofDevice = objectAt(objectAt(answer, claim.userId) ?? {}, claim.deviceId);
  return ofDevice === undefined ? undefined : claimedIn(ofDevice, claim);
}

/** What is sound of what is said of a user. */
function keysFrom(answer: JsonObject, userId: UserId): OwnKeys {
  const devices = objectAt(objectAt(answer, 'device_keys') ?? {}, userId) ?? {};
  const keyOf = (name: string, usage: 'master' | 'self_signing' | 'user_signing') =>
    signingKeyIn(objectAt(answer, name) ?? {}, userId, { userId, usage });
  return {
    devices: devicesIn(
      userId,
      Object.entries(devices).filter(([, keys]) => isObject(keys)),
    ),
    masterKey: keyOf('master_keys', 'master'),
    selfSigningKey: keyOf('self_signing_keys', 'self_signing'),
    userSigningKey: keyOf('user_signing_keys', 'user_signing'),
  };
}

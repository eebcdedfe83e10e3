/**
 * What a Matrix Authentication Service is asked: whose token it is, and how clients sign in there.
 *
 * https://www.rfc-editor.org/rfc/rfc7662
 */

import { unknown } from '#federation/errors.ts';
import { parseLoose } from '#keys/canonical-json.ts';
import type { ServerName, UserId } from '#keys/ids.ts';
import { integerAt, isObject, type JsonObject, own, stringAt } from '#keys/json.ts';
import { equalSecrets, hashToken } from '#keys/tokens.ts';
import type { Clock, Log } from '#rooms/context.ts';
import type { TokenOwner } from '#storage/access-tokens.ts';
import type { Reader } from '#storage/database.ts';
import * as devices from '#storage/devices.ts';
import { Lru } from '#storage/lru.ts';
import * as users from '#storage/users.ts';
import { ProviderFetch } from '../providers/provider-fetch.ts';
import { readOptionFile, readSecret } from '../providers/secret.ts';
import type { MasOption } from './mas-option.ts';

export interface MasContext {
  readonly db: Reader;
  readonly clock: Clock;
  readonly log: Log;
  readonly serverName: ServerName;
}

/** A token that is good, and until when that need not be asked again. */
export interface ForeignToken {
  readonly owner: TokenOwner;
  readonly freshUntilTs: number;
}

const FRESH_MS = 60_000;
const UNKNOWN_MS = 5_000;
const METADATA_MS = 10 * 60_000;
const MOST_UNKNOWN = 10_000;
const LONGEST_TOKEN = 4_000;
const API = ['urn:matrix:client:api:*', 'urn:matrix:org.matrix.msc2967.client:api:*'];
const DEVICE = ['urn:matrix:client:device:', 'urn:matrix:org.matrix.msc2967.client:device:'];
/** As it is named, and as it was before Matrix 1.18 (MSC4191). */
const ACCOUNT_URI = ['account_management_uri', 'org.matrix.msc4191.account_management_uri'];
const WEB = ['https:', 'http:'];
const ADMIN = 'urn:synapse:admin:*';

export class AuthenticationService {
  readonly #ctx: MasContext;
  readonly #endpoint: string;
  readonly #secret: string;
  readonly #fetch: ProviderFetch;
  /** By the token's hash: one question at a time for each. */
  readonly #asking = new Map<string, Promise<ForeignToken | undefined>>();
  /** Until when a token counts as unknown without asking. */
  readonly #unknown = new Lru<string, number>({ maxEntries: MOST_UNKNOWN });
  #metadata: { readonly value: JsonObject; readonly readTs: number } | undefined;

  /** @throws ConfigError where a file that the option names cannot be read */
  static async open(
    ctx: MasContext,
    option: MasOption,
    { allowPrivate }: { readonly allowPrivate: boolean },
  ): Promise<AuthenticationService> {
    const ca = option.ca === undefined ? undefined : await readOptionFile('mas', option.ca);
    const { endpoint } = option;
    const fetch = new ProviderFetch({ issuer: endpoint, hosts: [], ca, allowPrivate });
    return new AuthenticationService(ctx, {
      endpoint,
      secret: await readSecret('mas', option.secret),
      fetch,
    });
  }

  private constructor(
    ctx: MasContext,
    parts: { readonly endpoint: string; readonly secret: string; readonly fetch: ProviderFetch },
  ) {
    this.#ctx = ctx;
    this.#endpoint = parts.endpoint;
    this.#secret = parts.secret;
    this.#fetch = parts.fetch;
  }

  /** True for what only the service and this server know. */
  isSecret(given: string): boolean {
    return equalSecrets(given, this.#secret);
  }

  /** Whose token it is; undefined for none that is good. Throws `M_UNKNOWN` (503) where the service does not answer. */
  async find(token: string): Promise<ForeignToken | undefined> {
    if (token.length > LONGEST_TOKEN) return undefined;
    const hash = hashToken(token);
    if ((this.#unknown.get(hash) ?? 0) > this.#ctx.clock.now()) return undefined;
    const asking = this.#asking.get(hash);
    if (asking !== undefined) return await asking;
    const asked = this.#ask(token, hash).finally(() => this.#asking.delete(hash));
    this.#asking.set(hash, asked);
    return await asked;
  }

  /** What clients need to sign in there. */
  async metadata(): Promise<JsonObject> {
    const now = this.#ctx.clock.now();
    const known = this.#metadata;
    if (known !== undefined && now - known.readTs < METADATA_MS) return known.value;
    try {
      const value = await this.#request('/.well-known/openid-configuration');
      this.#metadata = { value, readTs: now };
      return value;
    } catch (error) {
      if (known !== undefined) return known.value;
      throw error;
    }
  }

  /** The page there on which people see to their account, for one thing that is to be done. */
  async accountUrl(action: string): Promise<string> {
    const metadata = await this.metadata();
    const named = ACCOUNT_URI.map((name) => URL.parse(stringAt(metadata, name) ?? ''));
    // A service that names no page of its own shows one at its address, or says where it is.
    const url = named.find((one) => one !== null && WEB.includes(one.protocol)) ?? new URL(this.#endpoint);
    url.searchParams.set('action', action);
    return url.href;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.#fetch[Symbol.asyncDispose]();
  }

  async #ask(token: string, hash: string): Promise<ForeignToken | undefined> {
    const answer = await this.#request('/oauth2/introspect', {
      method: 'POST',
      headers: {
        authorization: `Bearer ${this.#secret}`,
        'content-type': 'application/x-www-form-urlencoded',
        accept: 'application/json',
        // So that it tells the device of tokens whose scope has none.
        'x-mas-supports-device-id': '1',
      },
      body: new URLSearchParams({ token, token_type_hint: 'access_token' }).toString(),
    });
    const found = await this.#ownerOf(answer);
    const now = this.#ctx.clock.now();
    if (found === undefined) {
      this.#unknown.set(hash, now + UNKNOWN_MS);
      return undefined;
    }
    const expiresIn = integerAt(answer, 'expires_in');
    const lifetimeMs = expiresIn === undefined ? FRESH_MS : Math.min(FRESH_MS, expiresIn * 1_000);
    return { owner: found, freshUntilTs: now + lifetimeMs };
  }

  async #ownerOf(answer: JsonObject): Promise<TokenOwner | undefined> {
    const name = stringAt(answer, 'username');
    if (own(answer, 'active') !== true || name === undefined) return undefined;
    const scopes = (stringAt(answer, 'scope') ?? '').split(' ');
    if (!API.some((scope) => scopes.includes(scope))) return undefined;
    const deviceId = stringAt(answer, 'device_id') ?? deviceOf(scopes);
    const userId: UserId = `@${name}:${this.#ctx.serverName}`;
    const user = await users.of(this.#ctx.db, userId);
    if (user === undefined || user.deactivatedTs !== undefined || deviceId === undefined) return undefined;
    if ((await devices.of(this.#ctx.db, userId, deviceId)) === undefined) return undefined;
    return {
      userId,
      deviceId,
      isAdmin: scopes.includes(ADMIN),
      isGuest: user.isGuest,
      isLocked: user.lockedTs !== undefined,
      isSuspended: user.suspendedTs !== undefined,
      expiresTs: undefined,
      replaces: undefined,
    };
  }

  async #request(path: string, init: Parameters<ProviderFetch['fetch']>[1] = {}): Promise<JsonObject> {
    try {
      const response = await this.#fetch.fetch(`${this.#endpoint}${path}`, init);
      const parsed = parseLoose(Buffer.from(await response.arrayBuffer()));
      if (response.status !== 200 || parsed.kind !== 'ok' || !isObject(parsed.value)) {
        throw new Error(`it answers ${path} with ${response.status}`);
      }
      return parsed.value;
    } catch (error) {
      this.#ctx.log.error({ err: error }, 'the authentication service could not be asked');
      throw unknown(503, 'The authentication service of this server does not answer: try again later', error);
    }
  }
}

function deviceOf(scopes: readonly string[]): string | undefined {
  const ids = scopes.flatMap((scope) =>
    DEVICE.filter((prefix) => scope.startsWith(prefix)).map((prefix) => scope.slice(prefix.length)),
  );
  return ids.find((id) => id !== '');
}

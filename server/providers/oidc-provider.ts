/**
 * One identity provider of OpenID Connect: the code flow with PKCE, nonce and state, checked by openid-client.
 *
 * https://openid.net/specs/openid-connect-core-1_0.html
 * https://openid.net/specs/openid-connect-backchannel-1_0.html
 */

import { createPrivateKey, randomBytes, type webcrypto } from 'node:crypto';
import type { JWTVerifyGetKey } from 'jose';
import type { ClientAuth, Configuration } from 'openid-client';
import type { JsonObject } from '#keys/json.ts';
import type { Clock } from '#rooms/context.ts';
import { subjectOf } from './claims.ts';
import { faultOf, type Identity, identityOf } from './oidc-identity.ts';
import type { OidcOption } from './oidc-option.ts';
import { ProviderFault } from './provider-fault.ts';
import type { ProviderFetch } from './provider-fetch.ts';
import { readOptionFile, readSecret } from './secret.ts';

/** What must be known when a person comes back from the provider. */
export interface Attempt {
  readonly state: string;
  readonly nonce: string;
  readonly verifier: string;
}

export interface Begun extends Attempt {
  /** Where the person's browser goes. */
  readonly url: string;
}

export interface BeginOptions {
  readonly redirectUri: string;
  /** `login`: the person proves anew who they are; `create`: they want a new account. */
  readonly prompt?: 'login' | 'create';
  readonly uiLocales?: string;
}

type Client = typeof import('openid-client');

/** After so long the provider's metadata are read again. */
const METADATA_MS = 60 * 60_000;
/** Where they could not be read, nobody asks again for so long. */
const FAULT_MS = 2_000;
/** Apart from this, clocks must agree. */
const CLOCK_TOLERANCE_S = 30;
const ID_TOKEN_MAX_AGE_S = 600;
const LONGEST_REQUEST_S = 10;

interface Known {
  readonly config: Configuration;
  readonly keys: JWTVerifyGetKey;
  readonly readTs: number;
}

export class OidcProvider {
  readonly option: OidcOption;
  readonly #fetch: ProviderFetch;
  readonly #clock: Clock;
  readonly #clientAuth: (client: Client) => Promise<ClientAuth>;
  #known: Known | undefined;
  #reading: Promise<Known> | undefined;
  #fault: { readonly error: ProviderFault; readonly ts: number } | undefined;

  /** @throws ConfigError where a file of its secrets cannot be read */
  static async open(
    option: OidcOption,
    parts: { fetch: ProviderFetch; clock: Clock },
  ): Promise<OidcProvider> {
    return new OidcProvider(option, { ...parts, clientAuth: await clientAuthOf(option) });
  }

  private constructor(
    option: OidcOption,
    parts: { fetch: ProviderFetch; clock: Clock; clientAuth: (client: Client) => Promise<ClientAuth> },
  ) {
    this.option = option;
    this.#fetch = parts.fetch;
    this.#clock = parts.clock;
    this.#clientAuth = parts.clientAuth;
  }

  get id(): string {
    return this.option.id;
  }

  /** Where a person's browser goes to sign in, and what to remember of it. @throws ProviderFault */
  async begin({ redirectUri, prompt, uiLocales }: BeginOptions): Promise<Begun> {
    const client = await import('openid-client');
    const { config } = await this.#read();
    const attempt = { state: secret(), nonce: secret(), verifier: client.randomPKCECodeVerifier() };
    const known = config.serverMetadata().prompt_values_supported;
    // "If the OpenID Provider receives a prompt value that it does not support ..., it SHOULD respond with an HTTP 400"
    const isAsked =
      prompt === 'login' || (prompt === 'create' && Array.isArray(known) && known.includes(prompt));
    const url = client.buildAuthorizationUrl(config, {
      redirect_uri: redirectUri,
      scope: this.option.scopes.join(' '),
      state: attempt.state,
      nonce: attempt.nonce,
      code_challenge: await client.calculatePKCECodeChallenge(attempt.verifier),
      code_challenge_method: 'S256',
      ...(prompt !== undefined && isAsked && { prompt }),
      ...(uiLocales !== undefined && { ui_locales: uiLocales }),
    });
    return { ...attempt, url: url.href };
  }

  /** Who has come back, by the address that they came to. @throws ProviderFault */
  async finish(cameTo: URL, attempt: Attempt): Promise<Identity> {
    const client = await import('openid-client');
    const { config } = await this.#read();
    try {
      const tokens = await client.authorizationCodeGrant(config, cameTo, {
        expectedState: attempt.state,
        expectedNonce: attempt.nonce,
        pkceCodeVerifier: attempt.verifier,
        idTokenExpected: true,
      });
      const said = tokens.claims();
      if (said === undefined || tokens.id_token === undefined) {
        throw new ProviderFault('invalid', 'there is no ID token');
      }
      // openid-client takes the word of the connection for it, which the specification allows. We look at the
      // signature, too, by keys that are read again where an unknown one signs.
      await this.verify(tokens.id_token, { maxAgeS: ID_TOKEN_MAX_AGE_S });
      const hasMore = this.option.userinfo && config.serverMetadata().userinfo_endpoint !== undefined;
      const more = hasMore ? await client.fetchUserInfo(config, tokens.access_token, said.sub) : {};
      return identityOf(this.option, { said, more, refreshToken: tokens.refresh_token });
    } catch (error) {
      throw faultOf(error);
    }
  }

  /** Whether a person still has a session there: `ended` where the provider says that they have none. */
  async refresh(
    refreshToken: string,
  ): Promise<{ kind: 'alive'; refreshToken: string } | { kind: 'ended' } | { kind: 'unknown'; why: string }> {
    try {
      const client = await import('openid-client');
      const { config } = await this.#read();
      const tokens = await client.refreshTokenGrant(config, refreshToken);
      return { kind: 'alive', refreshToken: tokens.refresh_token ?? refreshToken };
    } catch (error) {
      // "invalid_grant: The provided ... refresh token is invalid, expired, revoked" (RFC 6749, 5.2). All else is a
      // fault of the network, or of the configuration, for which nobody is signed out.
      if (error instanceof Error && 'error' in error && error.error === 'invalid_grant')
        return { kind: 'ended' };
      return { kind: 'unknown', why: faultOf(error).message };
    }
  }

  /**
   * The claims of a token that the provider has signed for this server (OpenID Connect Core, 3.1.3.7).
   *
   * @throws ProviderFault
   */
  async verify(jwt: string, { maxAgeS }: { readonly maxAgeS: number }): Promise<JsonObject> {
    const { jwtVerify } = await import('jose');
    const { config, keys } = await this.#read();
    const listed = config.serverMetadata().id_token_signing_alg_values_supported ?? ['RS256'];
    try {
      const { payload } = await jwtVerify<JsonObject>(jwt, keys, {
        issuer: config.serverMetadata().issuer,
        audience: this.option.clientId,
        // Never `none`, and nothing that is made with the client's secret.
        algorithms: listed.filter((name) => /^(RS|PS|ES)(256|384|512)$|^EdDSA$|^Ed25519$/.test(name)),
        requiredClaims: ['iat', 'iss', 'aud'],
        maxTokenAge: maxAgeS,
        clockTolerance: CLOCK_TOLERANCE_S,
        currentDate: new Date(this.#clock.now()),
      });
      return payload;
    } catch (error) {
      throw faultOf(error);
    }
  }

  /** The permanent id of the person whom the claims of a token name. */
  subjectOf(claims: JsonObject): string | undefined {
    return subjectOf(claims, this.option.subjectClaims);
  }

  /** What the provider says of itself, read now. @throws ProviderFault */
  async metadata(): Promise<JsonObject> {
    this.#known = undefined;
    this.#fault = undefined;
    const { config } = await this.#read();
    return JSON.parse(JSON.stringify(config.serverMetadata()));
  }

  /** An answer to a plain question, for the operator's check. @throws ProviderFault */
  async get(url: string): Promise<Response> {
    try {
      return await this.#fetch.fetch(url, {});
    } catch (error) {
      throw faultOf(error);
    }
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.#fetch[Symbol.asyncDispose]();
  }

  /** The metadata, from memory while they are fresh; older ones where the provider does not answer. */
  async #read(): Promise<Known> {
    const now = this.#clock.now();
    const known = this.#known;
    if (known !== undefined && now - known.readTs < METADATA_MS) return known;
    if (this.#fault !== undefined && now - this.#fault.ts < FAULT_MS && now >= this.#fault.ts) {
      if (known !== undefined) return known;
      throw this.#fault.error;
    }
    this.#reading ??= this.#discover().finally(() => {
      this.#reading = undefined;
    });
    try {
      return await this.#reading;
    } catch (error) {
      if (known !== undefined) return known;
      throw error;
    }
  }

  async #discover(): Promise<Known> {
    const now = this.#clock.now();
    try {
      const [client, jose] = await Promise.all([import('openid-client'), import('jose')]);
      const { issuer, clientId } = this.option;
      const isPlain = issuer.startsWith('http:');
      const config = await client.discovery(
        new URL(issuer),
        clientId,
        { [client.clockTolerance]: CLOCK_TOLERANCE_S },
        await this.#clientAuth(client),
        {
          execute: isPlain ? [client.allowInsecureRequests] : [],
          [client.customFetch]: this.#fetch.fetch,
          timeout: LONGEST_REQUEST_S,
        },
      );
      const { jwks_uri: jwksUri } = config.serverMetadata();
      if (jwksUri === undefined) throw new ProviderFault('invalid', 'the metadata have no jwks_uri');
      const keys = jose.createRemoteJWKSet(new URL(jwksUri), {
        [jose.customFetch]: this.#fetch.fetch,
        cooldownDuration: FAULT_MS,
      });
      this.#fault = undefined;
      this.#known = { config, keys, readTs: now };
      return this.#known;
    } catch (error) {
      const fault = faultOf(error);
      this.#fault = { error: fault, ts: now };
      throw fault;
    }
  }
}

function secret(): string {
  return randomBytes(24).toString('base64url');
}

async function clientAuthOf(option: OidcOption): Promise<(client: Client) => Promise<ClientAuth>> {
  const where = `oidc_providers: ${option.id}`;
  const { clientAuth, clientSecret, clientKeyFile } = option;
  if (clientAuth === 'none') return async (client) => client.None();
  if (clientAuth === 'private_key_jwt') {
    const pem = await readOptionFile(where, clientKeyFile ?? '');
    return async (client) => client.PrivateKeyJwt(await signingKeyOf(pem));
  }
  const text = await readSecret(where, clientSecret ?? { value: '' });
  return clientAuth === 'client_secret_post'
    ? async (client) => client.ClientSecretPost(text)
    : async (client) => client.ClientSecretBasic(text);
}

async function signingKeyOf(pem: string): Promise<webcrypto.CryptoKey> {
  const key = createPrivateKey(pem);
  const isRsa = key.asymmetricKeyType === 'rsa';
  const algorithm = isRsa
    ? { name: 'RSASSA-PKCS1-v1_5', hash: 'SHA-256' }
    : { name: 'ECDSA', namedCurve: 'P-256' };
  return key.toCryptoKey(algorithm, false, ['sign']);
}

/** A real identity provider (npm `oidc-provider`) on loopback, where everybody is signed in at once as `person`. */

import { createPrivateKey, generateKeyPairSync, randomUUID } from 'node:crypto';
import { createServer, type IncomingMessage, type Server, type ServerResponse } from 'node:http';
import { SignJWT } from 'jose';
import Provider, { type Configuration } from 'oidc-provider';
import type { OidcOption } from '#server/providers/oidc-option.ts';
import { oidcProvidersKind } from '#server/providers/oidc-option.ts';
import { freePort } from '#test/harness/free-port.ts';

export interface Person {
  readonly sub: string;
  readonly [claim: string]: unknown;
}

export const CLIENT_SECRET = 'the secret of the client';

interface Key {
  readonly jwk: Record<string, unknown>;
  readonly kid: string;
}

export class IdentityProvider {
  readonly issuer: string;
  readonly redirectUri: string;
  readonly #port: number;
  #server: Server | undefined;
  #key: Key;
  /** Who signs in next; nobody: the provider refuses. */
  person: Person | undefined;
  /** What is answered in place of the provider's own answer, by path. */
  readonly instead = new Map<string, (request: IncomingMessage, response: ServerResponse) => void>();
  /** The paths that were asked for. */
  readonly asked: string[] = [];
  /** Persons whose refresh tokens are not good any more. */
  readonly disabled = new Set<string>();
  /** Its sessions by which somebody has come to this server, in that order. */
  readonly sids: string[] = [];

  /** One that sends people back to `redirectUri`. `await using` stops it. */
  static async start(redirectUri: string): Promise<IdentityProvider> {
    const provider = new IdentityProvider(await freePort(), redirectUri);
    await provider.up();
    return provider;
  }

  private constructor(port: number, redirectUri: string) {
    this.#port = port;
    this.issuer = `http://127.0.0.1:${port}`;
    this.redirectUri = redirectUri;
    this.#key = newKey();
  }

  /** As an operator writes it into the configuration. */
  option(more: Record<string, unknown> = {}): readonly OidcOption[] {
    const [, id = ''] = /\/provider\/([^/]+)\//.exec(this.redirectUri) ?? [];
    const given = { id, issuer: this.issuer, client_id: 'kurir', client_secret: CLIENT_SECRET, ...more };
    const parsed = oidcProvidersKind.parse([new Map(Object.entries(given))]);
    if (parsed === undefined) throw new Error('no option');
    return parsed;
  }

  async up(): Promise<void> {
    const provider = new Provider(this.issuer, this.#configuration());
    provider.on('authorization.success', ({ oidc }) => {
      const sid = oidc.session?.sidFor('kurir');
      if (sid !== undefined) this.sids.push(sid);
    });
    provider.on('server_error', (_, error) => console.error(error));
    const callback = provider.callback();
    const server = createServer((request, response) => {
      const { pathname } = new URL(request.url ?? '/', this.issuer);
      this.asked.push(pathname);
      const instead = this.instead.get(pathname);
      if (instead !== undefined) {
        instead(request, response);
      } else if (pathname.startsWith('/interaction/')) {
        this.#interact(provider, request, response).catch((error: unknown) => {
          response.writeHead(500).end(String(error));
        });
      } else {
        callback(request, response);
      }
    });
    await new Promise<void>((resolve) => server.listen(this.#port, '127.0.0.1', resolve));
    this.#server = server;
  }

  async down(): Promise<void> {
    const server = this.#server;
    this.#server = undefined;
    if (server === undefined) return;
    server.closeAllConnections();
    await new Promise<void>((resolve) => server.close(() => resolve()));
  }

  /** From now on tokens are signed with another key. */
  async rotateKeys(): Promise<void> {
    await this.down();
    this.#key = newKey();
    await this.up();
  }

  /** A logout token that this provider has signed, unless told otherwise. */
  async logoutToken(claims: Record<string, unknown>, header: Record<string, unknown> = {}): Promise<string> {
    const { jwk, kid } = this.#key;
    const jwt = new SignJWT({
      iss: this.issuer,
      aud: 'kurir',
      iat: Math.floor(Date.now() / 1_000),
      exp: Math.floor(Date.now() / 1_000) + 120,
      jti: randomUUID(),
      events: { 'http://schemas.openid.net/event/backchannel-logout': {} },
      ...claims,
    }).setProtectedHeader({ alg: 'RS256', kid, typ: 'logout+jwt', ...header });
    return await jwt.sign(createPrivateKey({ key: jwk, format: 'jwk' }));
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.down();
  }

  async #interact(provider: Provider, request: IncomingMessage, response: ServerResponse): Promise<void> {
    const { prompt, params } = await provider.interactionDetails(request, response);
    const { person } = this;
    if (person === undefined) {
      await provider.interactionFinished(request, response, { error: 'access_denied' });
      return;
    }
    if (prompt.name === 'login') {
      const login = { accountId: person.sub, amr: ['pwd', 'mfa'] };
      await provider.interactionFinished(request, response, { login });
      return;
    }
    const grant = new provider.Grant({ accountId: person.sub, clientId: String(params.client_id) });
    grant.addOIDCScope('openid profile email offline_access');
    const consent = { grantId: await grant.save() };
    await provider.interactionFinished(request, response, { consent }, { mergeWithLastSubmission: true });
  }

  #configuration(): Configuration {
    const persons = this.#persons;
    const remember = (): Person | undefined => {
      if (this.person !== undefined) persons.set(this.person.sub, this.person);
      return this.person;
    };
    return {
      clients: [
        {
          client_id: 'kurir',
          client_secret: CLIENT_SECRET,
          redirect_uris: [this.redirectUri],
          grant_types: ['authorization_code', 'refresh_token'],
          response_types: ['code'],
          backchannel_logout_uri: new URL('/sign-in/nowhere', this.redirectUri).href,
          backchannel_logout_session_required: true,
        },
      ],
      jwks: { keys: [this.#key.jwk] },
      cookies: { keys: ['a key of the test'] },
      claims: {
        openid: ['sub', 'sid'],
        profile: ['name', 'preferred_username', 'groups', 'oid', 'tid'],
        email: ['email', 'email_verified'],
      },
      conformIdTokenClaims: false,
      features: { devInteractions: { enabled: false }, backchannelLogout: { enabled: true } },
      interactions: { url: (_, interaction) => `/interaction/${interaction.uid}` },
      pkce: { required: () => true },
      issueRefreshToken: async () => true,
      rotateRefreshToken: true,
      findAccount: async (_, sub) => {
        remember();
        const person = persons.get(sub);
        if (person === undefined || this.disabled.has(sub)) return undefined;
        return { accountId: sub, claims: async () => person };
      },
      ttl: { Session: 3_600, Grant: 3_600, AccessToken: 3_600, IdToken: 3_600, Interaction: 3_600 },
    };
  }

  readonly #persons = new Map<string, Person>();
}

function newKey(): Key {
  const kid = randomUUID();
  const { privateKey } = generateKeyPairSync('rsa', { modulusLength: 2048 });
  return { kid, jwk: { ...privateKey.export({ format: 'jwk' }), kid, alg: 'RS256', use: 'sig' } };
}

/** https://spec.matrix.org/v1.19/client-server-api/#legacy-login */

import type { FastifyInstance, FastifyRequest } from 'fastify';
import { forbidden, unknown, userDeactivated, userLocked } from '#federation/errors.ts';
import type { JsonObject } from '#keys/json.ts';
import { hashToken } from '#keys/tokens.ts';
import type { Origin } from '#storage/device-origins.ts';
import * as loginTokens from '#storage/login-tokens.ts';
import * as users from '#storage/users.ts';
import { APPSERVICE_LOGIN, loginForService } from '../appservices/accounts.ts';
import { signIn } from '../auth/accounts.ts';
import { identifiedUser } from '../auth/identifier.ts';
import { userByPassword } from '../auth/password-sign-in.ts';
import { askedSession, signedInAnswer } from '../auth/sign-in.ts';
import { bodyObject, requiredString } from '../body.ts';
import type { ServerContext } from '../context.ts';
import { issuerOf } from '../oauth/metadata.ts';
import { isPasswordEnough } from '../second-factor/factors.ts';

/** `GET` and `POST /_matrix/client/v3/login`: by password, or by the token that another device got. */
export function loginRoutes(app: FastifyInstance, ctx: ServerContext): void {
  const flows = [
    ...ssoFlows(ctx),
    ...(ctx.config.passwordLogin ? [{ type: 'm.login.password' }] : []),
    { type: 'm.login.token', get_login_token: true },
  ];
  app.get('/_matrix/client/v3/login', async () => ({
    flows: ctx.appservices.all().length === 0 ? flows : [...flows, { type: APPSERVICE_LOGIN }],
  }));

  app.post('/_matrix/client/v3/login', async (request) => {
    const body = bodyObject(request);
    const type = requiredString(body, 'type');
    const asked = askedSession(body);
    const { user, origin } = await authenticate(ctx, type, { body, request });
    if (user.deactivatedTs !== undefined) throw userDeactivated();
    if (user.lockedTs !== undefined) throw userLocked();
    const session = await signIn(ctx, user.userId, { ...asked, origin });
    return signedInAnswer(ctx, user.userId, session);
  });
}

/** Single sign-on, where there is a provider for it. */
function ssoFlows(ctx: ServerContext): JsonObject[] {
  const providers = ctx.providers.list();
  if (providers.length === 0) return [];
  const identityProviders = providers.map(({ label, ...rest }) => ({ ...rest, name: label }));
  // "OAuth 2.0 aware clients MUST only offer this flow": only where there is no password besides.
  const isPreferred = issuerOf(ctx.config) !== undefined && !ctx.config.passwordLogin;
  const aware = {
    oauth_aware_preferred: true,
    'org.matrix.msc3824.delegated_oidc_compatibility': true,
  };
  return [{ type: 'm.login.sso', identity_providers: identityProviders, ...(isPreferred && aware) }];
}

interface SignedIn {
  readonly user: users.User;
  /** The session of an identity provider that said who it is. */
  readonly origin?: Origin | undefined;
}

async function authenticate(
  ctx: ServerContext,
  type: string,
  { body, request }: { readonly body: JsonObject; readonly request: FastifyRequest },
): Promise<SignedIn> {
  const address = request.ip;
  switch (type) {
    case 'm.login.password':
      if (!ctx.config.passwordLogin) throw forbidden('Nobody signs in by password on this server');
      return { user: await byPassword(ctx, body, address) };
    case 'm.login.token':
      return byToken(ctx, requiredString(body, 'token'), address);
    case APPSERVICE_LOGIN:
      return { user: await loginForService(ctx, request, body) };
    default:
      throw unknown(400, `Login type ${type} is not supported`);
  }
}

async function byPassword(ctx: ServerContext, body: JsonObject, address: string): Promise<users.User> {
  const password = requiredString(body, 'password');
  const userId = await identifiedUser(ctx, body);
  const user = await userByPassword(ctx, userId, { password, address });
  if (await isPasswordEnough(ctx, user.userId)) return user;
  throw forbidden(
    'This account needs a second factor: use a client that opens the sign-in page of this server (OAuth 2.0)',
  );
}

/** "The generated token MUST only be valid for a single login." */
async function byToken(ctx: ServerContext, token: string, address: string): Promise<SignedIn> {
  ctx.limits.check('login_failed', address);
  ctx.limits.take('login_address', address);
  const now = ctx.clock.now();
  const taken = await ctx.db.write('loginTokens.take', (tx) => loginTokens.take(tx, hashToken(token), now));
  const user = taken && (await users.of(ctx.db, taken.userId));
  if (user !== undefined) return { user, origin: taken?.origin };
  ctx.limits.take('login_failed', address);
  throw forbidden('The login token is not valid, or was used');
}

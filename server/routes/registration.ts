/** https://spec.matrix.org/v1.19/client-server-api/#account-registration-and-management */

import { randomBytes } from 'node:crypto';
import type { FastifyInstance } from 'fastify';
import {
  forbidden,
  guestAccessForbidden,
  invalidParam,
  invalidUsername,
  type MatrixError,
  missingParam,
  userInUse,
  wrongCredentials,
} from '#federation/errors.ts';
import { misfitOfUserName } from '#federation/partners/policy.ts';
import { type JsonObject, stringAt } from '#keys/json.ts';
import { hashToken } from '#keys/tokens.ts';
import * as registrationTokens from '#storage/registration-tokens.ts';
import * as users from '#storage/users.ts';
import { createAccount, faultOfPassword, newUserId, signIn } from '../auth/accounts.ts';
import type { Challenge, Stage } from '../auth/interactive-auth.ts';
import { checkDeviceId, signedInAnswer } from '../auth/sign-in.ts';
import { bodyObject, optionalBoolean, optionalString, requiredString } from '../body.ts';
import type { ServerContext } from '../context.ts';

type Query = { readonly [name: string]: unknown };

/** `/register`, by whatever way the configuration leaves open, and what clients ask before it. */
export function registrationRoutes(app: FastifyInstance, ctx: ServerContext): void {
  app.post<{ Querystring: Query }>('/_matrix/client/v3/register', async (request) => {
    const { kind = 'user' } = request.query;
    if (kind === 'guest') throw guestAccessForbidden();
    if (kind !== 'user') throw invalidParam('kind is neither "user" nor "guest"');
    refuseIfClosed(ctx);
    const body = bodyObject(request);
    const username = optionalString(body, 'username');
    if (username !== undefined) await checkUsername(ctx, username);
    const { session, completed } = await ctx.interactiveAuth.require(body, challengeFor(ctx, request.ip));
    ctx.limits.take('registration', request.ip);
    const registrationToken = tokenOf(completed.get('m.login.registration_token'));
    const answer = await register(ctx, body, { username, registrationToken });
    ctx.interactiveAuth.finish(session);
    return answer;
  });

  app.get<{ Querystring: Query }>('/_matrix/client/v3/register/available', async (request) => {
    refuseIfClosed(ctx);
    ctx.limits.take('registration_check', request.ip);
    const { username } = request.query;
    if (typeof username !== 'string') throw missingParam('username');
    await checkUsername(ctx, username);
    return { available: true };
  });

  app.get<{ Querystring: Query }>(
    '/_matrix/client/v1/register/m.login.registration_token/validity',
    async (request) => {
      if (ctx.config.registration !== 'token') throw forbidden('Registration tokens are not in use');
      ctx.limits.take('registration_check', request.ip);
      const { token } = request.query;
      if (typeof token !== 'string') throw missingParam('token');
      return { valid: await isValidToken(ctx, token) };
    },
  );
}

async function register(
  ctx: ServerContext,
  body: JsonObject,
  given: { username: string | undefined; registrationToken: string | undefined },
): Promise<JsonObject> {
  const password = requiredString(body, 'password');
  const fault = faultOfPassword(password);
  if (fault !== undefined) throw invalidParam(fault);
  const deviceId = checkDeviceId(optionalString(body, 'device_id'));
  const displayName = optionalString(body, 'initial_device_display_name');
  const inhibitLogin = optionalBoolean(body, 'inhibit_login') ?? false;
  const localpart = given.username ?? `u${randomBytes(6).toString('hex')}`;
  const { registrationToken } = given;
  const account = { localpart, password, ...(registrationToken !== undefined && { registrationToken }) };
  const made = await createAccount(ctx, account);
  switch (made.kind) {
    case 'invalid_name':
      throw invalidUsername();
    case 'name_taken':
      throw userInUse();
    case 'bad_token':
      throw forbidden('The registration token is not valid, or was used meanwhile');
    case 'created':
      break;
  }
  const { userId } = made;
  if (inhibitLogin) return { user_id: userId, home_server: ctx.serverName };
  return signedInAnswer(ctx, userId, await signIn(ctx, { userId, deviceId, displayName }));
}

function challengeFor(ctx: ServerContext, address: string): Challenge {
  const stage: Stage = ctx.config.registration === 'open' ? 'm.login.dummy' : 'm.login.registration_token';
  return {
    scope: 'register',
    stages: [stage],
    check: (_, auth) => checkStage(ctx, stage, { auth, address }),
  };
}

async function checkStage(
  ctx: ServerContext,
  stage: Stage,
  { auth, address }: { auth: JsonObject; address: string },
): Promise<MatrixError | undefined> {
  if (stage === 'm.login.dummy') return undefined;
  ctx.limits.take('registration_check', address);
  const token = tokenOf(auth);
  const isValid = token !== undefined && (await isValidToken(ctx, token));
  return isValid ? undefined : wrongCredentials('The registration token is not valid');
}

function tokenOf(auth: JsonObject | undefined): string | undefined {
  return auth && stringAt(auth, 'token');
}

function isValidToken(ctx: ServerContext, token: string): Promise<boolean> {
  return registrationTokens.isValid(ctx.db, hashToken(token), ctx.clock.now());
}

function refuseIfClosed(ctx: ServerContext): void {
  if (ctx.config.registration === 'closed') throw forbidden('Registration is closed on this server');
}

/** "a-z, 0-9, and ._=-/+": https://spec.matrix.org/v1.19/appendices/#user-identifiers */
async function checkUsername(ctx: ServerContext, username: string): Promise<void> {
  const userId = newUserId(username, ctx.serverName);
  if (userId === undefined) {
    throw invalidUsername(
      'User names consist of lower-case letters a-z, digits and the characters . _ = - / +',
    );
  }
  const unfit = misfitOfUserName(ctx.partners.current.list, username);
  if (unfit !== undefined) throw invalidUsername(unfit);
  if ((await users.of(ctx.db, userId)) !== undefined) throw userInUse();
}

/** https://spec.matrix.org/v1.19/client-server-api/#legacy-account-registration */

import { randomBytes } from 'node:crypto';
import type { FastifyInstance } from 'fastify';
import {
  forbidden,
  invalidParam,
  invalidUsername,
  type MatrixError,
  missingParam,
  userInUse,
  wrongCredentials,
} from '#federation/errors.ts';
import { misfitOfUserName } from '#federation/partners/policy.ts';
import type { UserId } from '#keys/ids.ts';
import { type JsonObject, own } from '#keys/json.ts';
import type { Tx } from '#storage/database.ts';
import * as users from '#storage/users.ts';
import { APPSERVICE_LOGIN, registerForService } from '../appservices/accounts.ts';
import { refuseReserved } from '../appservices/restraint.ts';
import { createAccount, localpartFor, signIn } from '../auth/accounts.ts';
import { registerGuest, upgradeGuest, upgradingGuest } from '../auth/guests.ts';
import type { Stage } from '../auth/interactive-auth.ts';
import { checkNewPassword } from '../auth/password-policy.ts';
import {
  isValidToken,
  refuseIfClosed,
  registrationChallenge,
  tokenGiven,
  writeConfirmed,
} from '../auth/registration-challenge.ts';
import { askedSession, signedInAnswer } from '../auth/sign-in.ts';
import { bodyObject, optionalBoolean, optionalString, requiredString } from '../body.ts';
import type { ServerContext } from '../context.ts';

type Query = { readonly [name: string]: unknown };

/** `/register`, by whatever way the configuration leaves open, and what clients ask before it. */
export function registrationRoutes(app: FastifyInstance, ctx: ServerContext): void {
  app.post<{ Querystring: Query }>('/_matrix/client/v3/register', async (request) => {
    const { kind = 'user' } = request.query;
    if (kind === 'guest') return registerGuest(ctx, bodyObject(request), request.ip);
    if (kind !== 'user') throw invalidParam('kind is neither "user" nor "guest"');
    const body = bodyObject(request);
    // Whether people can register has nothing to do with it.
    if (own(body, 'type') === APPSERVICE_LOGIN) return registerForService(ctx, request, body);
    refuseIfClosed(ctx);
    const username = optionalString(body, 'username');
    const guest = await upgradingGuest(ctx, body);
    const localpart =
      username === undefined || guest !== undefined ? undefined : await newLocalpart(ctx, username);
    const wished = optionalString(body, 'password');
    if (wished !== undefined) checkNewPassword(wished, ctx.config);
    const challenge = registrationChallenge(ctx, request.ip);
    const { session, completed } = await ctx.interactiveAuth.require(body, challenge);
    ctx.limits.take('registration', request.ip);
    const answer = await register(ctx, body, { localpart, completed, session, guest });
    ctx.interactiveAuth.finish(session);
    return answer;
  });

  app.get<{ Querystring: Query }>('/_matrix/client/v3/register/available', async (request) => {
    refuseIfClosed(ctx);
    ctx.limits.take('registration_check', request.ip);
    const { username } = request.query;
    if (typeof username !== 'string') throw missingParam('username');
    await newLocalpart(ctx, username);
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
  given: {
    readonly localpart: string | undefined;
    readonly completed: ReadonlyMap<Stage, JsonObject>;
    readonly session: string;
    readonly guest: UserId | undefined;
  },
): Promise<JsonObject> {
  const password = requiredString(body, 'password');
  const asked = askedSession(body);
  const inhibitLogin = optionalBoolean(body, 'inhibit_login') ?? false;
  const userId = await accountFor(ctx, password, given);
  if (inhibitLogin) return { user_id: userId, home_server: ctx.serverName };
  return signedInAnswer(ctx, userId, await signIn(ctx, userId, asked));
}

/** A new account, or that of a guest who is none any more. */
async function accountFor(
  ctx: ServerContext,
  password: string,
  given: Parameters<typeof register>[2],
): Promise<UserId> {
  const { localpart = `u${randomBytes(6).toString('hex')}`, completed, session, guest } = given;
  const registrationToken = tokenGiven(completed);
  if (guest !== undefined) {
    const alsoWrite = (tx: Tx, now: number) => writeConfirmed(ctx, tx, { userId: guest, completed, now });
    const outcome = await upgradeGuest(ctx, guest, { password, registrationToken, alsoWrite });
    if (outcome === 'upgraded') return guest;
    throw outcome === 'bad_token' ? tokenUsed(ctx, session) : forbidden('The user is no guest any more');
  }
  const made = await createAccount(ctx, {
    localpart,
    password,
    ...(registrationToken !== undefined && { registrationToken }),
    alsoWrite: (tx, userId, now) => writeConfirmed(ctx, tx, { userId, completed, now }),
  });
  switch (made.kind) {
    case 'invalid_name':
      throw invalidUsername();
    case 'name_taken':
      throw userInUse();
    case 'bad_token':
      throw tokenUsed(ctx, session);
    case 'created':
      return made.userId;
  }
}

/** It was good when the stage was done: the client does it again, with another. */
function tokenUsed(ctx: ServerContext, session: string): MatrixError {
  const refusal = wrongCredentials('The registration token was used up meanwhile');
  return ctx.interactiveAuth.undo(session, 'm.login.registration_token', refusal);
}

/** The localpart for a user name that an account may have and none has yet. */
async function newLocalpart(ctx: ServerContext, username: string): Promise<string> {
  const { serverName } = ctx;
  const localpart = localpartFor(username, serverName);
  if (localpart === undefined) {
    throw invalidUsername('User names consist of letters a-z, digits and the characters . _ = - / +');
  }
  refuseReserved(ctx, `@${localpart}:${serverName}`);
  const unfit = misfitOfUserName(ctx.partners.current.list, localpart);
  if (unfit !== undefined) throw invalidUsername(unfit);
  if ((await users.of(ctx.db, `@${localpart}:${serverName}`)) !== undefined) throw userInUse();
  return localpart;
}

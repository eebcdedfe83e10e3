import { randomBytes } from 'node:crypto';
import type { FastifyInstance } from 'fastify';
import {
  exclusive,
  forbidden,
  invalidParam,
  invalidUsername,
  unknown,
  userInUse,
} from '#federation/errors.ts';
import type { JsonObject } from '#keys/json.ts';
import { equalSecrets, hmacSha1Hex } from '#keys/tokens.ts';
import { Lru } from '#storage/lru.ts';
import * as profiles from '#storage/profiles.ts';
import { isReserved } from '../appservices/restraint.ts';
import { createAccount, faultOfPassword, localpartFor, signIn } from '../auth/accounts.ts';
import { signedInAnswer } from '../auth/sign-in.ts';
import { bodyObject, optionalBoolean, optionalString, requiredString } from '../body.ts';
import type { ServerContext } from '../context.ts';

const PATH = '/_synapse/admin/v1/register';
const NONCE_MS = 60_000;
const MOST_NONCES = 1_000;

/**
 * Registration by a secret that scripts share with the server, in the form that existing scripts use: `GET` gives
 * a nonce, good for one `POST` within 60 seconds, whose `mac` proves the secret. Absent unless one is configured.
 */
export function sharedSecretRegistrationRoutes(app: FastifyInstance, ctx: ServerContext): void {
  const { registrationSecret } = ctx.config;
  if (registrationSecret === undefined) return;
  /** When each nonce ends, in milliseconds of the clock. */
  const nonces = new Lru<string, number>({ maxEntries: MOST_NONCES });

  app.get(PATH, async () => {
    const nonce = randomBytes(32).toString('hex');
    nonces.set(nonce, ctx.clock.now() + NONCE_MS);
    return { nonce };
  });

  app.post(PATH, async (request) => {
    ctx.limits.take('registration', request.ip);
    const body = bodyObject(request);
    const nonce = requiredString(body, 'nonce');
    const until = nonces.get(nonce);
    nonces.delete(nonce);
    if (until === undefined || until < ctx.clock.now()) throw unknown(400, 'unrecognised nonce');
    const wanted = hmacSha1Hex(registrationSecret, signedText(body, nonce));
    if (!equalSecrets(requiredString(body, 'mac').toLowerCase(), wanted)) throw forbidden('HMAC incorrect');
    return register(ctx, body);
  });
}

/** What the `mac` covers: the values divided by NUL. */
function signedText(body: JsonObject, nonce: string): string {
  const admin = optionalBoolean(body, 'admin') ?? false;
  const userType = optionalString(body, 'user_type');
  const parts = [nonce, requiredString(body, 'username'), requiredString(body, 'password')];
  return [...parts, admin ? 'admin' : 'notadmin', ...(userType === undefined ? [] : [userType])].join('\0');
}

async function register(ctx: ServerContext, body: JsonObject): Promise<JsonObject> {
  const password = requiredString(body, 'password');
  const fault = faultOfPassword(password);
  if (fault !== undefined) throw invalidParam(fault);
  const localpart = localpartFor(requiredString(body, 'username'), ctx.serverName);
  if (localpart === undefined) throw invalidUsername();
  if (isReserved(ctx, `@${localpart}:${ctx.serverName}`)) {
    throw exclusive('The user name is reserved by an application service');
  }
  const isAdmin = optionalBoolean(body, 'admin') ?? false;
  const displayName = optionalString(body, 'displayname');
  const made = await createAccount(ctx, { localpart, password, isAdmin });
  if (made.kind === 'name_taken') throw userInUse();
  if (made.kind !== 'created') throw invalidUsername();
  const { userId } = made;
  if (displayName !== undefined) {
    await ctx.db.write('profiles.set', (tx) => profiles.set(tx, userId, 'displayname', displayName));
  }
  const session = await signIn(ctx, userId, {
    deviceId: undefined,
    displayName: undefined,
    isRefreshable: false,
  });
  return signedInAnswer(ctx, userId, session);
}

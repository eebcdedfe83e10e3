/** Passkeys: https://www.w3.org/TR/webauthn-3/ */

import { createHash } from 'node:crypto';
import { parseLoose } from '#keys/canonical-json.ts';
import type { UserId } from '#keys/ids.ts';
import { isObject, isStringArray, type JsonObject, objectAt, own, stringAt } from '#keys/json.ts';
import * as passkeys from '#storage/passkeys.ts';
import type { ServerContext } from '../context.ts';
import { passkeySite } from './passkey-site.ts';

type PasskeyContext = Pick<ServerContext, 'db' | 'clock' | 'config' | 'serverName'>;

export const MOST_PASSKEYS = 20;
const LONGEST_NAME = 100;
const TRANSPORT = /^[a-z-]{1,20}$/;
const MOST_TRANSPORTS = 10;

/** What a browser needs to make a passkey, as JSON; undefined where there can be none. */
export async function creationOptions(ctx: PasskeyContext, userId: UserId): Promise<JsonObject | undefined> {
  const site = passkeySite(ctx.config);
  if (site === undefined) return undefined;
  const { generateRegistrationOptions } = await import('@simplewebauthn/server');
  const known = await passkeys.ofUser(ctx.db, userId);
  const options = await generateRegistrationOptions({
    rpName: ctx.serverName,
    rpID: site.id,
    userName: userId,
    userID: userHandle(userId),
    userDisplayName: userId,
    attestationType: 'none',
    excludeCredentials: known.map(({ credentialId, transports }) => ({
      ...{ id: credentialId, transports: [...transports] },
    })),
    authenticatorSelection: { residentKey: 'preferred', userVerification: 'preferred' },
  });
  return jsonOf(options);
}

/** What a browser needs to ask for a passkey: one of a user, or any. */
export async function requestOptions(
  ctx: PasskeyContext,
  userId: UserId | undefined,
): Promise<JsonObject | undefined> {
  const site = passkeySite(ctx.config);
  if (site === undefined) return undefined;
  const { generateAuthenticationOptions } = await import('@simplewebauthn/server');
  const known = userId === undefined ? [] : await passkeys.ofUser(ctx.db, userId);
  const options = await generateAuthenticationOptions({
    rpID: site.id,
    // Without a password before it, the passkey is all there is: it must know its owner.
    userVerification: userId === undefined ? 'required' : 'preferred',
    allowCredentials: known.map(({ credentialId, transports }) => ({
      ...{ id: credentialId, transports: [...transports] },
    })),
  });
  return jsonOf(options);
}

/** Adds the passkey that a browser has made for `challenge`. */
export async function addPasskey(
  ctx: PasskeyContext,
  userId: UserId,
  made: { readonly credential: string; readonly challenge: string; readonly name: string },
): Promise<'added' | 'refused' | 'too_many'> {
  const site = passkeySite(ctx.config);
  const credential = credentialOf(made.credential);
  if (site === undefined || credential === undefined) return 'refused';
  const { response } = credential;
  const { verifyRegistrationResponse } = await import('@simplewebauthn/server');
  const verified = await orRefused(() =>
    verifyRegistrationResponse({
      response: {
        ...credential,
        response: { ...response, attestationObject: response.attestationObject ?? '' },
      },
      expectedChallenge: made.challenge,
      expectedOrigin: site.origin,
      expectedRPID: site.id,
      requireUserVerification: false,
    }),
  );
  if (verified?.verified !== true) return 'refused';
  const { id, publicKey, counter } = verified.registrationInfo.credential;
  const { transports } = credential;
  const createdTs = ctx.clock.now();
  const name = made.name.trim().slice(0, LONGEST_NAME).toWellFormed() || new Date(createdTs).toISOString();
  return await ctx.db.write('passkeys.add', async (tx) => {
    if ((await passkeys.ofUser(tx, userId)).length >= MOST_PASSKEYS) return 'too_many';
    const passkey = {
      ...{ credentialId: id, userId, publicKey: Buffer.from(publicKey).toString('base64url') },
      ...{ counter, transports, name, createdTs },
    };
    return (await passkeys.add(tx, passkey)) ? 'added' : 'refused';
  });
}

/**
 * Whose passkey has answered `challenge`; undefined where the answer is not right. For a user who has shown a password
 * only their own count, without one only such as have made sure who holds them.
 */
export async function userOfPasskey(
  ctx: PasskeyContext,
  answered: { readonly credential: string; readonly challenge: string; readonly userId: UserId | undefined },
): Promise<UserId | undefined> {
  const site = passkeySite(ctx.config);
  const credential = credentialOf(answered.credential);
  const known = credential && (await passkeys.of(ctx.db, credential.id));
  if (site === undefined || credential === undefined || known === undefined) return undefined;
  if (answered.userId !== undefined && known.userId !== answered.userId) return undefined;
  const { authenticatorData = '', signature = '', userHandle: handle } = credential.response;
  if (handle !== undefined && handle !== encoded(userHandle(known.userId))) return undefined;
  const { verifyAuthenticationResponse } = await import('@simplewebauthn/server');
  const verified = await orRefused(() =>
    verifyAuthenticationResponse({
      response: {
        ...credential,
        response: { clientDataJSON: credential.response.clientDataJSON, authenticatorData, signature },
      },
      expectedChallenge: answered.challenge,
      expectedOrigin: site.origin,
      expectedRPID: site.id,
      // A counter that goes back is refused by this: the passkey may have been copied.
      credential: {
        ...{ id: known.credentialId, publicKey: Uint8Array.from(Buffer.from(known.publicKey, 'base64url')) },
        ...{ counter: known.counter },
      },
      requireUserVerification: answered.userId === undefined,
    }),
  );
  if (verified?.verified !== true) return undefined;
  const use = { counter: verified.authenticationInfo.newCounter, now: ctx.clock.now() };
  await ctx.db.write('passkeys.use', (tx) => passkeys.use(tx, known.credentialId, use));
  return known.userId;
}

/** "The user handle MUST NOT contain personally identifying information". */
function userHandle(userId: UserId): Uint8Array<ArrayBuffer> {
  return Uint8Array.from(createHash('sha256').update(`passkeys of ${userId}`).digest());
}

function encoded(bytes: Uint8Array): string {
  return Buffer.from(bytes).toString('base64url');
}

/** What the library throws is all that is wrong with what it was given. */
async function orRefused<T>(verify: () => Promise<T>): Promise<T | undefined> {
  try {
    return await verify();
  } catch {
    return undefined;
  }
}

/** A `PublicKeyCredential` as our script writes it, as far as it is one. */
interface Credential {
  readonly id: string;
  readonly rawId: string;
  readonly type: 'public-key';
  readonly clientExtensionResults: Record<string, never>;
  readonly transports: readonly string[];
  readonly response: {
    readonly clientDataJSON: string;
    readonly attestationObject?: string;
    readonly authenticatorData?: string;
    readonly signature?: string;
    readonly userHandle?: string;
  };
}

function credentialOf(text: string): Credential | undefined {
  const parsed = parseLoose(Buffer.from(text), { refuseLoneSurrogates: true });
  if (parsed.kind !== 'ok' || !isObject(parsed.value)) return undefined;
  const { value } = parsed;
  const response = objectAt(value, 'response');
  const id = stringAt(value, 'id');
  const clientDataJSON = response && stringAt(response, 'clientDataJSON');
  if (response === undefined || id === undefined || clientDataJSON === undefined) return undefined;
  const names = ['attestationObject', 'authenticatorData', 'signature', 'userHandle'] as const;
  const parts = names.flatMap((name) => {
    const part = stringAt(response, name);
    return part === undefined ? [] : [[name, part] as const];
  });
  const told = own(response, 'transports');
  const transports = isStringArray(told) ? told.filter((one) => TRANSPORT.test(one)) : [];
  return {
    ...{ id, rawId: id, type: 'public-key', clientExtensionResults: {} },
    transports: transports.slice(0, MOST_TRANSPORTS),
    response: { clientDataJSON, ...Object.fromEntries(parts) },
  };
}

/** What the library makes, as plain JSON. */
function jsonOf(options: object): JsonObject {
  const parsed: unknown = JSON.parse(JSON.stringify(options));
  if (!isObject(parsed)) throw new Error('options of a passkey are an object');
  return parsed;
}

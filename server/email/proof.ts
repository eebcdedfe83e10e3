/** Proofs that an e-mail address is somebody's, as clients hand them in: a session id and the client's secret. */

import { badJson, invalidParam, missingParam } from '#federation/errors.ts';
import { type JsonObject, objectAt, own } from '#keys/json.ts';
import { equalSecrets, hashToken } from '#keys/tokens.ts';
import type { Reader } from '#storage/database.ts';
import * as emailValidations from '#storage/email-validations.ts';
import type { ServerContext } from '../context.ts';

/** "It must be a string consisting of the characters `[0-9a-zA-Z.=_-]`. Its length must not exceed 255 characters". */
const SECRET = /^[0-9a-zA-Z.=_-]{1,255}$/;

/** A proof that holds. */
export interface Proof {
  readonly sid: string;
  readonly address: string;
  readonly validatedTs: number;
}

/** A member of the grammar of `client_secret` and `sid`. */
export function secretAt(object: JsonObject, key: string): string {
  const value = own(object, key);
  if (value === undefined || value === null) throw missingParam(key);
  if (typeof value !== 'string') throw badJson(`${key} must be a string`);
  if (!SECRET.test(value)) throw invalidParam(`${key} is not of 1 to 255 characters 0-9 a-z A-Z . = _ -`);
  return value;
}

/** What stands under `threepid_creds` in what a client says for the stage `m.login.email.identity`. */
export function credentialsAt(auth: JsonObject): JsonObject {
  const credentials = objectAt(auth, 'threepid_creds');
  if (credentials === undefined) throw missingParam('threepid_creds');
  return credentials;
}

/** The proof that a client names by `sid` and `client_secret`, if the address was confirmed for this purpose. */
export async function proofOf(
  ctx: Pick<ServerContext, 'clock'>,
  reader: Reader,
  { credentials, purpose }: { credentials: JsonObject; purpose: emailValidations.Purpose },
): Promise<Proof | undefined> {
  const sid = secretAt(credentials, 'sid');
  const secretHash = hashToken(secretAt(credentials, 'client_secret'));
  const known = await emailValidations.of(reader, sid, ctx.clock.now());
  if (known?.validatedTs === undefined || known.purpose !== purpose) return undefined;
  if (!equalSecrets(known.clientSecretHash, secretHash)) return undefined;
  return { sid, address: known.address, validatedTs: known.validatedTs };
}

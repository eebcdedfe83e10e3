/**
 * Proving that an e-mail address is one's own, by a link that is sent there. The server that has accounts sends the
 * letters itself; it asks no identity server.
 *
 * https://spec.matrix.org/v1.19/client-server-api/#post_matrixclientv3registeremailrequesttoken
 */

import {
  badJson,
  invalidParam,
  missingParam,
  threepidDenied,
  threepidMediumNotSupported,
  unknown,
} from '#federation/errors.ts';
import type { JsonObject } from '#keys/json.ts';
import { hashToken, newToken } from '#keys/tokens.ts';
import * as emailValidations from '#storage/email-validations.ts';
import * as threepids from '#storage/threepids.ts';
import * as userLanguages from '#storage/user-languages.ts';
import { optionalInteger, optionalString, requiredString } from '../body.ts';
import type { ServerContext } from '../context.ts';
import { type Language, languageOf, speechIn } from '../languages/choose.ts';
import { canonicalEmail, domainOf } from './address.ts';
import { confirmation, refusal } from './letters.ts';
import type { Mailer } from './mailer.ts';
import { secretAt } from './proof.ts';

/** Where the links of letters lead. */
export const CONFIRM_PATH = '/_kurir/email/confirm';

const MINUTE_MS = 60_000;
const LINK_MINUTES = 60;
/** How long after the click the client may use it. */
const PROOF_MS = 60 * MINUTE_MS;
const LONGEST_LINK = 2_000;

/** What a client asks for. */
interface Wanted {
  readonly purpose: emailValidations.Purpose;
  readonly email: string;
  readonly clientSecret: string;
  readonly sendAttempt: number;
  readonly nextLink: string | undefined;
}

/** Who asks, for what, and how they are spoken to. */
export interface Asking {
  readonly purpose: emailValidations.Purpose;
  /** The address that the request comes from. */
  readonly from: string;
  /** Of the one who asks; the owner of an account has perhaps chosen another one. */
  readonly language: Language;
}

/**
 * Sends the letter that the body of a `requestToken` asks for, and answers the session id. What is wrong with the
 * address as an account's is told to the address alone: "This prevents malicious parties from being able to determine
 * if a given email address has an account".
 */
export async function requestEmailToken(
  ctx: ServerContext,
  body: JsonObject,
  { purpose, from, language }: Asking,
): Promise<JsonObject> {
  const { mailer } = ctx;
  if (mailer === undefined) throw threepidMediumNotSupported('This server sends no e-mail');
  const wanted = wantedBy(ctx, body, purpose);
  const { email, sendAttempt } = wanted;
  const proof = { purpose, address: email, clientSecretHash: hashToken(wanted.clientSecret) };
  const now = ctx.clock.now();
  const known = await emailValidations.ofClient(ctx.db, proof, now);
  // "If they do not, the server should respond with success but not resend the email."
  if (known !== undefined && sendAttempt <= known.sendAttempt) return { sid: known.sid };
  ctx.limits.take('email_request', from);
  ctx.limits.take('email_address', email);
  const token = newToken('ket');
  const begun = {
    ...proof,
    sid: newToken('kev'),
    tokenHash: hashToken(token),
    nextLink: wanted.nextLink,
    expiresTs: now + LINK_MINUTES * MINUTE_MS,
  };
  const sid = await ctx.db.write('emailValidations.begin', (tx) => emailValidations.begin(tx, begun, now));
  await sendLetter(ctx, mailer, { ...wanted, sid, token, language });
  await ctx.db.write('emailValidations.sent', (tx) => emailValidations.sent(tx, sid, sendAttempt));
  return { sid };
}

/** The proof that a link of a letter belongs to, whether it was confirmed or not; undefined for a wrong or old link. */
export async function validationOf(
  ctx: ServerContext,
  { sid, token }: { sid: string; token: string },
): Promise<emailValidations.EmailValidation | undefined> {
  const known = await emailValidations.of(ctx.db, sid, ctx.clock.now());
  return known?.tokenHash === hashToken(token) ? known : undefined;
}

/** Confirms the address by the link of a letter. A second time changes nothing. */
export async function confirmEmail(
  ctx: ServerContext,
  link: { sid: string; token: string },
): Promise<emailValidations.EmailValidation | undefined> {
  const known = await validationOf(ctx, link);
  if (known === undefined || known.validatedTs !== undefined) return known;
  const now = ctx.clock.now();
  const { sid, tokenHash } = known;
  const isConfirmed = await ctx.db.write('emailValidations.confirm', (tx) =>
    emailValidations.confirm(tx, { sid, tokenHash, now, expiresTs: now + PROOF_MS }),
  );
  return isConfirmed ? known : await validationOf(ctx, link);
}

function wantedBy(ctx: ServerContext, body: JsonObject, purpose: emailValidations.Purpose): Wanted {
  const clientSecret = secretAt(body, 'client_secret');
  const email = canonicalEmail(requiredString(body, 'email'));
  if (email === undefined) throw invalidParam('email is not an e-mail address');
  const sendAttempt = optionalInteger(body, 'send_attempt');
  if (sendAttempt === undefined) throw missingParam('send_attempt');
  if (sendAttempt < 1) throw badJson('send_attempt must be 1 or more');
  const nextLink = nextLinkAt(ctx, body);
  const { emailDomains } = ctx.config;
  const isTaken = emailDomains.length === 0 || isOneOf(emailDomains, domainOf(email));
  // Those who have an account already may have one from before.
  if (!isTaken && purpose !== 'password') {
    throw threepidDenied('This server takes no e-mail addresses of this domain');
  }
  return { purpose, email, clientSecret, sendAttempt, nextLink };
}

/** The link, if it leads where the operator allows it: any other one is left out, since a letter of ours leads there. */
function nextLinkAt({ config }: ServerContext, body: JsonObject): string | undefined {
  const text = optionalString(body, 'next_link');
  if (text === undefined) return undefined;
  if (text.length > LONGEST_LINK) throw invalidParam('next_link is too long');
  const url = URL.parse(text);
  if (url === null) throw invalidParam('next_link is not a URL');
  const isAllowed =
    url.protocol === 'https:' && url.username === '' && isOneOf(config.nextLinkDomains, url.hostname);
  return isAllowed ? url.href : undefined;
}

function isOneOf(domains: readonly string[], domain: string): boolean {
  return domains.some((one) => one.toLowerCase() === domain);
}

async function sendLetter(
  ctx: ServerContext,
  mailer: Mailer,
  {
    purpose,
    email,
    sid,
    token,
    language,
  }: Wanted & Pick<Asking, 'language'> & { sid: string; token: string },
): Promise<void> {
  const { serverName, config } = ctx;
  const owner = await threepids.ownerOf(ctx.db, 'email', email);
  const isRight = (owner !== undefined) === (purpose === 'password');
  const query = new URLSearchParams({ sid, token });
  const link = `${config.publicBaseurl ?? ''}${CONFIRM_PATH}?${query}`;
  const chosen = owner && (await userLanguages.of(ctx.db, owner));
  const { texts } = speechIn(chosen === undefined ? language : (languageOf(chosen) ?? language));
  const text = isRight
    ? confirmation(texts, purpose, { serverName, link, minutes: LINK_MINUTES })
    : refusal(texts, purpose, { serverName });
  if (!(await mailer.send({ to: email, ...text }))) {
    throw unknown(503, 'The e-mail could not be sent: try again later');
  }
}

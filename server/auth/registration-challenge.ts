/** What those must do who register: https://spec.matrix.org/v1.19/client-server-api/#legacy-account-registration */

import {
  forbidden,
  type MatrixError,
  threepidAuthFailed,
  threepidInUse,
  wrongCredentials,
} from '#federation/errors.ts';
import type { UserId } from '#keys/ids.ts';
import { type JsonObject, stringAt } from '#keys/json.ts';
import { hashToken } from '#keys/tokens.ts';
import * as acceptedPolicies from '#storage/accepted-policies.ts';
import type { Tx } from '#storage/database.ts';
import * as emailValidations from '#storage/email-validations.ts';
import * as registrationTokens from '#storage/registration-tokens.ts';
import * as threepids from '#storage/threepids.ts';
import { termsParams, versionsOf } from '../consent/terms.ts';
import type { ServerContext } from '../context.ts';
import { addAddress } from '../email/add-address.ts';
import { credentialsAt, proofOf } from '../email/proof.ts';
import type { Challenge, Stage } from './interactive-auth.ts';

type Completed = ReadonlyMap<Stage, JsonObject>;

/** "an opaque string ... with maximum length of 64 characters" */
const LONGEST_TOKEN = 64;

/** The challenge of `/register`, for one who asks from `address`. */
export function registrationChallenge(ctx: ServerContext, address: string): Challenge {
  const { terms } = ctx.config;
  return {
    scope: 'register',
    flows: flowsOf(ctx),
    params: terms.length > 0 ? { 'm.login.terms': termsParams(terms) } : {},
    email: 'register',
    check: (stage, auth) => checkStage(ctx, stage, { auth, address }),
    onBegin: () => ctx.limits.take('interactive_auth', address),
  };
}

/** Throws where nobody can register by themselves. */
export function refuseIfClosed(ctx: ServerContext): void {
  if (ctx.config.registration === 'closed') throw forbidden('Registration is closed on this server');
}

/** Whether people who register may, or must, confirm an e-mail address. */
export function emailOfRegistration({
  config,
  mailer,
}: Pick<ServerContext, 'config' | 'mailer'>): 'off' | 'optional' | 'required' {
  return mailer === undefined ? 'off' : config.registrationEmail;
}

/** The registration token that was given, if any. */
export function tokenGiven(completed: Completed): string | undefined {
  const said = completed.get('m.login.registration_token');
  return said && stringAt(said, 'token');
}

/** Whether a registration token admits an account now. */
export async function isValidToken(ctx: ServerContext, token: string): Promise<boolean> {
  if (token.length > LONGEST_TOKEN) return false;
  return await registrationTokens.isValid(ctx.db, hashToken(token), ctx.clock.now());
}

/** Writes what was confirmed with the new account: the policies, and the e-mail address. */
export async function writeConfirmed(
  ctx: ServerContext,
  tx: Tx,
  { userId, completed, now }: { userId: UserId; completed: Completed; now: number },
): Promise<void> {
  if (completed.has('m.login.terms')) await acceptTerms(ctx, tx, { userId, now });
  const said = completed.get('m.login.email.identity');
  if (said === undefined) return;
  const proof = await proofOf(ctx, tx, { credentials: credentialsAt(said), purpose: 'register' });
  // One proof makes one account.
  if (proof === undefined || !(await emailValidations.remove(tx, proof.sid))) throw threepidAuthFailed();
  const { address, validatedTs } = proof;
  const added = await addAddress(ctx, tx, userId, { address, validatedTs, addedTs: now });
  if (!added) throw threepidInUse();
}

/** "The server is expected to track which document versions it presented to the user during registration" */
export async function acceptTerms(
  { config }: Pick<ServerContext, 'config'>,
  tx: Tx,
  { userId, now }: { userId: UserId; now: number },
): Promise<void> {
  for (const { policyId, version } of versionsOf(config.terms)) {
    // One by one: there are a few.
    await acceptedPolicies.add(tx, userId, { policyId, version, acceptedTs: now });
  }
}

/** The dummy stage tells a flow apart that would be the beginning of another one. */
function flowsOf(ctx: ServerContext): readonly (readonly Stage[])[] {
  const { registration, terms } = ctx.config;
  const always: Stage[] = [
    ...(registration === 'token' ? (['m.login.registration_token'] as const) : []),
    ...(terms.length > 0 ? (['m.login.terms'] as const) : []),
  ];
  const withEmail = [...always, 'm.login.email.identity'] as const;
  const email = emailOfRegistration(ctx);
  if (email === 'required') return [withEmail];
  const without =
    always.length === 0 || email === 'optional' ? ([...always, 'm.login.dummy'] as const) : always;
  return email === 'optional' ? [without, withEmail] : [without];
}

async function checkStage(
  ctx: ServerContext,
  stage: Stage,
  { auth, address }: { auth: JsonObject; address: string },
): Promise<MatrixError | undefined> {
  switch (stage) {
    case 'm.login.registration_token': {
      ctx.limits.take('registration_check', address);
      const token = stringAt(auth, 'token');
      const isValid = token !== undefined && (await isValidToken(ctx, token));
      return isValid ? undefined : wrongCredentials('The registration token is not valid');
    }
    case 'm.login.email.identity': {
      const credentials = credentialsAt(auth);
      const proof = await proofOf(ctx, ctx.db, { credentials, purpose: 'register' });
      if (proof === undefined) return threepidAuthFailed(401);
      const owner = await threepids.ownerOf(ctx.db, 'email', proof.address);
      return owner === undefined ? undefined : threepidInUse();
    }
    default:
      return undefined;
  }
}

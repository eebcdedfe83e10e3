/** What the operator's command does to registration tokens, the same whether the server runs or not. */

import { integerAt, type JsonObject, own, stringAt } from '#keys/json.ts';
import { hashToken, newToken } from '#keys/tokens.ts';
import * as registrationTokens from '#storage/registration-tokens.ts';
import { durationKind } from '../config/config-types.ts';
import type { OperationContext, Outcome } from './operations.ts';
import { timeOf } from './when.ts';

type TokenContext = Pick<OperationContext, 'db' | 'clock'>;

const MOST_USES = 1_000_000;
const LONGEST_NOTE = 200;
/** How much of a hash tells tokens apart for the operator. */
const ID_LETTERS = 8;

/** Does one thing: `{"operation": "token.new", ...}`; undefined for what is none of these. */
export async function performOnTokens(
  ctx: TokenContext,
  operation: JsonObject,
): Promise<Outcome | undefined> {
  switch (own(operation, 'operation')) {
    case 'token.new':
      return newOne(ctx, operation);
    case 'token.list':
      return list(ctx);
    case 'token.revoke':
      return revoke(ctx, stringAt(operation, 'token') ?? '');
    default:
      return undefined;
  }
}

/** The number of uses that an operator means; undefined for what is none. */
export function usesOf(text: string): number | 'any' | undefined {
  if (text === 'any') return 'any';
  const uses = /^\d{1,7}$/.test(text) ? Number(text) : 0;
  return uses >= 1 && uses <= MOST_USES ? uses : undefined;
}

async function newOne(ctx: TokenContext, operation: JsonObject): Promise<Outcome> {
  const now = ctx.clock.now();
  const uses = integerAt(operation, 'uses');
  const note = stringAt(operation, 'note') ?? '';
  const base = stringAt(operation, 'base') ?? '';
  const ends = stringAt(operation, 'expires') ?? '';
  const expiresTs = ends === 'never' ? undefined : endOf(ends, now);
  if (ends !== 'never' && expiresTs === undefined) {
    return refused(
      `"${ends}" is no time to come: use one such as 7d, 2030-01-31 or 2030-01-31T12:00Z, or never`,
    );
  }
  if (note.length > LONGEST_NOTE) return refused(`the note is longer than ${LONGEST_NOTE} characters`);
  const token = newToken('krt');
  const added = {
    hash: hashToken(token),
    now,
    note: note.replaceAll(/\p{Cc}/gu, ' '),
    ...(uses !== undefined && { uses }),
    ...(expiresTs !== undefined && { expiresTs }),
  };
  await ctx.db.write('registrationTokens.add', (tx) => registrationTokens.add(tx, added));
  return {
    kind: 'done',
    lines: [
      `The token is ${token}`,
      `It admits ${accounts(uses)}, ${until(expiresTs)}. It is shown this once.`,
      ...(base === '' ? [] : [`${base}/_kurir/register?token=${token}`]),
    ],
  };
}

async function list(ctx: TokenContext): Promise<Outcome> {
  const tokens = await registrationTokens.list(ctx.db, ctx.clock.now());
  const lines = tokens.map(({ hash, usesLeft, used, expiresTs, note }) =>
    [idOf(hash), `admits ${accounts(usesLeft)}`, `used ${used} times`, until(expiresTs), note]
      .filter((part) => part !== '')
      .join('  '),
  );
  return {
    kind: 'done',
    lines: lines.length > 0 ? lines : ['No token admits anybody now: make one with "token new".'],
  };
}

async function revoke(ctx: TokenContext, word: string): Promise<Outcome> {
  const tokens = await registrationTokens.list(ctx.db, ctx.clock.now());
  const meant = tokens.filter(({ hash }) => hash === hashToken(word) || idOf(hash) === word);
  const [token] = meant;
  if (token === undefined) return refused(`"${word}" is no token that admits anybody: see "token list"`);
  if (meant.length > 1) return refused(`"${word}" is the beginning of several: give the token itself`);
  await ctx.db.write('registrationTokens.remove', (tx) => registrationTokens.remove(tx, token.hash));
  return { kind: 'done', lines: [`The token ${idOf(token.hash)} admits nobody any more.`] };
}

function endOf(text: string, now: number): number | undefined {
  const lifetime = durationKind.parse(text);
  const end = lifetime === undefined ? timeOf(text) : now + lifetime;
  return end !== undefined && end > now ? end : undefined;
}

/** In hexadecimal: in Base64 it might begin with what looks like an option. */
function idOf(hash: string): string {
  return Buffer.from(hash, 'base64url').toString('hex').slice(0, ID_LETTERS);
}

function accounts(uses: number | undefined): string {
  if (uses === undefined) return 'any number of accounts';
  return uses === 1 ? '1 account' : `${uses} accounts`;
}

function until(expiresTs: number | undefined): string {
  return expiresTs === undefined
    ? 'without an end'
    : `until ${new Date(expiresTs).toISOString().slice(0, 16)}Z`;
}

function refused(problem: string): Outcome {
  return { kind: 'refused', problem };
}

import { faultOfPassword } from '../auth/accounts.ts';
import { weaknessOfPassword } from '../auth/password-policy.ts';
import type { Config } from '../config-options.ts';
import { fill, type Texts } from '../languages/texts.ts';

/** Why a password that somebody has written twice cannot be theirs, in the words of a page; or nothing. */
export function newPasswordProblem(
  { password, repeated }: { readonly password: string; readonly repeated: string },
  { passwords }: Texts,
  config: Pick<Config, 'passwordMinLength'>,
): string | undefined {
  if (password === '') return passwords.empty;
  if (faultOfPassword(password) !== undefined) return passwords.tooLong;
  if (weaknessOfPassword(password, config) !== undefined) {
    return fill(passwords.tooShort, { least: config.passwordMinLength });
  }
  return password === repeated ? undefined : passwords.differ;
}

import { invalidParam, weakPassword } from '#federation/errors.ts';
import type { Config } from '../config-options.ts';
import { faultOfPassword } from './accounts.ts';

type Policy = Pick<Config, 'passwordMinLength'>;

/** Why a user cannot choose a password because it is too weak, or nothing. */
export function weaknessOfPassword(password: string, { passwordMinLength }: Policy): string | undefined {
  const characters = Array.from(password).length;
  return characters < passwordMinLength
    ? `The password is too short: use ${passwordMinLength} characters or more`
    : undefined;
}

/** Throws `M_INVALID_PARAM` or `M_WEAK_PASSWORD` for a password that a user cannot choose. */
export function checkNewPassword(password: string, policy: Policy): void {
  const fault = faultOfPassword(password);
  if (fault !== undefined) throw invalidParam(fault);
  const weakness = weaknessOfPassword(password, policy);
  if (weakness !== undefined) throw weakPassword(weakness);
}

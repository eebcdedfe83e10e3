/** The operator's commands about who else signs people in. */

import type { JsonObject } from '#keys/json.ts';
import { stringAt } from '#keys/json.ts';
import type { Config } from '../config-options.ts';
import { LDAP_ISSUER, LdapDirectory } from '../providers/ldap-directory.ts';
import type { OidcProvider } from '../providers/oidc-provider.ts';
import { ProviderFault } from '../providers/provider-fault.ts';
import { Providers, redirectUriOf } from '../providers/providers.ts';
import { carryOut } from './carry-out.ts';
import { performOnLinks } from './link-operations.ts';
import type { Outcome } from './operations.ts';
import { UsageError } from './usage.ts';

/** From here on, clocks that differ let tokens look expired, or not yet good. */
const CLOCK_LIMIT_S = 10;

/** The providers of the configuration. */
export function listProviders(config: Config): Outcome {
  const lines = config.oidcProviders.map(({ id, label, issuer }) => `${id}  ${label}  ${issuer}`);
  if (config.ldap !== undefined)
    lines.push(`${LDAP_ISSUER}  ${config.ldap.urls.join(', ')}  ${config.ldap.base}`);
  if (config.mas !== undefined) lines.push(`mas  ${config.mas.endpoint}`);
  return { kind: 'done', lines: lines.length > 0 ? lines : ['There are no providers: see docs/sign-in.md.'] };
}

/** Asks providers what they say of themselves, and says what is wrong with it. */
export async function checkProviders(config: Config, id: string | undefined): Promise<Outcome> {
  const lines: string[] = [];
  let isWrong = false;
  const note = (line: string, isGood = true): void => {
    lines.push(`${isGood ? 'ok     ' : 'WRONG  '} ${line}`);
    isWrong ||= !isGood;
  };
  await using providers = await Providers.open(config, { now: () => Date.now() });
  for (const provider of providers.all()) {
    // One after the other, so that the lines stay together.
    if (id === undefined || id === provider.id) await checkOne(config, provider, note);
  }
  if (config.ldap !== undefined && (id === undefined || id === LDAP_ISSUER)) {
    await checkDirectory(await LdapDirectory.open(config.ldap), note);
  }
  if (lines.length > 0) return { kind: 'done', lines, isWrong };
  return { kind: 'refused', problem: `there is no provider ${id ?? ''}: see "provider list"` };
}

type Note = (line: string, isGood?: boolean) => void;

async function checkOne(config: Config, provider: OidcProvider, note: Note): Promise<void> {
  const { id, issuer, checkEvery } = provider.option;
  try {
    const metadata = await provider.metadata();
    note(`${id}: ${issuer} says what it is`);
    checkMetadata(metadata, (line, isGood) => note(`${id}: ${line}`, isGood));
    const response = await provider.get(stringAt(metadata, 'jwks_uri') ?? '');
    const keys: unknown = await response.json().catch(() => undefined);
    const count =
      typeof keys === 'object' && keys !== null && 'keys' in keys && Array.isArray(keys.keys)
        ? keys.keys.length
        : 0;
    note(`${id}: ${count} keys at ${stringAt(metadata, 'jwks_uri') ?? ''}`, count > 0);
    const date = Date.parse(response.headers.get('date') ?? '');
    const apartS = Math.round(Math.abs(Date.now() - date) / 1_000);
    if (!Number.isNaN(date)) note(`${id}: clocks are ${apartS} seconds apart`, apartS < CLOCK_LIMIT_S);
    note(`${id}: redirect URI to register there: ${redirectUriOf({ config }, provider)}`);
    note(
      `${id}: back-channel logout URI: ${config.publicBaseurl ?? ''}/sign-in/provider/${id}/backchannel-logout`,
    );
    if (metadata.backchannel_logout_supported !== true && checkEvery === undefined) {
      note(
        `${id}: it tells no logouts (back channel), and check_every is not set: who is disabled there stays signed in`,
        false,
      );
    }
  } catch (error) {
    note(`${id}: ${reasonOf(error)}`, false);
  }
}

function checkMetadata(metadata: JsonObject, note: Note): void {
  const methods = metadata.code_challenge_methods_supported;
  if (Array.isArray(methods)) note('PKCE by S256', methods.includes('S256'));
  const types = metadata.response_types_supported;
  note('response type code', Array.isArray(types) && types.includes('code'));
}

async function checkDirectory(directory: LdapDirectory, note: Note): Promise<void> {
  try {
    const count = await directory.check();
    note(
      `${LDAP_ISSUER}: ${count > 0 ? 'there are people' : 'there is nobody'} under ${directory.option.base}`,
      count > 0,
    );
  } catch (error) {
    note(`${LDAP_ISSUER}: ${reasonOf(error)}`, false);
  }
}

function reasonOf(error: unknown): string {
  if (error instanceof ProviderFault) return error.message;
  throw error;
}

export interface LinkWords {
  readonly user: string;
  /** The id of a provider, or `ldap`; without it the links are listed. */
  readonly provider: string | undefined;
  readonly subject: string | undefined;
  readonly sub?: string | undefined;
}

/** Links an account to somebody at a provider, or ends that. */
export async function changeLink(
  config: Config,
  change: 'link' | 'unlink',
  { user, provider, subject, sub }: LinkWords,
): Promise<Outcome> {
  const issuer = provider === undefined ? undefined : issuerOf(config, provider);
  if (issuer !== undefined && subject === undefined)
    throw new UsageError('the permanent id is missing: see --help');
  const operation: JsonObject = {
    ...{ operation: `user.${change}`, user },
    ...(issuer !== undefined && { issuer }),
    ...(subject !== undefined && { subject }),
    ...(sub !== undefined && { sub }),
  };
  return carryOut(config, operation, (opened) => performOnLinks(opened, operation));
}

function issuerOf({ oidcProviders }: Config, id: string): string {
  if (id === LDAP_ISSUER) return LDAP_ISSUER;
  // An issuer that is no longer configured has links still.
  const issuer =
    oidcProviders.find((provider) => provider.id === id)?.issuer ?? (id.includes('://') ? id : undefined);
  if (issuer === undefined) throw new UsageError(`there is no provider ${id}: see "provider list"`);
  return issuer;
}

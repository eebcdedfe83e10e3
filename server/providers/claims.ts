/** What an identity provider says of a person, and what is made of it. */

import type { ServerName } from '#keys/ids.ts';
import { isObject, type Json, type JsonObject, objectAt, own } from '#keys/json.ts';
import { localpartFor } from '../auth/accounts.ts';
import type { Mapping } from './oidc-option.ts';

const PATH = /^[\w:/@-]+(\.[\w:/@-]+)*$/;
const PLACE = /\{([^{}]*)\}/g;
const LONGEST_PATH = 200;
const LONGEST_VALUE = 1_000;
const MOST_GROUPS = 10_000;

/** True for the name of a claim, or a path such as `realm_access.roles`. */
export function isClaimPath(text: string): boolean {
  return text.length <= LONGEST_PATH && PATH.test(text);
}

/** True for text with claims in it, such as `{given_name} {family_name}`. */
export function isTemplate(text: string): boolean {
  const places = [...text.matchAll(PLACE)];
  return (
    text.length <= LONGEST_VALUE &&
    places.every(([, path = '']) => isClaimPath(path)) &&
    !/[{}]/.test(text.replaceAll(PLACE, ''))
  );
}

/** The claims in a template. */
export function placesOf(template: string): string[] {
  return [...template.matchAll(PLACE)].map(([, path = '']) => path);
}

/** What is at a path. A claim whose own name has dots in it comes first. */
export function claimAt(claims: JsonObject, path: string): Json | undefined {
  const whole = own(claims, path);
  if (whole !== undefined) return whole;
  let value: Json | undefined = claims;
  for (const name of path.split('.')) value = isObject(value) ? own(value, name) : undefined;
  return value;
}

/** A template with its claims; undefined where one of them is absent or no text. */
export function filledIn(template: string, claims: JsonObject): string | undefined {
  let isWhole = true;
  const text = template.replaceAll(PLACE, (_, path: string) => {
    const value = claimAt(claims, path);
    const first = Array.isArray(value) ? value[0] : value;
    if (typeof first === 'number') return String(first);
    if (typeof first === 'string' && first !== '') return first.slice(0, LONGEST_VALUE);
    isWhole = false;
    return '';
  });
  return isWhole && text.trim() !== '' ? text.trim().slice(0, LONGEST_VALUE) : undefined;
}

/** The groups of a person: a list of texts, one text, or the paths of Keycloak (`/staff/it` is also `staff/it`). */
export function groupsOf(claims: JsonObject, path: string): ReadonlySet<string> {
  const value = claimAt(claims, path);
  const listed = Array.isArray(value) ? value.slice(0, MOST_GROUPS) : [value];
  const groups = listed.filter((group) => typeof group === 'string');
  return new Set(groups.flatMap((group) => (group.startsWith('/') ? [group, group.slice(1)] : [group])));
}

/** Why somebody with these claims may not sign in, or nothing. */
export function refusalByGroups(
  claims: JsonObject,
  { groups: path, allowGroups, refuseGroups }: Pick<Mapping, 'groups' | 'allowGroups' | 'refuseGroups'>,
): 'not_allowed' | undefined {
  if (refuseGroups.length > 0 && areGroupsElsewhere(claims, path)) return 'not_allowed';
  const groups = groupsOf(claims, path);
  if (refuseGroups.some((group) => groups.has(group))) return 'not_allowed';
  if (allowGroups.length > 0 && !allowGroups.some((group) => groups.has(group))) return 'not_allowed';
  return undefined;
}

/** Whether they are an administrator; undefined where the provider has no say in that. */
export function isAdminByGroups(
  claims: JsonObject,
  { groups: path, adminGroups }: Pick<Mapping, 'groups' | 'adminGroups'>,
): boolean | undefined {
  if (adminGroups.length === 0 || areGroupsElsewhere(claims, path)) return undefined;
  const groups = groupsOf(claims, path);
  return adminGroups.some((group) => groups.has(group));
}

/** Entra ID leaves out the groups of who is in many, and says only where they could be asked for. */
function areGroupsElsewhere(claims: JsonObject, path: string): boolean {
  const names = objectAt(claims, '_claim_names');
  return own(claims, 'hasgroups') !== undefined || (names !== undefined && own(names, path) !== undefined);
}

/**
 * The localpart that a template proposes; undefined where nothing can be made of it. What follows an `@` is left out,
 * accents too, and what may not stand in a localpart becomes a hyphen: accounts are found by the permanent id, so that
 * two people may well have the same proposal.
 *
 * https://spec.matrix.org/v1.19/appendices/#mapping-from-other-character-sets
 */
export function proposedLocalpart(
  template: string,
  claims: JsonObject,
  serverName: ServerName,
): string | undefined {
  const [name = ''] = filledIn(template, claims)?.split('@', 1) ?? [];
  const plain = name
    .normalize('NFKD')
    .replaceAll(/\p{Mark}/gu, '')
    .replaceAll('ß', 'ss')
    .replaceAll(/[æÆ]/g, 'ae')
    .replaceAll(/[øØ]/g, 'o')
    .toLowerCase()
    .replaceAll(/[^a-z0-9._=/+-]+/g, '-')
    .replaceAll(/^-+|-+$/g, '');
  return localpartFor(plain, serverName);
}

/** The permanent id of a person at their issuer; undefined where one of its claims is absent. */
export function subjectOf(claims: JsonObject, subjectClaims: readonly string[]): string | undefined {
  const parts = subjectClaims.map((path) => claimAt(claims, path));
  const texts = parts.filter(
    (part) => typeof part === 'string' && part !== '' && part.length <= LONGEST_VALUE,
  );
  if (texts.length !== subjectClaims.length) return undefined;
  // As JSON: two claims can never be taken for two others.
  return texts.length === 1 ? String(texts[0]) : JSON.stringify(texts);
}

/** https://spec.matrix.org/v1.19/client-server-api/#terms-of-service-at-registration */

import type { JsonObject } from '#keys/json.ts';
import { pageKind, type ValueKind } from '../config/config-types.ts';

/** A policy in one language. */
export interface PolicyText {
  readonly policyId: string;
  readonly version: string;
  /** As in RFC 5646: `en`, `de-AT`. */
  readonly language: string;
  readonly url: string;
  readonly name: string;
}

const OPAQUE_ID = /^[0-9A-Za-z._~-]{1,255}$/;
const LANGUAGE = /^[A-Za-z]{2,8}([-_][A-Za-z0-9]{1,8})*$/;
const MOST_TEXTS = 200;

export const termsKind: ValueKind<readonly PolicyText[]> = {
  expects:
    'a policy as "privacy_policy 1.2 en https://example.org/privacy-1.2-en.html Privacy Policy", or several',
  parse: (value) => {
    const items = typeof value === 'string' ? value.split(',') : value;
    if (!Array.isArray(items) || items.length > MOST_TEXTS) return undefined;
    const texts = items.map((item) => (typeof item === 'string' ? policyText(item) : undefined));
    return texts.every((text) => text !== undefined) && areOnePolicyEach(texts) ? texts : undefined;
  },
  format: (texts) => texts.map(written).join(','),
};

/** The `params` of the stage `m.login.terms`. */
export function termsParams(terms: readonly PolicyText[]): JsonObject {
  const policies = versionsOf(terms).map(({ policyId, version }) => {
    const texts = terms.filter((text) => text.policyId === policyId);
    return [
      policyId,
      { version, ...Object.fromEntries(texts.map(({ language, name, url }) => [language, { name, url }])) },
    ] as const;
  });
  return { policies: Object.fromEntries(policies) };
}

/** Each policy once, with its version. */
export function versionsOf(terms: readonly PolicyText[]): { policyId: string; version: string }[] {
  return [...new Map(terms.map(({ policyId, version }) => [policyId, version]))].map(
    ([policyId, version]) => ({
      policyId,
      version,
    }),
  );
}

/** `ID VERSION LANGUAGE URL NAME`. */
function policyText(text: string): PolicyText | undefined {
  const [policyId = '', version = '', language = '', url = '', ...words] = text.trim().split(/\s+/);
  const name = words.join(' ');
  const isOne = OPAQUE_ID.test(policyId) && OPAQUE_ID.test(version) && LANGUAGE.test(language) && name !== '';
  // Beside the languages of a policy stands its version.
  if (!isOne || language === 'version' || pageKind.parse(url) === undefined) return undefined;
  return { policyId, version, language, url, name };
}

/** True where each policy has one version, and one text for each language. */
function areOnePolicyEach(texts: readonly PolicyText[]): boolean {
  const versions = new Set(texts.map(({ policyId, version }) => `${policyId} ${version}`));
  const languages = new Set(texts.map(({ policyId, language }) => `${policyId} ${language}`));
  return versions.size === versionsOf(texts).length && languages.size === texts.length;
}

function written({ policyId, version, language, url, name }: PolicyText): string {
  return `${policyId} ${version} ${language} ${url} ${name}`;
}

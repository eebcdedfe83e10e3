/** Whom to turn to with questions about this server: https://spec.matrix.org/v1.19/client-server-api/#getwell-knownmatrixsupport */

import { isUserId, type UserId } from '#keys/ids.ts';
import type { JsonObject } from '#keys/json.ts';
import type { ValueKind } from './config/config-types.ts';

export interface SupportContact {
  /** `m.role.admin`, `m.role.security`, or an identifier of the operator's own. */
  readonly role: string;
  readonly matrixId: UserId | undefined;
  readonly emailAddress: string | undefined;
}

/** Roles that an operator may write in short. */
const SHORT_ROLES = ['admin', 'security'] as const;
const ROLE = /^[a-z][a-z0-9_-]*(\.[a-z0-9_-]+)+$/;
const EMAIL_ADDRESS = /^[^\s@]+@[^\s@]+$/;

export const supportContactsKind: ValueKind<readonly SupportContact[]> = {
  expects: 'a role and ways to reach it, such as "admin @anna:example.org anna@example.org", or several',
  parse: (value) => {
    const items = typeof value === 'string' ? value.split(',') : value;
    if (!Array.isArray(items)) return undefined;
    const contacts = items.map((item) => (typeof item === 'string' ? contactIn(item) : undefined));
    return contacts.every((contact) => contact !== undefined) ? contacts : undefined;
  },
  format: (contacts) => contacts.map(written).join(','),
};

/** What `/.well-known/matrix/support` answers; undefined where there is nothing to tell. */
export function supportAnswer(config: {
  readonly supportContacts: readonly SupportContact[];
  readonly supportPage: string | undefined;
}): JsonObject | undefined {
  const { supportContacts, supportPage } = config;
  if (supportContacts.length === 0 && supportPage === undefined) return undefined;
  const contacts = supportContacts.map(({ role, matrixId, emailAddress }) => ({
    role,
    ...(matrixId !== undefined && { matrix_id: matrixId }),
    ...(emailAddress !== undefined && { email_address: emailAddress }),
  }));
  return {
    // "If only `contacts` is set, it must contain at least one item."
    ...(contacts.length > 0 && { contacts }),
    ...(supportPage !== undefined && { support_page: supportPage }),
  };
}

/** `ROLE CONTACT` or `ROLE CONTACT CONTACT`: a user id, an e-mail address, or one of each. */
function contactIn(text: string): SupportContact | undefined {
  const [written = '', ...ways] = text.trim().split(/\s+/);
  const short = SHORT_ROLES.find((name) => name === written);
  const role = short === undefined ? written : `m.role.${short}`;
  const matrixId = ways.find(isUserId);
  const emailAddress = ways.find((way) => !isUserId(way) && EMAIL_ADDRESS.test(way));
  const understood = [matrixId, emailAddress].filter((way) => way !== undefined).length;
  if (!ROLE.test(role) || understood === 0 || understood !== ways.length) return undefined;
  return { role, matrixId, emailAddress };
}

function written({ role, matrixId, emailAddress }: SupportContact): string {
  const short = SHORT_ROLES.find((name) => `m.role.${name}` === role) ?? role;
  return [short, matrixId, emailAddress].filter((part) => part !== undefined).join(' ');
}

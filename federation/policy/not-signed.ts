/** What somebody is told whose event the policy server of a room has not signed. */

import type { JsonObject } from '#keys/json.ts';
import { type Unsigned, unsignedReason } from '#rooms/policy.ts';
import { MatrixError, unreachable } from '../errors.ts';
import type { HandshakeFailure } from '../handshakes/template.ts';

/** The refusals of the endpoint; with others a policy server could sign people out, or have them sign in anew. */
const STATUSES: readonly number[] = [400, 403, 404, 429];
const OF_THE_SESSION: readonly string[] = [
  ...['M_UNKNOWN_TOKEN', 'M_MISSING_TOKEN', 'M_UNAUTHORIZED', 'M_USER_LOCKED', 'M_USER_SUSPENDED'],
  ...['M_USER_DEACTIVATED', 'M_CONSENT_NOT_GIVEN', 'M_RESOURCE_LIMIT_EXCEEDED'],
];
const MOST_CHARACTERS = 4_096;

/** "If the Policy Server returned an error, that error SHOULD be provided to the client verbatim." */
export function policyRefusal(unsigned: Unsigned): MatrixError {
  const reason = unsignedReason(unsigned);
  if (unsigned.kind === 'unanswered') return unreachable(reason);
  const { status, body } = unsigned;
  const { errcode = 'M_FORBIDDEN', error: _, ...extras } = body;
  const isPlain =
    typeof errcode === 'string' && STATUSES.includes(status) && !OF_THE_SESSION.includes(errcode);
  if (!isPlain || JSON.stringify(body).length > MOST_CHARACTERS) {
    return new MatrixError(400, 'M_FORBIDDEN', reason.slice(0, MOST_CHARACTERS));
  }
  return new MatrixError(status, errcode, reason, { extras: withoutLogout(extras) });
}

function withoutLogout({ soft_logout: _, ...extras }: JsonObject): JsonObject {
  return extras;
}

/** The same of a change of membership. */
export function notSigned(unsigned: Unsigned): HandshakeFailure {
  const kind = unsigned.kind === 'unanswered' ? 'unreachable' : 'forbidden';
  return { kind, reason: unsignedReason(unsigned) };
}

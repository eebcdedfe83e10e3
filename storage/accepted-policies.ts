import type { UserId } from '#keys/ids.ts';
import type { Reader, Tx } from './database.ts';
import { sql } from './sql.ts';

/** A version of a policy that a user has accepted. */
export interface AcceptedPolicy {
  readonly policyId: string;
  readonly version: string;
  /** In milliseconds since 1970. */
  readonly acceptedTs: number;
}

const ADD = sql<[string, string, string, number]>(
  'acceptedPolicies.add',
  `INSERT INTO accepted_policies (user_id, policy_id, version, accepted_ts) VALUES (?, ?, ?, ?)
   ON CONFLICT (user_id, policy_id, version) DO NOTHING`,
);

const OF_USER = sql<[string], { policy_id: string; version: string; accepted_ts: number }>(
  'acceptedPolicies.ofUser',
  `SELECT policy_id, version, accepted_ts FROM accepted_policies WHERE user_id = ?
   ORDER BY policy_id, accepted_ts, version`,
);

/** Notes that a user has accepted a version; the first time counts. */
export async function add(tx: Tx, userId: UserId, accepted: AcceptedPolicy): Promise<void> {
  await tx.run(ADD, userId, accepted.policyId, accepted.version, accepted.acceptedTs);
}

/** What a user has accepted, each policy's versions in the order of time. */
export async function ofUser(reader: Reader, userId: UserId): Promise<AcceptedPolicy[]> {
  const rows = await reader.all(OF_USER, userId);
  return rows.map((row) => ({
    policyId: row.policy_id,
    version: row.version,
    acceptedTs: row.accepted_ts,
  }));
}

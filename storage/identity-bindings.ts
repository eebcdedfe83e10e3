/** What identity servers know of our users, by our word: https://spec.matrix.org/v1.19/client-server-api/#post_matrixclientv3account3pidbind */

import type { ServerName, UserId } from '#keys/ids.ts';
import type { Reader, Tx } from './database.ts';
import { sql } from './sql.ts';

/** An address that an identity server knows as a user's. */
export interface IdentityBinding {
  readonly medium: string;
  readonly address: string;
  readonly idServer: ServerName;
}

interface BindingRow {
  medium: string;
  address: string;
  id_server: ServerName;
}

const OF_USER = sql<[string], BindingRow>(
  'identityBindings.ofUser',
  `SELECT medium, address, id_server FROM identity_bindings WHERE user_id = ?
   ORDER BY medium, address, id_server`,
);

const ADD = sql<[string, string, string, string, number]>(
  'identityBindings.add',
  `INSERT INTO identity_bindings (user_id, medium, address, id_server, bound_ts) VALUES (?, ?, ?, ?, ?)
   ON CONFLICT (user_id, medium, address, id_server) DO UPDATE SET bound_ts = excluded.bound_ts`,
);

const REMOVE = sql<[string, string, string, string]>(
  'identityBindings.remove',
  'DELETE FROM identity_bindings WHERE user_id = ? AND medium = ? AND address = ? AND id_server = ?',
);

/** The addresses of a user that identity servers know, in their order. */
export async function ofUser(reader: Reader, userId: UserId): Promise<IdentityBinding[]> {
  const rows = await reader.all(OF_USER, userId);
  return rows.map(({ medium, address, id_server: idServer }) => ({ medium, address, idServer }));
}

export async function add(tx: Tx, userId: UserId, binding: IdentityBinding, boundTs: number): Promise<void> {
  await tx.run(ADD, userId, binding.medium, binding.address, binding.idServer, boundTs);
}

export async function remove(tx: Tx, userId: UserId, binding: IdentityBinding): Promise<void> {
  await tx.run(REMOVE, userId, binding.medium, binding.address, binding.idServer);
}

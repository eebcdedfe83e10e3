/** Accounts and rooms for a scenario, through interfaces that Kurir and Synapse share. */

import { createHmac } from 'node:crypto';
import { Connection } from '#bench/lib/connection.ts';
import type { RunningServer } from '#bench/servers/server.ts';

export interface Account {
  readonly userId: string;
  readonly token: string;
  readonly connection: Connection;
}

/** Registers `name` with the shared secret, and opens the account's own connection. */
export async function registerAccount(server: RunningServer, name: string): Promise<Account> {
  const connection = await Connection.open(server.url);
  const path = '/_synapse/admin/v1/register';
  const { nonce } = await call(connection, 'GET', path);
  const password = `password of ${name}`;
  const mac = createHmac('sha1', server.registrationSecret)
    .update([nonce, name, password, 'notadmin'].join('\0'))
    .digest('hex');
  const body = { nonce, username: name, password, admin: false, mac };
  const { user_id, access_token } = await call(connection, 'POST', path, { body });
  return { userId: String(user_id), token: String(access_token), connection };
}

/** Creates a public room; answers its id. */
export async function createRoom({ connection, token }: Account, name: string): Promise<string> {
  const path = '/_matrix/client/v3/createRoom';
  const { room_id } = await call(connection, 'POST', path, { token, body: { preset: 'public_chat', name } });
  return String(room_id);
}

export async function joinRoom({ connection, token }: Account, roomId: string): Promise<void> {
  await call(connection, 'POST', `/_matrix/client/v3/join/${encodeURIComponent(roomId)}`, {
    token,
    body: {},
  });
}

/** A request that must answer 200 with a JSON object. */
export async function call(
  connection: Connection,
  method: string,
  path: string,
  options: { token?: string; body?: object } = {},
): Promise<Record<string, unknown>> {
  const { status, body } = await connection.request(method, path, options);
  if (status !== 200) throw new Error(`${method} ${path} answered ${status}: ${body.slice(0, 500)}`);
  return JSON.parse(body);
}

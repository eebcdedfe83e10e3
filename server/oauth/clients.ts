/** https://spec.matrix.org/v1.19/client-server-api/#client-registration */

import { randomInt } from 'node:crypto';
import { encodeCanonical } from '#keys/canonical-json.ts';
import { sha256Base64Url } from '#keys/hash.ts';
import type { JsonObject } from '#keys/json.ts';
import * as oauthClients from '#storage/oauth-clients.ts';
import type { ServerContext } from '../context.ts';
import { type ClientMetadata, parseMetadata } from './client-metadata.ts';
import { OAuthError } from './errors.ts';
import type { GrantType } from './metadata.ts';

/** A client that has registered. */
export interface Client extends ClientMetadata {
  readonly client_id: string;
}

type ClientsContext = Pick<ServerContext, 'db' | 'clock'>;

const CLIENT_ID = /^koc_[\w-]{43}$/;
const DAY_MS = 86_400_000;
/** For so long a client is kept that nobody is signed in by. */
const UNUSED_MS = 30 * DAY_MS;
const MOST_UNUSED = 10_000;
const SURPLUS_EVERY = 100;

/**
 * Registers a client. Its id follows from its metadata: "de-duplicating client registrations that have identical
 * metadata". `onNew` is called before one is added, and may refuse it.
 */
export async function registerClient(
  ctx: ClientsContext,
  body: JsonObject,
  onNew: () => void,
): Promise<Client> {
  const metadata = parseMetadata(body);
  const text = encodeCanonical(JSON.parse(JSON.stringify(metadata)));
  const clientId = `koc_${sha256Base64Url(text)}`;
  const usedTs = ctx.clock.now();
  const known = await oauthClients.of(ctx.db, clientId);
  if (known === undefined) onNew();
  if (known === undefined || usedTs - known.usedTs > DAY_MS) {
    const client = { clientId, metadata: JSON.stringify(metadata), usedTs };
    await ctx.db.write('oauthClients.add', async (tx) => {
      await oauthClients.add(tx, client);
      // Now and then is enough, since many are counted.
      if (randomInt(SURPLUS_EVERY) === 0) await oauthClients.forgetSurplus(tx, MOST_UNUSED);
    });
  }
  return { client_id: clientId, ...metadata };
}

/** The client of an id, which notes that it is in use; undefined where none has registered with it. */
export async function clientOf(ctx: ClientsContext, clientId: string): Promise<Client | undefined> {
  const stored = CLIENT_ID.test(clientId) ? await oauthClients.of(ctx.db, clientId) : undefined;
  if (stored === undefined) return undefined;
  const now = ctx.clock.now();
  if (now - stored.usedTs > DAY_MS) {
    await ctx.db.write('oauthClients.touch', (tx) => oauthClients.touch(tx, clientId, now));
  }
  const metadata: ClientMetadata = JSON.parse(stored.metadata);
  return { client_id: clientId, ...metadata };
}

/** The client that makes a request, if it may use this way to tokens. */
export async function requireClient(
  ctx: ClientsContext,
  clientId: string,
  grant: GrantType,
): Promise<Client> {
  const client = await clientOf(ctx, clientId);
  if (client === undefined) throw new OAuthError('invalid_client', 'No such client is registered');
  if (!client.grant_types.includes(grant)) {
    throw new OAuthError('unauthorized_client', `The client has not registered the grant type ${grant}`);
  }
  return client;
}

/** Forgets the clients that nobody is signed in by and that were not used for long. */
export async function forgetUnusedClients(ctx: ClientsContext): Promise<void> {
  const before = ctx.clock.now() - UNUSED_MS;
  await ctx.db.write('oauthClients.forgetUnused', (tx) => oauthClients.forgetUnused(tx, before));
}

/** The name of a client for people to see: the host that it is of is what they can rely on. */
export function nameOf(client: ClientMetadata): string {
  return client.client_name ?? hostOf(client);
}

export function hostOf(client: ClientMetadata): string {
  return new URL(client.client_uri).hostname;
}

import type { FastifyInstance } from 'fastify';
import { isServerName, type KeyId, type ServerName } from '#keys/ids.ts';
import { integerAt, isObject, type JsonObject, objectAt } from '#keys/json.ts';
import { LONGEST_VALIDITY } from '#keys/key-validity.ts';
import { Lanes, LanesFull } from '#keys/lanes.ts';
import { countersign } from '#keys/server-key-document.ts';
import * as serverKeys from '#storage/server-keys.ts';
import type { FederationContext } from '../context.ts';
import { badJson, invalidParam, limitExceeded } from '../errors.ts';
import { TimeLimit } from '../network/time-limit.ts';
import { ownKeyDocument } from '../own-keys.ts';

/** Who may ask how often: throws `M_LIMIT_EXCEEDED` where an address has asked too much. */
interface NotaryContext extends FederationContext {
  readonly limits: { take(kind: 'notary', address: string): void };
}

/** Servers in one query; a stranger may ask, and each may cost a request to that server. */
const MOST_SERVERS = 100;
const MOST_KEYS = 100;
const AT_ONCE = 8;
const MOST_WAITING = 200;
const BUSY_RETRY_MS = 5_000;
/** For all servers of a query together. Of those that take longer it gets what is stored. */
const DEADLINE_MS = 15_000;

interface Query {
  readonly server: ServerName;
  readonly keyIds: readonly string[];
  /** Milliseconds since 1970. */
  readonly minimumValidUntilTs: number;
}

/**
 * The notary: `GET /_matrix/key/v2/query/{serverName}` and `POST /_matrix/key/v2/query`.
 * https://spec.matrix.org/v1.19/server-server-api/#querying-keys-through-another-server
 */
export function keysQueryRoutes(app: FastifyInstance, ctx: NotaryContext): void {
  const ownDocument = ownKeyDocument(ctx);
  const lookUps = new Lanes(AT_ONCE, MOST_WAITING);

  async function answer(queries: readonly Query[], address: string): Promise<JsonObject> {
    // Our own keys cost nothing.
    const others = queries.filter(({ server }) => server !== ctx.serverName);
    for (const _ of others) ctx.limits.take('notary', address);
    using limit = new TimeLimit(DEADLINE_MS, []);
    const documents = await Promise.all(queries.map((query) => documentOf(query, limit.signal)));
    return { server_keys: documents.filter((document) => document !== undefined) };
  }

  async function documentOf(query: Query, signal: AbortSignal): Promise<JsonObject | undefined> {
    if (query.server === ctx.serverName) return ownDocument();
    try {
      const document = await lookUps.run(() => newestDocument(ctx, query, signal));
      return document === undefined
        ? undefined
        : countersign(document, ctx.serverName, ctx.signingKey.keyPair);
    } catch (error) {
      if (error instanceof LanesFull) throw limitExceeded(BUSY_RETRY_MS);
      throw error;
    }
  }

  app.get<Named>('/_matrix/key/v2/query/:serverName', async ({ params, query, ip }) =>
    answer([namedQuery(params, query, ctx.clock.now())], ip),
  );

  // Servers that follow versions of the specification before v1.6 may name a key.
  app.get<Named>('/_matrix/key/v2/query/:serverName/:keyId', async ({ params, query, ip }) =>
    answer([namedQuery(params, query, ctx.clock.now())], ip),
  );

  app.post('/_matrix/key/v2/query', async ({ body, ip }) => answer(queriesOf(body, ctx.clock.now()), ip));
}

interface Named {
  Params: { serverName: string; keyId?: string };
  Querystring: Record<string, unknown>;
}

function namedQuery({ serverName, keyId }: Named['Params'], query: Named['Querystring'], now: number): Query {
  if (!isServerName(serverName)) throw invalidParam('Not a server name');
  // "If not supplied, the notary server MUST use the current time."
  const minimum = Number(query.minimum_valid_until_ts ?? now);
  if (!Number.isSafeInteger(minimum)) throw invalidParam('minimum_valid_until_ts is not an integer');
  const keyIds = keyId === undefined ? [] : [keyId];
  return { server: serverName, keyIds, minimumValidUntilTs: Math.max(0, minimum) };
}

function queriesOf(body: unknown, now: number): Query[] {
  const servers = isObject(body) ? objectAt(body, 'server_keys') : undefined;
  if (servers === undefined) throw badJson('server_keys is not an object');
  const entries = Object.entries(servers);
  if (entries.length > MOST_SERVERS) throw invalidParam(`More than ${MOST_SERVERS} servers in one query`);
  return entries.map(([server, criteria]) => {
    if (!isServerName(server)) throw invalidParam('Not a server name');
    if (!isObject(criteria)) throw badJson('The criteria of a server are not an object');
    const keyIds = Object.keys(criteria);
    if (keyIds.length > MOST_KEYS) throw invalidParam(`More than ${MOST_KEYS} keys of one server`);
    const minimums = Object.values(criteria).map((each) =>
      isObject(each) ? (integerAt(each, 'minimum_valid_until_ts') ?? now) : now,
    );
    return {
      server,
      keyIds,
      minimumValidUntilTs: Math.max(0, ...(minimums.length > 0 ? minimums : [now])),
    };
  });
}

/** What is stored, where it is good enough; else what the server says now; else what is stored after all. */
async function newestDocument(
  ctx: FederationContext,
  query: Query,
  signal: AbortSignal,
): Promise<JsonObject | undefined> {
  const { server, keyIds, minimumValidUntilTs } = query;
  const stored = await serverKeys.of(ctx.db, server);
  const missing = keyIds.find((keyId) => stored?.keys.has(keyId as KeyId) !== true);
  if (stored !== undefined && missing === undefined && stored.validUntilTs >= minimumValidUntilTs)
    return stored.document;
  if (signal.aborted) return stored?.document;
  const keyId: KeyId = `ed25519:${(missing ?? keyIds[0])?.split(':')[1] ?? 'any'}`;
  // No document is valid for longer: one that is asked to be is the newest that can be had.
  const atTs = Math.min(minimumValidUntilTs, ctx.clock.now() + LONGEST_VALIDITY);
  try {
    // The key ring asks the server, unless it did so lately, and stores the answer.
    await ctx.keyRing.keyFor(server, keyId, { atTs, strictValidity: true, signal });
  } catch (error) {
    if (!signal.aborted) throw error;
    return stored?.document;
  }
  return (await serverKeys.of(ctx.db, server))?.document;
}

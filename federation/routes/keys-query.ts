import type { FastifyInstance } from 'fastify';
import { isServerName, type KeyId, type ServerName } from '#keys/ids.ts';
import { integerAt, isObject, type JsonObject, objectAt } from '#keys/json.ts';
import { Lanes, LanesFull } from '#keys/lanes.ts';
import { countersign } from '#keys/server-key-document.ts';
import * as serverKeys from '#storage/server-keys.ts';
import type { FederationContext } from '../context.ts';
import { badJson, invalidParam, limitExceeded } from '../errors.ts';
import { ownKeyDocument } from '../own-keys.ts';

/** Servers in one query; a stranger may ask, and each may cost a request to that server. */
const MOST_SERVERS = 100;
const AT_ONCE = 8;
const MOST_WAITING = 200;
const BUSY_RETRY_MS = 5_000;

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
export function keysQueryRoutes(app: FastifyInstance, ctx: FederationContext): void {
  const ownDocument = ownKeyDocument(ctx);
  const lookUps = new Lanes(AT_ONCE, MOST_WAITING);

  async function answer(queries: readonly Query[]): Promise<JsonObject> {
    const documents = await Promise.all(queries.map((query) => documentOf(query)));
    return { server_keys: documents.filter((document) => document !== undefined) };
  }

  async function documentOf(query: Query): Promise<JsonObject | undefined> {
    if (query.server === ctx.serverName) return ownDocument();
    try {
      const document = await lookUps.run(() => newestDocument(ctx, query));
      return document === undefined
        ? undefined
        : countersign(document, ctx.serverName, ctx.signingKey.keyPair);
    } catch (error) {
      if (error instanceof LanesFull) throw limitExceeded(BUSY_RETRY_MS);
      throw error;
    }
  }

  app.get<{ Params: { serverName: string }; Querystring: Record<string, unknown> }>(
    '/_matrix/key/v2/query/:serverName',
    async ({ params, query }) => {
      if (!isServerName(params.serverName)) throw invalidParam('Not a server name');
      const minimum = Number(query.minimum_valid_until_ts ?? ctx.clock.now());
      if (!Number.isSafeInteger(minimum)) throw invalidParam('minimum_valid_until_ts is not an integer');
      return answer([{ server: params.serverName, keyIds: [], minimumValidUntilTs: minimum }]);
    },
  );

  app.post('/_matrix/key/v2/query', async ({ body }) => answer(queriesOf(body, ctx.clock.now())));
}

function queriesOf(body: unknown, now: number): Query[] {
  const servers = isObject(body) ? objectAt(body, 'server_keys') : undefined;
  if (servers === undefined) throw badJson('server_keys is not an object');
  const entries = Object.entries(servers);
  if (entries.length > MOST_SERVERS) throw invalidParam(`More than ${MOST_SERVERS} servers in one query`);
  return entries.map(([server, criteria]) => {
    if (!isServerName(server)) throw invalidParam('Not a server name');
    if (!isObject(criteria)) throw badJson('The criteria of a server are not an object');
    const minimums = Object.values(criteria).map((each) =>
      isObject(each) ? (integerAt(each, 'minimum_valid_until_ts') ?? now) : now,
    );
    return {
      server,
      keyIds: Object.keys(criteria),
      minimumValidUntilTs: Math.max(0, ...(minimums.length > 0 ? minimums : [now])),
    };
  });
}

/** What is stored, where it is good enough; else what the server says now; else what is stored after all. */
async function newestDocument(ctx: FederationContext, query: Query): Promise<JsonObject | undefined> {
  const stored = await serverKeys.of(ctx.db, query.server);
  const knowsAll = query.keyIds.every((keyId) => stored?.keys.has(keyId as KeyId));
  if (stored !== undefined && knowsAll && stored.validUntilTs >= query.minimumValidUntilTs)
    return stored.document;
  const keyId: KeyId = `ed25519:${query.keyIds[0]?.split(':')[1] ?? 'any'}`;
  // The key ring asks the server, unless it did so lately, and stores the answer.
  await ctx.keyRing.keyFor(query.server, keyId, { atTs: query.minimumValidUntilTs, strictValidity: true });
  return (await serverKeys.of(ctx.db, query.server))?.document;
}

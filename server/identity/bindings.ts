/** Addresses of users that identity servers know as theirs, so that others find them by these. */

import { invalidParam } from '#federation/errors.ts';
import { type Address, bind, unbind } from '#federation/remote/identity.ts';
import type { ServerName, UserId } from '#keys/ids.ts';
import type { JsonObject } from '#keys/json.ts';
import * as identityBindings from '#storage/identity-bindings.ts';
import { optionalString } from '../body.ts';
import type { ServerContext } from '../context.ts';
import { secretAt } from '../email/proof.ts';
import { allowedServer, canonicalAddress, identityAccess, identityFailure } from './access.ts';

/** Whether identity servers have forgotten an address: as clients are told. */
export type UnbindResult = 'success' | 'no-support';

type UnbindContext = Pick<ServerContext, 'client' | 'config' | 'db' | 'log' | 'serverName' | 'signingKey'>;

const MOST_AT_ONCE = 20;
/** Somebody waits for the end of their account. */
const DEADLINE_MS = 10_000;

/** Has an identity server know an address as a user's. "Homeservers should track successful binds". */
export async function bindAddress(ctx: ServerContext, userId: UserId, body: JsonObject): Promise<void> {
  const sid = secretAt(body, 'sid');
  const clientSecret = secretAt(body, 'client_secret');
  const access = identityAccess(ctx, body);
  const bound = await bind(ctx, access, { sid, clientSecret, userId });
  // "Homeservers should simply proxy any errors received by the identity server to the caller."
  if (bound.kind === 'failed') throw identityFailure(bound);
  const { medium } = bound.value;
  const address = canonicalAddress(medium, bound.value.address);
  if (address === undefined) throw invalidParam('The identity server has bound what is no address');
  const binding = { medium, address, idServer: access.idServer };
  await ctx.db.write('identityBindings.add', (tx) =>
    identityBindings.add(tx, userId, binding, ctx.clock.now()),
  );
}

/**
 * Has identity servers forget an address of a user: the one that the body names, else those that were told by us; throws
 * what one of them says against it. One that the operator does not allow, or no longer, is not asked.
 */
export async function unbindAddress(
  ctx: UnbindContext,
  userId: UserId,
  { medium, address }: Address,
  body: JsonObject,
): Promise<UnbindResult> {
  const named = optionalString(body, 'id_server');
  const known = await identityBindings.ofUser(ctx.db, userId);
  const bound = known.filter((one) => one.medium === medium && one.address === address);
  const allowed = named === undefined ? undefined : allowedServer(ctx, named);
  const servers =
    named === undefined ? bound.map(({ idServer }) => idServer) : allowed === undefined ? [] : [allowed];
  let result: UnbindResult = servers.length === 0 ? 'no-support' : 'success';
  for (const idServer of servers) {
    // One after the other: mostly there is one.
    if (!(await forgets(ctx, userId, { medium, address, idServer }))) result = 'no-support';
  }
  return result;
}

/** Has identity servers forget all that they know of a user who goes. */
export async function unbindAll(ctx: UnbindContext, userId: UserId): Promise<UnbindResult> {
  const known = await identityBindings.ofUser(ctx.db, userId);
  const signal = AbortSignal.timeout(DEADLINE_MS);
  const all = known.slice(0, MOST_AT_ONCE).map((binding) =>
    forgets(ctx, userId, binding, signal).catch((error: unknown) => {
      ctx.log.info({ err: error, idServer: binding.idServer }, 'an identity server did not forget a user');
      return false;
    }),
  );
  const isDone = (await Promise.all(all)).every((done) => done) && known.length <= MOST_AT_ONCE;
  // "This must be success if the homeserver has no identifiers to unbind for the user."
  return isDone ? 'success' : 'no-support';
}

/** False where the identity server cannot do that; throws what it says against it. */
async function forgets(
  ctx: UnbindContext,
  userId: UserId,
  { idServer, ...address }: Address & { readonly idServer: ServerName },
  signal?: AbortSignal,
): Promise<boolean> {
  if (allowedServer(ctx, idServer) === undefined) return false;
  const options = signal === undefined ? {} : { signal };
  const answer = await unbind(ctx, idServer, { userId, ...address }, options);
  if (answer.kind === 'failed') {
    const { status = 0, errcode } = answer;
    // "If the response body is not a JSON Matrix error, the identity server does not support unbinds."
    if (errcode === undefined && (status === 400 || status === 404 || status === 501)) return false;
    throw identityFailure(answer);
  }
  await ctx.db.write('identityBindings.remove', (tx) =>
    identityBindings.remove(tx, userId, { ...address, idServer }),
  );
  return true;
}

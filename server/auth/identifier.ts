/** https://spec.matrix.org/v1.19/client-server-api/#identifier-types */

import { forbidden, missingParam, unknown } from '#federation/errors.ts';
import type { UserId } from '#keys/ids.ts';
import { type JsonObject, stringAt } from '#keys/json.ts';
import * as threepids from '#storage/threepids.ts';
import { optionalObject, optionalString } from '../body.ts';
import type { ServerContext } from '../context.ts';
import { canonicalEmail } from '../email/address.ts';
import { localUserId } from './accounts.ts';

type IdentifierContext = Pick<ServerContext, 'db' | 'serverName'>;

/**
 * The account that somebody names who signs in: by an identifier, or as older clients do. Undefined where there can be
 * no such account here, which is told no more than a wrong password.
 */
export async function identifiedUser(ctx: IdentifierContext, body: JsonObject): Promise<UserId | undefined> {
  const identifier = optionalObject(body, 'identifier');
  const type =
    identifier === undefined ? undefined : (stringAt(identifier, 'type') ?? impliedType(identifier));
  switch (type) {
    case undefined:
      return olderClients(ctx, body);
    case 'm.id.user':
      return localUserId(required(identifier, 'user'), ctx.serverName);
    case 'm.id.thirdparty':
      return boundTo(ctx, required(identifier, 'medium'), required(identifier, 'address'));
    case 'm.id.phone':
      required(identifier, 'country');
      required(identifier, 'phone');
      throw forbidden('This server knows no phone numbers: use the name of the user');
    default:
      throw unknown(400, `Identifiers of the type ${type} are not supported`);
  }
}

/** `user`, or `medium` and `address`: "Deprecated in favour of `identifier`." */
async function olderClients(ctx: IdentifierContext, body: JsonObject): Promise<UserId | undefined> {
  const user = optionalString(body, 'user');
  if (user !== undefined) return localUserId(user, ctx.serverName);
  const [medium, address] = [optionalString(body, 'medium'), optionalString(body, 'address')];
  if (medium !== undefined && address !== undefined) return boundTo(ctx, medium, address);
  throw missingParam('identifier');
}

/** The specification's own example of a third-party identifier has no type. */
function impliedType(identifier: JsonObject): string {
  return stringAt(identifier, 'medium') === undefined ? 'm.id.user' : 'm.id.thirdparty';
}

/** "A 3PID bound to the user's account on the homeserver": an e-mail address, since there are no others. */
async function boundTo(ctx: IdentifierContext, medium: string, address: string): Promise<UserId | undefined> {
  const canonical = medium === 'email' ? canonicalEmail(address) : undefined;
  return canonical === undefined ? undefined : threepids.ownerOf(ctx.db, medium, canonical);
}

function required(identifier: JsonObject | undefined, key: string): string {
  const value = identifier && stringAt(identifier, key);
  if (value === undefined) throw missingParam(`identifier.${key}`);
  return value;
}

/** What we ask of identity servers: https://spec.matrix.org/v1.19/identity-service-api/ */

import { createHash } from 'node:crypto';
import { encodeCanonical } from '#keys/canonical-json.ts';
import { isUserId, type RoomId, type ServerName, type UserId } from '#keys/ids.ts';
import { isObject, isStringArray, type JsonObject, objectAt, own, stringAt } from '#keys/json.ts';
import type { SigningKey } from '#keys/signing-key.ts';
import { failure } from '../client.ts';
import { formatXMatrix } from '../x-matrix.ts';
import { type Remote, readObject } from './answer.ts';
import {
  MAX_SMALL_BYTES,
  QUERY_TIMEOUT_MS,
  type RemoteContext,
  type RemoteOptions,
  smallQuery,
} from './request.ts';

/** An identity server, and the token that one of our users has there. */
export interface IdentityAccess {
  readonly idServer: ServerName;
  readonly accessToken: string;
}

/** A third-party identifier in canonical form. */
export interface Address {
  readonly medium: string;
  readonly address: string;
}

/** An invitation that waits at an identity server until somebody's the address is. */
export interface StoredInvite {
  readonly token: string;
  /** "A redacted version of `address` which does not leak the full contents". */
  readonly displayName: string;
  /** At least one. */
  readonly keys: readonly { readonly publicKey: string; readonly validityUrl: string | undefined }[];
}

/** Of the room and who invites: see `storeInvite`. */
export type InviteFacts = JsonObject & { readonly room_id: RoomId; readonly sender: UserId };

const V2 = '/_matrix/identity/v2';
const HTTPS_PORT = 443;
/** "Must be a string consisting of the characters `[0-9a-zA-Z.=_-]`. Its length must not exceed 255 characters". */
const TOKEN = /^[0-9a-zA-Z.=_-]{1,255}$/;
const LONGEST_NAME = 255;
const LONGEST_PEPPER = 255;
const LONGEST_KEY = 255;
const LONGEST_URL = 1_000;
const MOST_KEYS = 10;

/** Where an identity server is: its name with its port is no server name that could be delegated. */
export function identityAddress(idServer: ServerName): ServerName {
  return /:\d+$/.test(idServer) ? idServer : `${idServer}:${HTTPS_PORT}`;
}

/**
 * Whether a public key (Base64) is still good, by the `key_validity_url` that came with it: "using the provided URL
 * rather than constructing a new one". The server there is none of the federation: the request is not signed.
 */
export async function isKeyValid(
  ctx: RemoteContext,
  { url, publicKey }: { url: string; publicKey: string },
  options: RemoteOptions = {},
): Promise<Remote<boolean>> {
  const parsed = URL.canParse(url) ? new URL(url) : undefined;
  if (parsed?.protocol !== 'https:') return failure('invalid_server', 'not an address by HTTPS');
  const { hostname, port, pathname, searchParams } = parsed;
  const query = { ...Object.fromEntries(searchParams), public_key: publicKey };
  const server = identityAddress(port === '' ? hostname : `${hostname}:${port}`);
  const request = smallQuery(server, pathname, query);
  const answer = await ctx.client.request({ ...request, unsigned: true, backoff: 'caller', ...options });
  return readObject(answer, (body) => {
    const valid = own(body, 'valid');
    return typeof valid === 'boolean' ? valid : undefined;
  });
}

/** Whose an address is, if anybody's. It is told hashed, where the identity server can look for hashes. */
export async function lookup(
  ctx: RemoteContext,
  access: IdentityAccess,
  wanted: Address,
): Promise<Remote<UserId | undefined>> {
  const first = await lookupOnce(ctx, access, wanted);
  // "Clients SHOULD make a call to `/hash_details` to get a new pepper in this scenario, being careful to avoid retry
  // loops."
  const isStale = first.kind === 'failed' && first.errcode === 'M_INVALID_PEPPER';
  return isStale ? lookupOnce(ctx, access, wanted) : first;
}

/** Has an identity server keep an invitation, and tell the address of it. */
export async function storeInvite(
  ctx: RemoteContext,
  access: IdentityAccess,
  { medium, address }: Address,
  facts: InviteFacts,
): Promise<Remote<StoredInvite>> {
  const body = { ...facts, medium, address };
  return readObject(await post(ctx, access, { path: 'store-invite', body }), (answer) => {
    const [token, displayName] = [stringAt(answer, 'token'), stringAt(answer, 'display_name')];
    const keys = keysIn(answer);
    if (token === undefined || !TOKEN.test(token) || displayName === undefined || keys.length === 0) {
      return undefined;
    }
    return { token, displayName: displayName.slice(0, LONGEST_NAME), keys };
  });
}

/** Has an identity server know an address as a user's, by a session there that has proved it; answers the address. */
export async function bind(
  ctx: RemoteContext,
  access: IdentityAccess,
  session: { readonly sid: string; readonly clientSecret: string; readonly userId: UserId },
): Promise<Remote<Address>> {
  const { sid, clientSecret, userId } = session;
  const body = { sid, client_secret: clientSecret, mxid: userId };
  return readObject(await post(ctx, access, { path: '3pid/bind', body }), (answer) => {
    const [medium, address] = [stringAt(answer, 'medium'), stringAt(answer, 'address')];
    return medium === undefined || address === undefined ? undefined : { medium, address };
  });
}

/** Ends that. "The request is signed by the homeserver which controls the `user_id`." */
export async function unbind(
  ctx: RemoteContext & { readonly serverName: ServerName; readonly signingKey: Pick<SigningKey, 'keyPair'> },
  idServer: ServerName,
  { userId, medium, address }: Address & { readonly userId: UserId },
  options: RemoteOptions = {},
): Promise<Remote<undefined>> {
  const path = `${V2}/3pid/unbind`;
  const body = { mxid: userId, threepid: { medium, address } };
  const { serverName: origin, signingKey } = ctx;
  const { keyPair } = signingKey;
  const signed = encodeCanonical({
    ...{ method: 'POST', uri: path, origin, content: body },
    // How it is signed is in no specification. Sydent, the one identity server in use, verifies this name.
    destination_is: idServer,
  });
  const header = { origin, destination: idServer, key: keyPair.keyId, sig: keyPair.sign(signed) };
  const answer = await ctx.client.request({
    ...{ server: identityAddress(idServer), method: 'POST', path, body },
    authorization: formatXMatrix(header),
    ...{ timeoutMs: QUERY_TIMEOUT_MS, maxBytes: MAX_SMALL_BYTES, backoff: 'caller', ...options },
  });
  return answer.kind === 'failed' ? answer : { kind: 'ok', value: undefined };
}

async function lookupOnce(
  ctx: RemoteContext,
  access: IdentityAccess,
  wanted: Address,
): Promise<Remote<UserId | undefined>> {
  const { idServer } = access;
  const asked = smallQuery(identityAddress(idServer), `${V2}/hash_details`, {});
  const details = readObject(await ctx.client.request({ ...asked, ...authorized(access) }), hashDetails);
  if (details.kind === 'failed') return details;
  const { pepper, algorithm } = details.value;
  const hashed = lookupKey(wanted, details.value);
  const body = { addresses: [hashed], algorithm, pepper };
  const answer = await post(ctx, access, { path: 'lookup', body });
  const found = readObject(answer, (object) => {
    const mappings = objectAt(object, 'mappings');
    const userId = mappings && own(mappings, hashed);
    if (mappings === undefined || (userId !== undefined && !isUserId(userId))) return undefined;
    return { userId };
  });
  return found.kind === 'failed' ? found : { kind: 'ok', value: found.value.userId };
}

interface HashDetails {
  readonly pepper: string;
  readonly algorithm: 'sha256' | 'none';
}

function hashDetails(answer: JsonObject): HashDetails | undefined {
  const [pepper, algorithms] = [stringAt(answer, 'lookup_pepper'), own(answer, 'algorithms')];
  if (pepper === undefined || pepper.length > LONGEST_PEPPER || !isStringArray(algorithms)) return undefined;
  // The identity server is told the address itself anyway, where it is nobody's yet: `storeInvite`.
  const algorithm = algorithms.includes('sha256') ? 'sha256' : algorithms.find((one) => one === 'none');
  return algorithm === 'sha256' || algorithm === 'none' ? { pepper, algorithm } : undefined;
}

/** https://spec.matrix.org/v1.19/identity-service-api/#algorithms */
function lookupKey({ medium, address }: Address, { pepper, algorithm }: HashDetails): string {
  if (algorithm === 'none') return `${address} ${medium}`;
  return createHash('sha256').update(`${address} ${medium} ${pepper}`).digest('base64url');
}

/** "A list of [server's long-term public key, generated ephemeral public key]." */
function keysIn(answer: JsonObject): StoredInvite['keys'] {
  const listed = own(answer, 'public_keys');
  return (Array.isArray(listed) ? listed : [])
    .slice(0, MOST_KEYS)
    .filter(isObject)
    .flatMap((key) => {
      const [publicKey, validityUrl] = [stringAt(key, 'public_key'), stringAt(key, 'key_validity_url')];
      const isOne = publicKey !== undefined && publicKey.length <= LONGEST_KEY;
      return isOne && (validityUrl?.length ?? 0) <= LONGEST_URL ? [{ publicKey, validityUrl }] : [];
    });
}

function post(
  ctx: RemoteContext,
  access: IdentityAccess,
  { path, body }: { readonly path: string; readonly body: JsonObject },
): ReturnType<RemoteContext['client']['request']> {
  const to = { server: identityAddress(access.idServer), method: 'POST', path: `${V2}/${path}` } as const;
  const limits = { timeoutMs: QUERY_TIMEOUT_MS, maxBytes: MAX_SMALL_BYTES };
  return ctx.client.request({ ...to, body, ...limits, ...authorized(access) });
}

function authorized({ accessToken }: IdentityAccess): {
  readonly authorization: string;
  readonly backoff: 'caller';
} {
  return { authorization: `Bearer ${accessToken}`, backoff: 'caller' };
}

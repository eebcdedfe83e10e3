/** What we ask of identity servers: https://spec.matrix.org/v1.19/identity-service-api/ */

import { own } from '#keys/json.ts';
import { failure } from '../client.ts';
import { type Remote, readObject } from './answer.ts';
import { type RemoteContext, type RemoteOptions, smallQuery } from './request.ts';

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
  // With its port it is no server name that could be delegated.
  const request = smallQuery(`${hostname}:${port === '' ? '443' : port}`, pathname, query);
  const answer = await ctx.client.request({ ...request, unsigned: true, backoff: 'caller', ...options });
  return readObject(answer, (body) => {
    const valid = own(body, 'valid');
    return typeof valid === 'boolean' ? valid : undefined;
  });
}

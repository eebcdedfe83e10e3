/** A directory that keeps users and groups of a server by SCIM, for tests. */

import assert from 'node:assert/strict';
import { type Answer, request } from './client.ts';
import { startServer, type TestServer, type TestServerOptions } from './server.ts';

export const SCIM_TOKEN = 'the-token-of-the-directory';

/** A server that a directory keeps. */
export function startScimServer(options: TestServerOptions = {}): Promise<TestServer> {
  return startServer({ scimToken: [SCIM_TOKEN], ...options });
}

/** A request of the directory; `path` from after `/scim/v2`. */
export async function scim(
  server: Pick<TestServer, 'clientUrl'>,
  method: string,
  path: string,
  body?: unknown,
  headers: Readonly<Record<string, string>> = {},
): Promise<Answer> {
  const answer = await request(
    { ...server, clientUrl: server.clientUrl, answersAre: 'foreign' },
    method,
    `/scim/v2${path}`,
    {
      ...(body !== undefined && { body }),
      token: SCIM_TOKEN,
      headers: { ...(body !== undefined && { 'content-type': 'application/scim+json' }), ...headers },
    },
  );
  const isJson = answer.headers.get('content-type') === 'application/scim+json';
  return { ...answer, body: isJson ? JSON.parse(answer.body) : answer.body };
}

/** The answer of a request that succeeds. */
export async function scimOk(...args: Parameters<typeof scim>): Promise<Answer['body']> {
  const answer = await scim(...args);
  assert.ok(answer.status < 300, `${args[1]} ${args[2]}: ${answer.status} ${JSON.stringify(answer.body)}`);
  return answer.body;
}

/** Makes a user, and answers the resource. */
export function scimUser(
  server: Pick<TestServer, 'clientUrl'>,
  userName: string,
  more: object = {},
): Promise<Answer['body']> {
  const schemas = ['urn:ietf:params:scim:schemas:core:2.0:User'];
  return scimOk(server, 'POST', '/Users', { schemas, userName, ...more });
}

/** Makes a group of users, and answers the resource. */
export function scimGroup(
  server: Pick<TestServer, 'clientUrl'>,
  displayName: string,
  members: readonly { id: string }[] = [],
): Promise<Answer['body']> {
  const schemas = ['urn:ietf:params:scim:schemas:core:2.0:Group'];
  const body = { schemas, displayName, members: members.map(({ id }) => ({ value: id })) };
  return scimOk(server, 'POST', '/Groups', body);
}

/** The body of a PATCH. */
export function patchOf(...operations: readonly object[]): object {
  return { schemas: ['urn:ietf:params:scim:api:messages:2.0:PatchOp'], Operations: operations };
}

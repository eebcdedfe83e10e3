import assert from 'node:assert/strict';
import { hmacSha1Hex } from '#keys/tokens.ts';
import { request, TestClient } from '#test/harness/client.ts';
import { SHARED_SECRET, type Synapse } from './synapse.ts';

const PATH = '/_synapse/admin/v1/register';

/** Makes an account on Synapse by the shared secret, and signs it in. */
export async function registerAtSynapse(synapse: Synapse, username: string): Promise<TestClient> {
  const password = `password of ${username}`;
  const { nonce } = (await request(synapse, 'GET', PATH)).body;
  const mac = hmacSha1Hex(SHARED_SECRET, [nonce, username, password, 'notadmin'].join('\0'));
  const answer = await request(synapse, 'POST', PATH, {
    body: { nonce, username, password, admin: false, mac },
  });
  assert.equal(answer.status, 200, `cannot register ${username}: ${JSON.stringify(answer.body)}`);
  return new TestClient(synapse, { ...answer.body, password });
}

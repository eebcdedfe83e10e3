import assert from 'node:assert/strict';
import { once } from 'node:events';
import { request as httpsRequest } from 'node:https';
import { createServer } from 'node:net';
import { after, test } from 'node:test';
import { formatXMatrix } from '#federation/x-matrix.ts';
import { register } from '#test/harness/client.ts';
import { startFleet } from '#test/harness/fleet.ts';

const fleet = await startFleet(1, { federationAllowPrivate: false });
after(() => fleet[Symbol.asyncDispose]());
const server = fleet.at(0);

function ask(path: string, headers: Record<string, string> = {}): Promise<number> {
  return new Promise((resolve, reject) => {
    const options = { headers, ca: fleet.authority.cert, servername: 'localhost' };
    const outgoing = httpsRequest(`${server.federationUrl}${path}`, options);
    outgoing.on('error', reject).on('response', (incoming) => {
      incoming.resume().on('end', () => resolve(incoming.statusCode ?? 0));
    });
    outgoing.end();
  });
}

test('row 42: no name that anybody gives us leads to a private address', async () => {
  let hits = 0;
  const canary = createServer((socket) => {
    hits += 1;
    socket.destroy();
  });
  canary.listen(0, '::');
  await once(canary, 'listening');
  const { port } = canary.address() as { port: number };
  const alice = await register(server, 'alice');
  const hosts = [
    ...['127.0.0.1', '127.1', '0x7f.1', '2130706433', '0', '0.0.0.0', 'localhost', 'localhost.', '10.0.0.1'],
    ...['[::1]', '[::]', '[::ffff:127.0.0.1]', '[::ffff:7f00:1]', '[64:ff9b::7f00:1]', '[2002:7f00:1::]'],
    ...['①②⑦.0.0.1', '127.0.0.1@elsewhere.test', '0177.0.0.1'],
  ];
  const asked = hosts.flatMap((host) => {
    const name = `${host}:${port}`;
    const encoded = encodeURIComponent(name);
    const sig = 'A'.repeat(86);
    const headerName = /^[\x21-\x7e]+$/.test(name) ? name : 'x';
    const authorization = formatXMatrix({
      origin: headerName,
      destination: server.serverName,
      key: 'ed25519:a',
      sig,
    });
    return [
      ask(`/_matrix/key/v2/query/${encoded}`),
      ask('/_matrix/federation/v1/query/profile?user_id=@a:b', { authorization }),
      alice.try('POST', `/join/${encodeURIComponent(`!a:${name}`)}?via=${encoded}`),
      alice.try('GET', `/profile/${encodeURIComponent(`@a:${name}`)}`),
      alice.try('GET', `/directory/room/${encodeURIComponent(`#a:${name}`)}`),
      alice.try('POST', `/publicRooms?server=${encoded}`, {}),
    ];
  });
  for (const answer of await Promise.all(asked)) {
    const status = typeof answer === 'number' ? answer : answer.status;
    assert.ok(status !== 500, `${status}`);
  }
  assert.equal(hits, 0);
  canary.close();
});

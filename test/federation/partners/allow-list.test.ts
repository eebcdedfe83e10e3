/** Who is no partner gets nothing, and is sent nothing. */

import assert from 'node:assert/strict';
import dns from 'node:dns';
import { request } from 'node:https';
import { syncBuiltinESMExports } from 'node:module';
import { type AddressInfo, createServer } from 'node:net';
import { mock, test } from 'node:test';
import type { FastifyInstance } from 'fastify';
import { detailLines } from '#federation/outbound/ledger.ts';
import type { ServerName } from '#keys/ids.ts';
import { federationRoutes } from '#server/app.ts';
import { createApp } from '#server/http/create-app.ts';
import { register } from '#test/harness/client.ts';
import { bringIn, inRoom, untilMessages } from '#test/harness/conversation.ts';
import { startFleet } from '#test/harness/fleet.ts';
import { partner } from '#test/harness/partner.ts';
import { RoomPeer } from '#test/harness/room-peer.ts';
import type { TestServer } from '#test/harness/server.ts';
import { until } from '#test/harness/until.ts';

const CLOSED = { federationInbound: 'partners', federationOutbound: 'partners' } as const;
const silent = { debug() {}, info() {}, warn() {}, error() {} };
/** What stays public: how a server proves who it is, and where it is, must be there before anything is agreed. */
const PUBLIC = /^\/_matrix\/key\/v2\/server(\/|$)|^\/\.well-known\/matrix\//;

interface Route {
  readonly method: string;
  readonly url: string;
}

/** Every route that the federation listener serves. */
function routesOf(server: TestServer): Route[] {
  const routes: Route[] = [];
  const app: FastifyInstance = createApp({ log: silent, cors: false, bodyLimit: 1_000 });
  app.decorateRequest('origin', '');
  app.addHook('onRoute', ({ method, url }) => {
    for (const each of [method].flat()) routes.push({ method: each, url });
  });
  for (const each of federationRoutes) each(app, server.ctx);
  // What a load balancer asks for is no business of other servers.
  return routes.filter(({ url }) => !url.includes('*') && url !== '/health');
}

/** A path of a route, with something in the place of each parameter. */
function pathOf({ url }: Route): string {
  return url.replaceAll(/:[A-Za-z]+/g, 'x%3Ay');
}

test('a server that is no partner gets 403 on every route, and no packet leaves for it', async () => {
  await using fleet = await startFleet(1, CLOSED);
  const server = fleet.at(0);
  await using stranger = await new RoomPeer(fleet.authority).start();
  const routes = routesOf(server);
  assert.ok(routes.length > 20, `${routes.length}`);
  for (const route of routes) {
    const body = route.method === 'GET' ? {} : { body: {} };
    const path = pathOf(route);
    const answer = await stranger.request(server, { method: route.method, path, ...body });
    const what = `${route.method} ${route.url}`;
    if (PUBLIC.test(route.url)) assert.notEqual(answer.status, 403, what);
    else assert.deepEqual([answer.status, answer.body.errcode], [403, 'M_FORBIDDEN'], what);
  }
  assert.deepEqual(stranger.peer.requests, [], 'its key was not asked for');
});

test('a partner is let in and called at once when it is added, and kept out at once when it is removed', async () => {
  await using fleet = await startFleet(1, CLOSED);
  const server = fleet.at(0);
  const alice = await register(server);
  await using peer = await new RoomPeer(fleet.authority).start();
  const ask = () =>
    peer.request(server, {
      path: `/_matrix/federation/v1/query/profile?user_id=${encodeURIComponent(alice.userId)}`,
    });
  const { partners, client } = server.ctx;
  const call = () => client.request({ server: peer.name, method: 'GET', path: '/_matrix/key/v2/server' });
  const reasonOf = (answer: Awaited<ReturnType<typeof call>>) =>
    answer.kind === 'failed' ? answer.reason : answer.kind;
  assert.deepEqual([(await ask()).status, reasonOf(await call())], [403, 'not_a_partner']);
  await partners.put(partner(peer.name));
  assert.deepEqual([(await ask()).status, reasonOf(await call())], [200, 'ok']);
  await partners.put(partner(peer.name, { direction: 'inbound' }));
  assert.deepEqual([(await ask()).status, reasonOf(await call())], [200, 'not_a_partner']);
  await partners.put(partner(peer.name, { direction: 'outbound' }));
  assert.deepEqual([(await ask()).status, reasonOf(await call())], [403, 'ok']);
  await partners.remove(peer.name);
  const { length } = peer.peer.requests;
  assert.deepEqual([(await ask()).status, reasonOf(await call())], [403, 'not_a_partner']);
  assert.equal(peer.peer.requests.length, length);
});

test('for a name that is no partner there is no DNS and no connection, whatever users and servers ask for', async () => {
  const asked: string[] = [];
  // Where the process ends: what Node would ask the resolver of the machine. This machine's own names are answered.
  const absent = (name: string) => {
    asked.push(name);
    return Object.assign(new Error(`no ${name}`), { code: 'ENOTFOUND' });
  };
  const realLookup = dns.lookup as (...args: unknown[]) => void;
  const lookup = mock.method(dns, 'lookup', (name: string, ...rest: unknown[]) => {
    if (!name.endsWith('.example')) return realLookup(name, ...rest);
    (rest.at(-1) as (error: Error) => void)(absent(name));
  });
  const srv = mock.method(dns.promises.Resolver.prototype, 'resolveSrv', async (name: string) => {
    throw absent(name);
  });
  syncBuiltinESMExports();
  let connections = 0;
  const listener = createServer((socket) => {
    connections += 1;
    socket.destroy();
  });
  await new Promise<void>((resolve) => listener.listen(0, '127.0.0.1', resolve));
  const byAddress = `127.0.0.1:${(listener.address() as AddressInfo).port}`;
  try {
    await using fleet = await startFleet(1, CLOSED);
    const server = fleet.at(0);
    const alice = await register(server);
    const roomId = await alice.createRoom();
    const encode = encodeURIComponent;
    const askFor = async (name: ServerName): Promise<void> => {
      for (const [method, path, body] of [
        ['GET', `/profile/${encode(`@bob:${name}`)}`],
        ['GET', `/directory/room/${encode(`#room:${name}`)}`],
        ['GET', `/publicRooms?server=${encode(name)}`],
        ['POST', `/join/!room:${name}?via=${encode(name)}`, {}],
        ['POST', `/join/${encode(`#room:${name}`)}`, {}],
        ['POST', `${inRoom(roomId)}/invite`, { user_id: `@bob:${name}` }],
        ['POST', '/createRoom', { invite: [`@bob:${name}`] }],
        ['POST', '/keys/query', { device_keys: { [`@bob:${name}`]: [] } }],
        ['POST', '/keys/claim', { one_time_keys: { [`@bob:${name}`]: { A: 'signed_curve25519' } } }],
        ['GET', `/_matrix/client/v1/media/download/${encode(name)}/abc`],
        ['GET', `/_matrix/client/v1/media/thumbnail/${encode(name)}/abc?width=1&height=1`],
      ] as const) {
        const answer = await alice.try(method, path, body);
        assert.ok(
          answer.status < 500 || answer.status === 504 || answer.status === 502,
          `${path} ${answer.status}`,
        );
      }
      // By the notary, whom anybody may ask.
      const { federationUrl } = server;
      const ca = fleet.authority.cert;
      await new Promise<void>((resolve, reject) => {
        request(`${federationUrl}/_matrix/key/v2/query/${encode(name)}`, { ca }, (answer) => {
          answer.resume().on('end', resolve);
        })
          .on('error', reject)
          .end();
      });
    };
    await askFor('stranger.example');
    await askFor(byAddress);
    assert.equal(asked.join(), '');
    assert.equal(connections, 0);
    // The witnesses do see what there is to see.
    await server.ctx.partners.put(partner('stranger.example'));
    await server.ctx.partners.put(partner(byAddress));
    await askFor('stranger.example');
    await askFor(byAddress);
    assert.ok(asked.includes('stranger.example') && asked.includes('_matrix-fed._tcp.stranger.example'));
    assert.ok(connections > 0);
  } finally {
    lookup.mock.restore();
    srv.mock.restore();
    syncBuiltinESMExports();
    listener.close();
  }
});

test('in a room with members elsewhere that are no partners: nothing is sent to them, and what partners relay counts', async () => {
  await using fleet = await startFleet(3);
  const [ours, theirs, others] = fleet.servers;
  assert.ok(ours !== undefined && theirs !== undefined && others !== undefined);
  const alice = await register(ours);
  const bob = await register(theirs);
  const carol = await register(others);
  const roomId = await bob.createRoom({ preset: 'private_chat' });
  await bringIn(bob, alice, roomId);
  await bringIn(bob, carol, roomId);
  await carol.send(roomId, 'before');
  await untilMessages(alice, roomId, ['before']);
  await ours.restart(CLOSED);
  await ours.ctx.partners.put(partner(theirs.serverName));
  await alice.send(roomId, 'for partners');
  await carol.send(roomId, 'of no partner');
  await untilMessages(bob, roomId, ['of no partner']);
  await bob.send(roomId, 'after it');
  // It comes with what a partner sends, who has it; its signature is checked by the key that is known of before.
  await untilMessages(alice, roomId, ['of no partner', 'after it']);
  await untilMessages(bob, roomId, ['for partners']);
  const ledger = async () =>
    (await detailLines(ours.ctx.db, others.serverName, Date.now()))?.join('\n') ?? '';
  await until(async () => (await ledger()).includes('not a partner'), 'that the ledger says why');
  assert.match(await ledger(), /partner add/);

  // Once it is a partner it gets what waited for it.
  await ours.ctx.partners.put(partner(others.serverName));
  await until(
    async () =>
      (await detailLines(ours.ctx.db, others.serverName, Date.now()))?.[0]?.includes('up to date') === true,
    'that it has all',
  );
  await untilMessages(carol, roomId, ['for partners']);
});

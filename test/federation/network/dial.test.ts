import assert from 'node:assert/strict';
import { once } from 'node:events';
import { type AddressInfo, createServer as createTcp, type Socket } from 'node:net';
import { test } from 'node:test';
import { createServer as createTls } from 'node:tls';
import { AddressGuard } from '#federation/network/address-guard.ts';
import { Dialer } from '#federation/network/dial.ts';
import { createAuthority } from '#test/harness/certificates.ts';

test('servers that accept a connection and say nothing do not keep others from their handshakes', async () => {
  const authority = await createAuthority();
  const certificate = await authority.issue(['localhost']);
  const held: Socket[] = [];
  const silent = createTcp((socket) => held.push(socket.on('error', () => undefined))).listen(0, '127.0.0.1');
  const healthy = createTls(certificate, (socket) => socket.on('error', () => undefined));
  healthy.listen(0, '127.0.0.1');
  await Promise.all([once(silent, 'listening'), once(healthy, 'listening')]);
  const dialer = new Dialer({ guard: new AddressGuard({ allowPrivate: true }), extraCa: authority.cert });
  const ending = new AbortController();
  const dial = (port: number) => {
    const endpoints = [{ host: '127.0.0.1', port }];
    return dialer.dial({ endpoints, tlsName: 'localhost', signal: ending.signal });
  };
  let ended = 0;
  const waiting = Array.from({ length: 150 }, () =>
    dial((silent.address() as AddressInfo).port).catch(() => {
      ended += 1;
    }),
  );
  // After those that are silent, which wait until their time is over.
  const socket = await dial((healthy.address() as AddressInfo).port);
  assert.equal(socket.authorized, true);
  assert.equal(ended, 0);
  ending.abort();
  await Promise.all(waiting);
  socket.destroy();
  for (const each of held) each.destroy();
  silent.close();
  healthy.close();
});

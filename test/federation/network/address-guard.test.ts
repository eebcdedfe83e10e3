import assert from 'node:assert/strict';
import { once } from 'node:events';
import { type AddressInfo, createServer, type LookupFunction } from 'node:net';
import { test } from 'node:test';
import { AddressDenied, AddressGuard } from '#federation/network/address-guard.ts';
import { Dialer } from '#federation/network/dial.ts';

const strict = new AddressGuard({ allowPrivate: false });

test('row 36: special addresses are denied, in every form', () => {
  const denied = [
    ...['0.0.0.0', '10.1.2.3', '100.64.0.1', '127.0.0.1', '127.255.255.254', '169.254.169.254', '172.16.0.1'],
    ...[
      '172.31.255.255',
      '192.0.0.1',
      '192.0.2.1',
      '192.88.99.1',
      '192.168.0.1',
      '198.18.0.1',
      '198.51.100.1',
    ],
    ...['203.0.113.1', '224.0.0.1', '239.1.1.1', '240.0.0.1', '255.255.255.255'],
    ...[
      '::',
      '::1',
      '0:0:0:0:0:0:0:1',
      '::ffff:127.0.0.1',
      '::ffff:7f00:1',
      '::ffff:10.0.0.1',
      'fe80::1',
      'fe80::1%eth0',
    ],
    ...[
      'fec0::1',
      'fc00::1',
      'fd12:3456::1',
      'ff02::1',
      '2001:db8::1',
      '2001::1',
      '2002:7f00:1::',
      '64:ff9b:1::1',
    ],
    ...['64:ff9b::127.0.0.1', '64:ff9b::7f00:1', '64:ff9b::', '64:ff9b::1', '64:ff9b::a00:0'],
    ...['', 'localhost', '2130706433', '0x7f.1', '127.1', '[::1]', '1.2.3', '999.1.1.1'],
  ];
  for (const address of denied) assert.equal(strict.allows(address), false, address);
});

test('public addresses are allowed, and those that NAT64 makes of them', () => {
  const allowed = [
    '8.8.8.8',
    '172.32.0.1',
    '100.128.0.1',
    '192.169.0.1',
    '2606:4700::1111',
    '64:ff9b::8.8.8.8',
    '::ffff:8.8.8.8',
  ];
  for (const address of allowed) assert.equal(strict.allows(address), true, address);
});

test('with private addresses permitted, only what is no address is denied', () => {
  const open = new AddressGuard({ allowPrivate: true });
  for (const address of ['127.0.0.1', '::1', '10.0.0.1', '8.8.8.8']) assert.equal(open.allows(address), true);
  assert.equal(open.allows('localhost'), false);
});

test('a lookup gives only the addresses that are allowed, and fails where none is', async () => {
  const guard = new AddressGuard({
    allowPrivate: false,
    lookup: (hostname, _, callback) => {
      const addresses = [{ address: '127.0.0.1', family: 4 }];
      if (hostname === 'mixed.test') addresses.push({ address: '8.8.8.8', family: 4 });
      callback(null, addresses);
    },
  });
  const look = (hostname: string) =>
    new Promise((resolve, reject) => {
      guard.lookup(hostname, { all: true }, (error, found) => (error ? reject(error) : resolve(found)));
    });
  assert.deepEqual(await look('mixed.test'), [{ address: '8.8.8.8', family: 4 }]);
  await assert.rejects(look('inside.test'), AddressDenied);
});

test('nothing connects to a denied address, by literal, odd spelling, name or a resolver that lies', async () => {
  let connections = 0;
  const server = createServer((socket) => {
    connections += 1;
    socket.destroy();
  }).listen(0, '127.0.0.1');
  await once(server, 'listening');
  const { port } = server.address() as AddressInfo;
  const dialer = new Dialer({ guard: strict });
  for (const host of ['127.0.0.1', '::ffff:127.0.0.1', 'localhost', '2130706433', '0x7f.1', '127.1', '0']) {
    await assert.rejects(dialer.dial({ endpoints: [{ host, port }], tlsName: host }), host);
  }
  assert.equal(connections, 0);
  server.close();
});

test('the address that was reached is checked before anything is written to it', async () => {
  const received: Buffer[] = [];
  const server = createServer((socket) => {
    socket.on('data', (chunk) => received.push(chunk)).on('error', () => undefined);
  }).listen(0, '127.0.0.1');
  await once(server, 'listening');
  const { port } = server.address() as AddressInfo;
  // A guard whose lookup passes what `allows` does not: as if the connection had gone elsewhere than looked up.
  const lookup: LookupFunction = (_, options, callback) => {
    if (options.all) callback(null, [{ address: '127.0.0.1', family: 4 }]);
    else callback(null, '127.0.0.1', 4);
  };
  const leaky = Object.defineProperty(new AddressGuard({ allowPrivate: false }), 'lookup', { value: lookup });
  await assert.rejects(
    new Dialer({ guard: leaky }).dial({ endpoints: [{ host: 'x.test', port }], tlsName: 'x.test' }),
    AddressDenied,
  );
  assert.equal(received.length, 0);
  server.close();
});

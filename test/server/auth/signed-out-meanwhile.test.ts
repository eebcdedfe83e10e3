import assert from 'node:assert/strict';
import { test } from 'node:test';
import type { UserId } from '#keys/ids.ts';
import { signOut } from '#server/auth/accounts.ts';
import { register, type TestClient } from '#test/harness/client.ts';
import { startServer } from '#test/harness/server.ts';

const MSC3814 = '/_matrix/client/unstable/org.matrix.msc3814.v1/dehydrated_device';

/** By the name of the write that each leads to. */
const requests: Readonly<Record<string, (client: TestClient) => Promise<{ status: number; body: unknown }>>> =
  {
    'pushers.set': (client) =>
      client.try('POST', '/pushers/set', {
        ...{ kind: 'http', app_id: 'app', pushkey: 'key', lang: 'en', append: true },
        ...{ app_display_name: 'App', device_display_name: 'Phone' },
        data: { url: 'https://push.example.org/_matrix/push/v1/notify' },
      }),
    'keys.upload': (client) => client.try('POST', '/keys/upload', { one_time_keys: { 'x:A': 'key' } }),
    'openid.add': (client) => client.try('POST', `/user/${client.userId}/openid/request_token`, {}),
    'dehydratedDevices.set': (client) => {
      const id = { user_id: client.userId, device_id: 'DEHYDRATED', algorithms: ['x'] };
      const keys = { keys: { 'ed25519:DEHYDRATED': 'key' }, signatures: {} };
      const device = {
        device_id: 'DEHYDRATED',
        device_data: { algorithm: 'x' },
        device_keys: { ...id, ...keys },
      };
      return client.try('PUT', MSC3814, device);
    },
  };

test('of a device that is signed out while it asks for something nothing remains', async () => {
  await using server = await startServer();
  const { ctx } = server;
  const { db } = ctx;
  const write: typeof db.write = db.write.bind(db);
  for (const [slow, ask] of Object.entries(requests)) {
    const client = await register(server);
    const before = await ask(await register(server));
    assert.equal(before.status, 200, `${slow}: ${JSON.stringify(before.body)}`);
    db.write = async (name, body) => {
      // It has been let in, and is not written yet.
      if (name === slow) await signOut(ctx, client.userId as UserId, [client.deviceId]);
      return write(name, body);
    };
    const { status, body } = await ask(client);
    db.write = write;
    assert.equal(status, 401, `${slow}: ${JSON.stringify(body)}`);
  }
});

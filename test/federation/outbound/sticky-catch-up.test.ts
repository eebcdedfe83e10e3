import assert from 'node:assert/strict';
import { test } from 'node:test';
import { sendLatest } from '#federation/outbound/catch-up.ts';
import { loadEvent } from '#rooms/load.ts';
import * as catchUp from '#storage/catch-up.ts';
import * as destinations from '#storage/destinations.ts';
import { register } from '#test/harness/client.ts';
import { startFleet } from '#test/harness/fleet.ts';
import { until } from '#test/harness/until.ts';

test('a server whose outbox was cut gets the sticky events beside the newest', async () => {
  await using fleet = await startFleet(2, { hasNetwork: true });
  const [home, away] = [fleet.at(0), fleet.at(1)];
  const [alice, bob] = [await register(home), await register(away)];
  const roomId = await alice.createRoom();
  await bob.join(roomId, [home.serverName]);
  await alice.send(roomId, 'known');
  await until(async () => (await destinations.of(home.ctx.db, away.serverName)) !== undefined);
  fleet.network.cut(home.serverName, away.serverName);
  const path = `/rooms/${encodeURIComponent(roomId)}/send/t/s?org.matrix.msc4354.sticky_duration_ms=60000`;
  const { event_id: stickyId } = await alice.put(path, {});
  await alice.send(roomId, 'missed');
  const newestId = await alice.send(roomId, 'newest');
  const { ctx } = home;
  const pending = async () =>
    (await destinations.pendingOf(ctx.db, away.serverName, 100)).map(({ eventNid }) => eventNid);
  const nidOf = async (eventId: string) => (await loadEvent(ctx, eventId as `$${string}`))?.nid ?? 0;
  const [sticky, newest] = [await nidOf(stickyId), await nidOf(newestId)];
  await until(async () => (await pending()).includes(newest));
  await ctx.db.write('test', async (tx) => {
    await destinations.setBehind(tx, away.serverName, 0);
    await catchUp.collapse(tx, away.serverName, { keep: 0, limit: 1_000 });
  });
  assert.deepEqual(await pending(), []);
  await sendLatest(ctx, away.serverName, async () => new Set([home.serverName, away.serverName]));
  assert.deepEqual(await pending(), [sticky, newest]);
});

/** Each shape of wrong event in each room version: what becomes of it by itself, and of the room after it. */

import assert from 'node:assert/strict';
import { test } from 'node:test';
import type { RoomsContext } from '#rooms/context.ts';
import { checkIngress, type Ingress } from '#rooms/ingress.ts';
import { receive } from '#rooms/receive.ts';
import type { Room } from '#rooms/room.ts';
import { SUPPORTED_VERSIONS } from '#rooms/versions.ts';
import { type RoomOptions, roomOf, type TestRoom } from '#test/harness/room-builder.ts';
import { importRoom, openRooms, receiveFrom } from '#test/harness/rooms.ts';
import { seed } from '#test/harness/rounds.ts';
import { CORPUS, shapesFor } from './poison/corpus.ts';
import { type Outcome, type Poison, poisonOf } from './poison/shape.ts';

const mallory = '@mallory:evil.test';
const alice = '@alice:here.test';

/** A room with so many events that one may cite 21. */
function groundOf(options: RoomOptions): TestRoom {
  const built = roomOf(mallory, { join_rule: 'public', members: [alice], ...options });
  for (let count = 0; count < 25; count++) built.message(mallory, `m${count}`);
  return built;
}

/** As others do: with the keys fetched that it needs. */
async function judged(ctx: RoomsContext, { text }: Poison, version: TestRoom['rules']): Promise<Ingress> {
  const first = await checkIngress(ctx, version, text);
  if (first.kind !== 'missing_keys') return first;
  await ctx.keyRing.ensure(first.keys);
  return checkIngress(ctx, version, text);
}

async function outcomeOf(
  ctx: RoomsContext,
  room: Room,
  poison: Poison,
): Promise<{ outcome: Outcome | 'soft_failed'; reason: string; ingress: Ingress }> {
  const ingress = await judged(ctx, poison, room.rules);
  if (ingress.kind !== 'verified') {
    const reason = ingress.kind === 'dropped' ? ingress.reason : 'keys are missing';
    return { outcome: 'dropped', reason, ingress };
  }
  const received = await receive(ctx, room, ingress.event, { as: 'live' });
  if (received.kind === 'missing') return { outcome: 'waiting', reason: '', ingress };
  const { reason = '' } = received;
  if (received.kind !== 'accepted') {
    return { outcome: received.kind === 'known' ? 'accepted' : received.kind, reason, ingress };
  }
  return { outcome: ingress.redacted ? 'redacted' : 'accepted', reason, ingress };
}

test('the corpus has more than 400 shapes, each of a name of its own', () => {
  assert.ok(CORPUS.length > 400, `${CORPUS.length}`);
  assert.equal(new Set(CORPUS.map(({ name }) => name)).size, CORPUS.length);
});

for (const version of SUPPORTED_VERSIONS) {
  test(`v${version}: every shape of wrong event is dropped, rejected, redacted or accepted as it should be`, async (t) => {
    await using server = await openRooms();
    const { ctx } = server;
    const built = groundOf({ version });
    const room = await importRoom(ctx, built);
    const shapes = shapesFor(built.rules);
    const wrong: string[] = [];
    for (const [number, shape] of shapes.entries()) {
      const poison = poisonOf(shape, { room: built, sender: mallory, number });
      assert.ok(poison, shape.name);
      const { outcome, reason, ingress } = await outcomeOf(ctx, room, poison);
      if (outcome !== poison.outcome)
        wrong.push(`${shape.name}: ${outcome} (${reason}), not ${poison.outcome}`);
      // The room goes on after it, as long as there is a depth left for that.
      if (outcome === 'accepted' && ingress.kind === 'verified' && ingress.event.depth < 1e6)
        built.add(ingress.event);
    }
    assert.deepEqual(wrong, []);
    assert.equal((await receiveFrom(ctx, room, built.message(mallory, 'in the end'))).kind, 'accepted');
    t.diagnostic(`seed ${seed}, ${shapes.length} shapes`);
  });
}

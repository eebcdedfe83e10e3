import assert from 'node:assert/strict';
import { after, test } from 'node:test';
import type { UserId } from '#keys/ids.ts';
import type { JsonObject } from '#keys/json.ts';
import { register, type TestClient } from '#test/harness/client.ts';
import { crossSigningOf, deviceKeysOf, devicesSeen, untilChanged } from '#test/harness/encryption.ts';
import { startFleet } from '#test/harness/fleet.ts';
import type { PeerAnswer, PeerRequest } from '#test/harness/peer.ts';
import { RoomPeer } from '#test/harness/room-peer.ts';
import { until } from '#test/harness/until.ts';

const fleet = await startFleet(1);
after(() => fleet[Symbol.asyncDispose]());
const here = fleet.at(0);

const STALE = { name: '', text: 'SELECT user_id FROM remote_device_lists WHERE user_id = ? AND stale = 1' };

/** A user of the peer, whose devices are as the test says, and whose server answers when the test wants it to. */
class PeerUser {
  readonly userId: UserId;
  readonly #peer: RoomPeer;
  readonly #devices = new Map<string, JsonObject>();
  #streamId = 0;
  #held: Promise<void> | undefined;

  constructor(peer: RoomPeer, localpart: string) {
    this.#peer = peer;
    this.userId = peer.user(localpart);
    peer.script = (request) => this.#answer(request);
  }

  /** The user has one more device; answers the EDU that says so. */
  addDevice(deviceId: string): JsonObject {
    const { userId } = this;
    const keys = deviceKeysOf({ userId, deviceId });
    this.#devices.set(deviceId, keys);
    this.#streamId += 1;
    const prevIds = this.#streamId === 1 ? [] : [this.#streamId - 1];
    const content = {
      ...{ user_id: userId, device_id: deviceId, keys },
      ...{ stream_id: this.#streamId, prev_id: prevIds },
    };
    return { edu_type: 'm.device_list_update', content };
  }

  tell(...edus: JsonObject[]): Promise<unknown> {
    return this.#peer.send(here, [], { edus });
  }

  /** Answers that are made from now on go out once what it returns is called. */
  hold(): () => void {
    const held = Promise.withResolvers<void>();
    this.#held = held.promise;
    return () => {
      this.answerAtOnce();
      held.resolve();
    };
  }

  /** Those that are held stay so. */
  answerAtOnce(): void {
    this.#held = undefined;
  }

  async #answer({ url }: PeerRequest): Promise<PeerAnswer | undefined> {
    const { userId } = this;
    const answer = url.includes('/user/keys/query')
      ? { device_keys: { [userId]: Object.fromEntries(this.#devices) } }
      : url.includes('/user/devices/')
        ? {
            ...{ user_id: userId, stream_id: this.#streamId },
            devices: [...this.#devices].map(([deviceId, keys]) => ({ device_id: deviceId, keys })),
          }
        : undefined;
    if (answer === undefined) return undefined;
    await this.#held;
    return { json: answer };
  }
}

/** Alice here is in a room of the peer's, which a user of the peer has just come into; alice has been told of that. */
async function joined(peer: RoomPeer): Promise<{ alice: TestClient; bob: PeerUser; since: string }> {
  peer.makeRoom();
  const bob = new PeerUser(peer, 'bob');
  const alice = await register(here);
  await alice.join(peer.room.roomId, [peer.name]);
  const { next_batch: before } = await alice.sync();
  await peer.send(here, [peer.room.join(bob.userId)]);
  return { alice, bob, since: await untilChanged(alice, bob.userId, before) };
}

/** Alice asks for bob's devices, and before the answer comes bob's server says what it has to say of his join. */
async function overtaken(peer: RoomPeer): Promise<{ alice: TestClient; bob: PeerUser; since: string }> {
  const { alice, bob } = await joined(peer);
  const ofJoin = bob.addDevice('PHONE');
  const release = bob.hold();
  const seen = devicesSeen(alice, bob.userId);
  await until(() => peer.asked('/user/keys/query').length === 1, 'the question');
  await bob.tell(ofJoin);
  release();
  assert.deepEqual(await seen, ['PHONE']);
  return { alice, bob, since: (await alice.sync()).next_batch };
}

test('who was told devices after a join is told the next update, also where the answer was overtaken by that of the join', async () => {
  await using peer = await new RoomPeer(fleet.authority).start();
  const { alice, bob, since } = await overtaken(peer);
  await bob.tell(bob.addDevice('TABLET'));
  await untilChanged(alice, bob.userId, since);
  assert.deepEqual(await devicesSeen(alice, bob.userId), ['PHONE', 'TABLET']);
});

test('the same of cross-signing keys', async () => {
  await using peer = await new RoomPeer(fleet.authority).start();
  const { alice, bob, since } = await overtaken(peer);
  const { user_signing_key: _, ...keys } = crossSigningOf(bob.userId).body;
  await bob.tell({ edu_type: 'm.signing_key_update', content: { user_id: bob.userId, ...keys } });
  await untilChanged(alice, bob.userId, since);
});

test('a list whose answer was overtaken is asked for again, and then followed', async () => {
  await using peer = await new RoomPeer(fleet.authority).start();
  const { alice, bob, since } = await overtaken(peer);
  await until(() => peer.asked('/user/devices/').length === 1, 'that it is asked for again');
  await until(async () => (await here.ctx.db.get(STALE, bob.userId)) === undefined, 'the answer');
  await bob.tell(bob.addDevice('TABLET'));
  await untilChanged(alice, bob.userId, since);
  assert.deepEqual(await devicesSeen(alice, bob.userId), ['PHONE', 'TABLET']);
  assert.equal(peer.asked('/user/').length, 2, 'nobody was asked for that');
});

test('an answer that was overtaken does not take the place of a newer one', async () => {
  await using peer = await new RoomPeer(fleet.authority).start();
  const { alice, bob } = await joined(peer);
  const ofJoin = bob.addDevice('PHONE');
  const release = bob.hold();
  const older = devicesSeen(alice, bob.userId);
  await until(() => peer.asked('/user/keys/query').length === 1, 'the question');
  const update = bob.addDevice('TABLET');
  await bob.tell(ofJoin, update);
  bob.answerAtOnce();
  assert.deepEqual(await devicesSeen(alice, bob.userId), ['PHONE', 'TABLET']);
  release();
  assert.deepEqual(await older, ['PHONE']);
  assert.deepEqual(await devicesSeen(alice, bob.userId), ['PHONE', 'TABLET']);
  assert.equal(peer.asked('/user/').length, 2, 'it is known');
});

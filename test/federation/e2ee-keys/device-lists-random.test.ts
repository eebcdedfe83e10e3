/**
 * Nothing is missed: whatever happens to users, rooms and servers, a client that asks for keys when /sync tells it to
 * knows in the end what is true.
 */

import assert from 'node:assert/strict';
import { after, test } from 'node:test';
import { encodeCanonical } from '#keys/canonical-json.ts';
import { login, register, type TestClient } from '#test/harness/client.ts';
import { inRoom, untilMember } from '#test/harness/conversation.ts';
import { queryKeys, uploadDeviceKeys } from '#test/harness/encryption.ts';
import { startFleet } from '#test/harness/fleet.ts';
import { isLongRun } from '#test/harness/long-run.ts';
import { casesOf, seed } from '#test/harness/rounds.ts';
import { until } from '#test/harness/until.ts';
import { Dice } from '#test/oracles/dice.ts';

const fleet = await startFleet(2);
after(() => fleet[Symbol.asyncDispose]());
const [here, there] = [fleet.at(0), fleet.at(1)];

/** A client as the specification wants it: it asks only for what is outdated, and asks again where that failed. */
class Follower {
  readonly client: TestClient;
  readonly #isTold: boolean;
  readonly #known = new Map<string, string>();
  readonly #outdated = new Set<string>();
  #since: string | undefined;

  /** One that is not `told` begins with an initial sync each time, and asks what has changed by `/keys/changes`. */
  constructor(client: TestClient, users: readonly string[], { isTold }: { readonly isTold: boolean }) {
    this.client = client;
    this.#isTold = isTold;
    for (const userId of users) this.#outdated.add(userId);
  }

  async step(): Promise<void> {
    for (const userId of await this.#changed()) this.#outdated.add(userId);
    const wanted = [...this.#outdated];
    if (wanted.length === 0) return;
    const { device_keys: devices, failures } = await queryKeys(this.client, wanted);
    for (const userId of wanted) {
      if (failures[userId.slice(userId.indexOf(':') + 1)] !== undefined) continue;
      this.#known.set(userId, encodeCanonical(devices[userId] ?? {}));
      this.#outdated.delete(userId);
    }
  }

  async #changed(): Promise<readonly string[]> {
    const since = this.#since;
    const isTold = this.#isTold && since !== undefined;
    const answer = await this.client.sync(isTold ? { since } : {});
    this.#since = answer.next_batch;
    if (isTold || since === undefined) return answer.device_lists?.changed ?? [];
    const query = new URLSearchParams({ from: since, to: answer.next_batch });
    return (await this.client.get(`/keys/changes?${query}`)).changed;
  }

  knows(userId: string): string {
    return this.#known.get(userId) ?? '{}';
  }
}

/** A user of the server there, and what may become of the user. */
class Followed {
  readonly first: TestClient;
  readonly #roomId: string;
  readonly #others: TestClient[] = [];
  isJoined = true;

  constructor(first: TestClient, roomId: string) {
    this.first = first;
    this.#roomId = roomId;
  }

  async act(dice: Dice): Promise<void> {
    switch (dice.below(6)) {
      case 0:
      case 1: {
        const device = await login(there, this.first.userId, this.first.password);
        await uploadDeviceKeys(device);
        this.#others.push(device);
        return;
      }
      case 2:
        await uploadDeviceKeys(dice.pick(this.#others) ?? this.first);
        return;
      case 3:
        await this.#others.pop()?.post('/logout');
        return;
      case 4:
        if (this.isJoined) await this.first.post(`${inRoom(this.#roomId)}/leave`);
        this.isJoined = false;
        return;
      default:
        await this.join();
    }
  }

  /** Of no effect while the server of the room is away. */
  async join(): Promise<void> {
    if (this.isJoined) return;
    const path = `/join/${encodeURIComponent(this.#roomId)}?via=${here.serverName}`;
    this.isJoined = (await this.first.try('POST', path, {})).status === 200;
  }

  /** What is true. */
  async devices(): Promise<string> {
    const { device_keys: devices } = await queryKeys(this.first, [this.first.userId]);
    return encodeCanonical(devices[this.first.userId]);
  }
}

const ACTS = isLongRun ? 60 : 20;
/** A server that was away several times is left alone for longer each time. */
const AFTER_OUTAGES = { longestMs: 120_000 };
const LOSE = { name: '', text: 'DELETE FROM edu_outbox WHERE in_flight = 0' };

test('a client that follows /sync, or /keys/changes, knows every device in the end, through leaves, encryption, outages, restarts and losses', async (t) => {
  for (let round = 0; round < casesOf({ usual: 1, inLongRun: 2 }); round++) {
    const dice = new Dice(`${seed} ${round}`);
    const alice = await register(here);
    const roomId = await alice.createRoom();
    const users: Followed[] = [];
    for (let count = 0; count < 2; count++) {
      const user = new Followed(await register(there), roomId);
      await user.first.join(roomId, [here.serverName]);
      await untilMember(alice, roomId, user.first.userId, 'join');
      users.push(user);
    }
    const followers = [true, false].map(
      (isTold) =>
        new Follower(
          alice,
          users.map(({ first }) => first.userId),
          { isTold },
        ),
    );
    for (let act = 0; act < ACTS; act++) {
      await happen(dice, { alice, roomId, users, followers });
    }
    for (const user of users) await user.join();
    for (const { first, isJoined } of users) {
      assert.ok(isJoined);
      await untilMember(alice, roomId, first.userId, 'join', AFTER_OUTAGES);
    }
    const isTrue = async () => {
      for (const follower of followers) {
        await follower.step();
        for (const user of users)
          if (follower.knows(user.first.userId) !== (await user.devices())) return false;
      }
      return true;
    };
    await until(isTrue, `that all is known (seed ${seed}, round ${round})`, AFTER_OUTAGES);
  }
  t.diagnostic(`seed ${seed}`);
});

interface World {
  readonly alice: TestClient;
  readonly roomId: string;
  readonly users: readonly Followed[];
  readonly followers: readonly Follower[];
}

/** Something happens to a user, or to a server; the client goes on in between. */
async function happen(dice: Dice, { alice, roomId, users, followers }: World): Promise<void> {
  const user = dice.pick(users) ?? assert.fail();
  switch (dice.below(13)) {
    case 0:
      await here.restart();
      return;
    case 1:
      await there.restart();
      return;
    case 2:
      // The server here is away for some time.
      await here.stop();
      for (let count = dice.below(4); count >= 0; count--) {
        // Only what needs no other server: a leave that cannot be sent is sent later.
        await uploadDeviceKeys(await loginOf(user));
      }
      await here.start();
      return;
    case 3:
      // Updates are lost. Of each user another one comes.
      await there.ctx.db.write('test', (tx) => tx.run(LOSE));
      for (const each of users) await uploadDeviceKeys(await loginOf(each));
      return;
    case 4:
    case 5:
    case 6:
      await dice.pick(followers)?.step();
      return;
    case 7:
      await alice.put(`${inRoom(roomId)}/state/m.room.encryption`, { algorithm: 'm.megolm.v1.aes-sha2' });
      return;
    default:
      await user.act(dice);
  }
}

function loginOf({ first }: Followed): Promise<TestClient> {
  return login(there, first.userId, first.password);
}

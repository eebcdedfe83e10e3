/** matrix-js-sdk with its encryption: users of two Kurirs and a Synapse in one encrypted room. */

import assert from 'node:assert/strict';
import { after, test } from 'node:test';
import { Preset } from 'matrix-js-sdk';
import { register, type Target } from '#test/harness/client.ts';
import { until } from '#test/harness/until.ts';
import { type SdkUser, signIn } from './js-sdk-client.ts';
import {
  cryptoOf,
  hasSecrets,
  isVerified,
  RecoveryKey,
  recover,
  setUpEncryption,
  verifyByEmoji,
} from './js-sdk-secrets.ts';
import { startNeighbours } from './synapse-neighbours.ts';
import { registerAtSynapse } from './synapse-user.ts';

const resources = new AsyncDisposableStack();
after(() => resources.disposeAsync());
const { fleet, synapse } = resources.use(await startNeighbours({ kurirs: 2 }));

/** A person: an account, the recovery key, and the clients at which they are signed in. */
class Person {
  readonly #server: Target;
  readonly name: string;
  readonly recovery = new RecoveryKey();
  readonly devices: SdkUser[] = [];

  constructor(server: Target, name: string) {
    this.#server = server;
    this.name = name;
  }

  get first(): SdkUser {
    const [first] = this.devices;
    assert.ok(first);
    return first;
  }

  async signIn(): Promise<SdkUser> {
    const device = await signIn({
      ...{ server: this.#server, name: this.name, encrypts: true, recovery: this.recovery },
    });
    this.devices.push(resources.use(device));
    return device;
  }

  async signOut(device: SdkUser): Promise<void> {
    this.devices.splice(this.devices.indexOf(device), 1);
    await device.client.logout(true);
  }
}

const alice = new Person(fleet.at(0), 'agnes');
const bob = new Person(fleet.at(1), 'birger');
const carol = new Person(synapse, 'cecilia');
const people = [alice, bob, carol];
await register(fleet.at(0), alice.name);
await register(fleet.at(1), bob.name);
await registerAtSynapse(synapse, carol.name);
const said: string[] = [];
let roomId = '';

test('each sets up cross-signing, secret storage and a backup of the room keys', async () => {
  for (const person of people) await setUpEncryption(await person.signIn(), person.recovery);
});

test('two devices of a user verify each other by emoji, and the new one gets the secrets', async () => {
  for (const person of people) {
    const second = await person.signIn();
    assert.equal(await isVerified(person.first, second), false);
    await verifyByEmoji(second, person.first);
    await until(() => hasSecrets(second), 'that the new device has the secrets');
  }
});

test('an encrypted room over federation: 200 messages, each read on every device, with sign-ins, sign-outs and restarts in between', async () => {
  const { room_id: id } = await alice.first.client.createRoom({
    preset: Preset.PrivateChat,
    initial_state: [
      { type: 'm.room.encryption', state_key: '', content: { algorithm: 'm.megolm.v1.aes-sha2' } },
    ],
  });
  roomId = id;
  for (const guest of [bob, carol]) {
    await alice.first.client.invite(roomId, guest.first.userId);
    await guest.first.untilMembership(roomId, 'invite');
    await guest.first.client.joinRoom(roomId);
    for (const { devices } of people.slice(0, people.indexOf(guest) + 1)) {
      for (const device of devices) await device.untilMembership(roomId, 'join', guest.first.userId);
    }
  }
  const between = new Map<number, () => Promise<void>>([
    [30, () => comeAndVerify(bob)],
    [50, () => fleet.at(0).restart()],
    [70, () => comeAndVerify(alice)],
    [90, () => leave(bob)],
    [110, () => fleet.at(1).restart()],
    [130, () => comeAndVerify(carol)],
    [150, () => restartSynapse()],
    [170, () => leave(alice)],
    [190, () => leave(carol)],
  ]);
  for (let count = 0; count < 200; count++) {
    await between.get(count)?.();
    const speaker = people[count % people.length] ?? alice;
    const device = speaker.devices[count % speaker.devices.length] ?? speaker.first;
    const body = `message ${count} of ${speaker.name}`;
    await device.say(roomId, body);
    said.push(body);
    await Promise.all(people.flatMap(({ devices }) => devices.map((each) => each.untilSees(roomId, body))));
  }
  for (const device of people.flatMap(({ devices }) => devices)) assert.deepEqual(unreadable(device), []);
});

test('a third device that signs in later reads all of it from the backup', async () => {
  for (const person of people) {
    const sessions = (await cryptoOf(person.first).exportRoomKeys()).length;
    const third = await person.signIn();
    assert.ok(readBy(third).length < said.length, 'it cannot have read them yet');
    // The backup is written behind the conversation.
    await until(async () => (await recover(third)).total >= sessions, 'that the backup is whole');
    const room = third.room(roomId);
    while (room.oldState.paginationToken !== null) {
      // Page by page, as one scrolls.
      await third.client.scrollback(room, 100);
    }
    await until(() => unreadable(third).length === 0, `that ${person.name} reads everything`);
    assert.deepEqual(readBy(third), said);
    assert.ok(await isVerified(person.first, third));
  }
});

/** The messages of the conversation, as a device shows them. */
function readBy(device: SdkUser): string[] {
  return device.messages(roomId).filter((body) => body?.startsWith('message '));
}

/** What a device shows as "unable to decrypt". */
function unreadable(device: SdkUser): (string | undefined)[] {
  const events = device.room(roomId).getLiveTimeline().getEvents();
  return events.filter((event) => event.isDecryptionFailure()).map((event) => event.getId());
}

async function comeAndVerify(person: Person): Promise<void> {
  const device = await person.signIn();
  await verifyByEmoji(device, person.first);
  await device.untilMembership(roomId, 'join');
}

async function leave(person: Person): Promise<void> {
  const device = person.devices.at(-1);
  assert.ok(device && device !== person.first);
  await person.signOut(device);
}

async function restartSynapse(): Promise<void> {
  await synapse.stop();
  await synapse.start();
}

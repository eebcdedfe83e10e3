/** A policy server that the test writes by hand: a `RoomPeer` that signs what `judge` lets pass. */

import { generateSeed, keyPairFromSeed } from '#keys/ed25519.ts';
import type { JsonObject } from '#keys/json.ts';
import { type Event, eventFrom } from '#rooms/event.ts';
import { referencedText } from '#rooms/hashes.ts';
import { register, type TestClient } from './client.ts';
import type { Fleet } from './fleet.ts';
import type { PeerAnswer } from './peer.ts';
import type { TestRoom } from './room-builder.ts';
import { RoomPeer } from './room-peer.ts';

const SIGN = '/_matrix/policy/v1/sign';

export class PolicyPeer extends RoomPeer {
  keyPair = keyPairFromSeed('policy_server', generateSeed());
  /** Undefined signs; what is in the room comes here too, in the order in which it is asked for. */
  judge: (event: Event) => PeerAnswer | undefined | Promise<PeerAnswer | undefined> = () => undefined;
  readonly judged: Event[] = [];

  /** A room that uses the peer as its policy server, and one of a peer's user `mallory`. */
  makePolicyRoom(): TestRoom {
    const room = this.makeRoom();
    room.state(this.user('mallory'), 'm.room.policy', '', this.policy);
    this.script = (request) => (request.url === SIGN ? this.#sign(request.body) : undefined);
    return room;
  }

  get policy(): JsonObject {
    return { via: this.name, public_keys: { ed25519: this.keyPair.publicKey } };
  }

  signatureOf({ pdu, rules }: Event): string {
    return this.keyPair.sign(referencedText(pdu, rules));
  }

  /** The event with the peer's signature as a policy server. */
  signed(event: Event): Event {
    const signatures = event.pdu.signatures as JsonObject;
    const ofPeer = {
      ...(signatures[this.name] as JsonObject),
      'ed25519:policy_server': this.signatureOf(event),
    };
    return eventFrom({ ...event.pdu, signatures: { ...signatures, [this.name]: ofPeer } }, event.rules);
  }

  async #sign(body: string): Promise<PeerAnswer> {
    const event = eventFrom(JSON.parse(body), this.room.rules);
    this.judged.push(event);
    const verdict = await this.judge(event);
    return verdict ?? { json: { [this.name]: { 'ed25519:policy_server': this.signatureOf(event) } } };
  }
}

export interface PolicyRoom extends AsyncDisposable {
  readonly peer: PolicyPeer;
  readonly alice: TestClient;
  readonly roomId: string;
}

/** A room of a policy server, with alice of the first server of a fleet in it. */
export async function enterPolicyRoom(fleet: Fleet): Promise<PolicyRoom> {
  const peer = await new PolicyPeer(fleet.authority).start();
  const { roomId } = peer.makePolicyRoom();
  const alice = await register(fleet.at(0));
  await alice.join(roomId, [peer.name]);
  peer.judged.length = 0;
  return { peer, alice, roomId, [Symbol.asyncDispose]: () => peer[Symbol.asyncDispose]() };
}

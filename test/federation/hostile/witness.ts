/** What must hold whatever another server does: ours lives, its users send and sync, the log stays short. */

import assert from 'node:assert/strict';
import { register, type TestClient } from '#test/harness/client.ts';
import { type Fleet, startFleet } from '#test/harness/fleet.ts';
import { HostileServer } from '#test/harness/hostile-server.ts';
import { isWarning } from '#test/harness/log-lines.ts';
import type { RoomOptions } from '#test/harness/room-builder.ts';
import type { TestServer, TestServerOptions } from '#test/harness/server.ts';

/** Lines of warnings and errors for all that a test file does to the server. */
const MOST_LINES = 100;

export class Witness {
  readonly fleet: Fleet;
  readonly alice: TestClient;
  readonly #roomId: string;
  /** Warnings and errors. */
  readonly lines: string[];
  #count = 0;

  constructor(
    fleet: Fleet,
    { alice, roomId, lines }: { alice: TestClient; roomId: string; lines: string[] },
  ) {
    this.fleet = fleet;
    this.alice = alice;
    this.#roomId = roomId;
    this.lines = lines;
  }

  get server(): TestServer {
    return this.fleet.at(0);
  }

  /** A hostile server, without a room. */
  peer(): Promise<HostileServer> {
    return new HostileServer(this.fleet.authority).start();
  }

  /** A hostile server with a public room. */
  async peerWithRoom(options: RoomOptions = {}): Promise<HostileServer> {
    const peer = await this.peer();
    peer.makeRoom(options);
    return peer;
  }

  /** A hostile server with a room that alice has joined. */
  async peerWithGuest(options: RoomOptions = {}): Promise<HostileServer> {
    const peer = await this.peerWithRoom(options);
    await this.alice.join(peer.room.roomId, [peer.name]);
    return peer;
  }

  /** A local user sends and syncs, nothing failed by a fault of ours, and the log is short. */
  async check(): Promise<void> {
    this.#count += 1;
    const sent = await this.alice.send(this.#roomId, `still here ${this.#count}`);
    const { rooms } = await this.alice.sync();
    const { events } = rooms.join[this.#roomId].timeline;
    assert.ok(events.some((event: { event_id: string }) => event.event_id === sent));
    const faults = this.lines.filter((line) => /"level":"error"/.test(line));
    assert.deepEqual(faults, []);
    assert.ok(this.lines.length <= MOST_LINES, this.lines.slice(-5).join('\n'));
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.fleet[Symbol.asyncDispose]();
  }
}

/** A server of ours with a user, `alice`, who has a room of her own. */
export async function startWitness(options: TestServerOptions = {}): Promise<Witness> {
  const lines: string[] = [];
  const logTo = (line: string) => {
    if (isWarning(line)) lines.push(line);
  };
  const fleet = await startFleet(1, { logTo, ...options });
  const alice = await register(fleet.at(0), 'alice');
  const roomId = await alice.createRoom();
  return new Witness(fleet, { alice, roomId, lines });
}

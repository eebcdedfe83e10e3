/** A Synapse and Kurirs that federate, with a user on the first of them and one on Synapse. */

import { register, type TestClient } from '#test/harness/client.ts';
import { temporaryFolder } from '#test/harness/databases.ts';
import { type Fleet, type FleetOptions, startFleet } from '#test/harness/fleet.ts';
import type { TestServer } from '#test/harness/server.ts';
import { Synapse } from './synapse.ts';
import { registerAtSynapse } from './synapse-user.ts';

/** Who makes a room, and who comes from the other side. */
export interface HostAndGuest {
  readonly home: 'Kurir' | 'Synapse';
  readonly host: TestClient;
  readonly guest: TestClient;
}

export interface Neighbours extends AsyncDisposable {
  readonly fleet: Fleet;
  readonly kurir: TestServer;
  readonly synapse: Synapse;
  /** On Kurir. */
  readonly alice: TestClient;
  /** On Synapse. */
  readonly bob: TestClient;
  /** Both ways round. */
  readonly pairs: readonly HostAndGuest[];
}

/** Starts them; `await using` stops them. */
export async function startNeighbours(
  options: FleetOptions & { readonly kurirs?: number } = {},
): Promise<Neighbours> {
  const { kurirs = 1, ...fleetOptions } = options;
  await using stack = new AsyncDisposableStack();
  const fleet = stack.use(await startFleet(kurirs, fleetOptions));
  const folder = stack.use(await temporaryFolder());
  const { authority } = fleet;
  const network = fleetOptions.hasNetwork === true ? { network: fleet.network } : {};
  const synapse = stack.use(await Synapse.create({ folder: folder.path, authority, ...network }));
  const kurir = fleet.at(0);
  const alice = await register(kurir, 'alice');
  const bob = await registerAtSynapse(synapse, 'bob');
  const resources = stack.move();
  return {
    ...{ fleet, kurir, synapse, alice, bob },
    pairs: [
      { home: 'Kurir', host: alice, guest: bob },
      { home: 'Synapse', host: bob, guest: alice },
    ],
    [Symbol.asyncDispose]: () => resources.disposeAsync(),
  };
}

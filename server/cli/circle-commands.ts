import type { JsonObject } from '#keys/json.ts';
import { RoomCache } from '#rooms/room-cache.ts';
import type { Config } from '../config-options.ts';
import { carryOut } from './carry-out.ts';
import { performOnCircles } from './circle-operations.ts';
import type { Outcome } from './operations.ts';

/** All circles, with their servers. */
export function listCircles(config: Config): Promise<Outcome> {
  return operate(config, { operation: 'circle.list' });
}

/** Makes a circle of servers, adds servers to one, or takes some out. */
export function changeCircle(
  config: Config,
  what: 'create' | 'add' | 'remove',
  circle: { readonly name: string; readonly servers: readonly string[] },
): Promise<Outcome> {
  return operate(config, { operation: `circle.${what}`, ...circle });
}

/** Binds a room to a circle; without a name it is let go. */
export function bindRoom(config: Config, room: string, name: string | undefined): Promise<Outcome> {
  return operate(config, { operation: 'room.circle', room, ...(name !== undefined && { name }) });
}

/** By the running server where there is one, else on its database. */
function operate(config: Config, operation: JsonObject): Promise<Outcome> {
  return carryOut(config, operation, (opened) =>
    performOnCircles({ ...opened, rooms: new RoomCache() }, operation),
  );
}

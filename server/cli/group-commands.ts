import type { JsonObject } from '#keys/json.ts';
import { RoomCache } from '#rooms/room-cache.ts';
import type { Config } from '../config-options.ts';
import { carryOut } from './carry-out.ts';
import { performOnGroups } from './group-operations.ts';
import type { Outcome } from './operations.ts';
import { UsageError } from './usage.ts';

export interface BindFlags {
  readonly power: string | undefined;
  readonly children: boolean;
}

/** The groups of the directory, with the rooms that they are bound to. */
export function listGroups(config: Config): Promise<Outcome> {
  return operate(config, { operation: 'group.list' });
}

/** Binds a group to a room: its members come into the room. */
export function bindGroup(
  config: Config,
  names: { readonly group: string; readonly room: string },
  { power, children }: BindFlags,
): Promise<Outcome> {
  if (power !== undefined && !/^\d{1,3}$/.test(power))
    throw new UsageError(`--power ${power} is no number: see --help`);
  return operate(config, {
    ...{ operation: 'group.bind', ...names, children },
    ...(power !== undefined && { power: Number(power) }),
  });
}

/** Lets a room go. */
export function unbindGroup(
  config: Config,
  names: { readonly group: string; readonly room: string },
): Promise<Outcome> {
  return operate(config, { operation: 'group.unbind', ...names });
}

/** What is left to do, and what cannot be done. */
export function groupStatus(config: Config): Promise<Outcome> {
  return operate(config, { operation: 'group.status' });
}

/** By the running server where there is one, else on its database. */
function operate(config: Config, operation: JsonObject): Promise<Outcome> {
  return carryOut(config, operation, (opened) =>
    performOnGroups({ ...opened, rooms: new RoomCache() }, operation),
  );
}

import { unsupportedRoomVersion } from '#federation/errors.ts';
import { UNSTABLE_VERSIONS } from '#rooms/versions.ts';
import type { ServerContext } from '../context.ts';

/** Throws for a version that is a proposal, where the operator does not permit new rooms of those. */
export function refuseUnstable({ config }: Pick<ServerContext, 'config'>, version: string | undefined): void {
  if (version === undefined || config.unstableRoomVersions || !UNSTABLE_VERSIONS.includes(version)) return;
  throw unsupportedRoomVersion(version);
}

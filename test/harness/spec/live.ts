/** The servers of ours that run in this process: whose events and requests have to be as the specification says. */

import type { RoomId } from '#keys/ids.ts';
import { serverNameOf } from '#keys/ids.ts';
import type { ServerContext } from '#server/context.ts';
import * as rooms from '#storage/rooms.ts';

const running = new Map<string, ServerContext>();
const versions = new Map<string, string>();

export function serverRuns(ctx: ServerContext): void {
  running.set(ctx.serverName, ctx);
}

/** True for the id of a user, or the name of a server, of ours; also of one that ran before. */
export function isOurs(userIdOrServerName: unknown): boolean {
  if (typeof userIdOrServerName !== 'string') return false;
  const name = userIdOrServerName.startsWith('@') ? serverNameOf(userIdOrServerName) : userIdOrServerName;
  return name !== undefined && running.has(name);
}

/** True for the token by which a server of ours is known to an application service. */
export function isOurHsToken(token: string | undefined): boolean {
  if (token === undefined) return false;
  const services = [...running.values()].flatMap(({ appservices }) => appservices.all());
  return services.some(({ registration }) => registration.hsToken === token);
}

/** The version of a room that one of the servers knows. */
export async function versionOf(roomId: string): Promise<string | undefined> {
  const known = versions.get(roomId);
  if (known !== undefined) return known;
  for (const { db } of running.values()) {
    // One that has stopped meanwhile knows nothing more.
    const room = await rooms.byId(db, roomId as RoomId).catch(() => undefined);
    if (room !== undefined) {
      versions.set(roomId, room.version);
      return room.version;
    }
  }
  return undefined;
}

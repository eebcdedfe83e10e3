import { type RoomAlias, type RoomId, type ServerName, serverNameOf } from '#keys/ids.ts';
import { getRoom, isInRoom, joinedServers } from '#rooms/room.ts';
import * as aliases from '#storage/aliases.ts';
import type { FederationContext } from './context.ts';
import { queryDirectory } from './remote/queries.ts';

/** A room, and servers that are likely to be in it. */
export interface ResolvedAlias {
  readonly roomId: RoomId;
  readonly servers: readonly ServerName[];
}

type DirectoryContext = Omit<FederationContext, 'sender' | 'inbound'>;

/** "Homeservers should only query room aliases that belong to the target server." */
export async function resolveAlias(
  ctx: DirectoryContext,
  alias: RoomAlias,
): Promise<ResolvedAlias | undefined> {
  const server = serverNameOf(alias);
  if (server === undefined) return undefined;
  if (server === ctx.serverName) return resolveLocalAlias(ctx, alias);
  const answer = await queryDirectory(ctx, server, alias);
  if (answer.kind === 'failed') return undefined;
  const { roomId, servers } = answer.value;
  return { roomId, servers: [...new Set([server, ...servers])] };
}

/** The room of an alias of ours; ourselves first among the servers in it. */
export async function resolveLocalAlias(
  ctx: DirectoryContext,
  alias: RoomAlias,
): Promise<ResolvedAlias | undefined> {
  let row = await aliases.get(ctx.db, alias);
  if (row === undefined && (await ctx.bridged?.alias(alias)) === true) row = await aliases.get(ctx.db, alias);
  if (row === undefined) return undefined;
  const room = await getRoom(ctx, row.roomId);
  const inRoom = room === undefined ? [] : await joinedServers(ctx, room.roomNid);
  const isOurs = room !== undefined && (await isInRoom(ctx, room));
  const servers = new Set(isOurs ? [ctx.serverName, ...inRoom] : inRoom);
  return { roomId: row.roomId, servers: [...servers].slice(0, MOST_SERVERS) };
}

const MOST_SERVERS = 500;

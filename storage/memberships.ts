import type { RoomId, ServerName, UserId } from '#keys/ids.ts';
import type { Reader, Tx } from './database.ts';
import { anyOf, sql } from './sql.ts';

export type Membership = 'join' | 'invite' | 'leave' | 'ban' | 'knock';

/** A user's membership of a room: by its current state, or by an invitation from outside. */
export interface MembershipRow {
  readonly roomNid: number;
  readonly roomId: RoomId;
  readonly userId: UserId;
  readonly membership: Membership;
  readonly eventNid: number;
  /** The position at which it came to be so. */
  readonly position: number;
  readonly serverName: ServerName;
  readonly displayName: string | null;
  readonly avatarUrl: string | null;
  readonly forgotten: boolean;
  /** Of one who is joined: since which position without a break. */
  readonly joinedPosition: number;
}

/** A membership to write. */
export type NewMembership = Omit<MembershipRow, 'roomId' | 'forgotten' | 'joinedPosition'>;

interface Row {
  room_nid: number;
  room_id: RoomId;
  user_id: UserId;
  membership: Membership;
  event_nid: number;
  position: number;
  server_name: ServerName;
  display_name: string | null;
  avatar_url: string | null;
  forgotten: number;
  joined_position: number;
}

const COLUMNS = `m.room_nid, r.room_id, m.user_id, m.membership, m.event_nid, m.position, m.server_name,
  m.display_name, m.avatar_url, m.forgotten, m.joined_position`;
const SELECT = `SELECT ${COLUMNS} FROM memberships m JOIN rooms r ON r.room_nid = m.room_nid`;

const OF = sql<[number, string], Row>('memberships.of', `${SELECT} WHERE m.room_nid = ? AND m.user_id = ?`);
const JOINED_POSITION = sql<[number, string], { joined_position: number }>(
  'memberships.joinedPosition',
  `SELECT joined_position FROM memberships WHERE room_nid = ? AND user_id = ? AND membership = 'join'`,
);
const JOINED_ROOMS = sql<[string], { room_nid: number; room_id: RoomId; joined_position: number }>(
  'memberships.joinedRooms',
  `SELECT m.room_nid, r.room_id, m.joined_position FROM memberships m JOIN rooms r ON r.room_nid = m.room_nid
   WHERE m.user_id = ? AND m.membership = 'join' ORDER BY m.room_nid`,
);
const OF_USER = sql<[string], Row>(
  'memberships.ofUser',
  `${SELECT} WHERE m.user_id = ? ORDER BY m.position, m.room_nid`,
);
const OF_USER_SINCE = sql<[string, number, number], Row>(
  'memberships.ofUserSince',
  `${SELECT} WHERE m.user_id = ? AND m.position > ? AND m.position <= ? ORDER BY m.position, m.room_nid`,
);
const IN_ROOM = sql<[number], Row>(
  'memberships.inRoom',
  `${SELECT} WHERE m.room_nid = ? ORDER BY m.position, m.user_id`,
);
const IN_ROOM_WITH = sql<[number, string], Row>(
  'memberships.inRoomWith',
  `${SELECT} WHERE m.room_nid = ? AND m.membership = ? ORDER BY m.position, m.user_id`,
);
const COUNTS = sql<[number], { membership: Membership; members: number }>(
  'memberships.counts',
  `SELECT membership, COUNT(*) AS members FROM memberships
   WHERE room_nid = ? AND membership IN ('join', 'invite') GROUP BY membership ORDER BY membership`,
);
// Goes from server to server by the index, so that a room's cost is its servers, not its members.
const JOINED_SERVERS = sql<[number, number], { server_name: ServerName }>(
  'memberships.joinedServers',
  `WITH RECURSIVE servers (server_name) AS (
     SELECT MIN(server_name) FROM memberships WHERE room_nid = ? AND membership = 'join'
     UNION ALL
     SELECT (SELECT MIN(m.server_name) FROM memberships m
             WHERE m.room_nid = ? AND m.membership = 'join' AND m.server_name > s.server_name)
     FROM servers s WHERE s.server_name IS NOT NULL)
   SELECT server_name FROM servers WHERE server_name IS NOT NULL ORDER BY server_name`,
);
// These two order by what is equal anyhow: by user_id SQLite would walk over all members in that order.
const SOME_OF_SERVER = sql<[number, string], { user_id: UserId }>(
  'memberships.someOfServer',
  `SELECT user_id FROM memberships WHERE room_nid = ? AND membership = 'join' AND server_name = ?
   ORDER BY server_name LIMIT 1`,
);
const JOINED_OF_SERVER = sql<[number, string], { user_id: UserId }>(
  'memberships.joinedOfServer',
  `SELECT user_id FROM memberships WHERE room_nid = ? AND membership = 'join' AND server_name = ?
   ORDER BY server_name`,
);
const SHARING_ROOMS = sql<[string], { user_id: UserId }>(
  'memberships.sharingRooms',
  `SELECT DISTINCT theirs.user_id FROM memberships ours
   JOIN memberships theirs ON theirs.room_nid = ours.room_nid AND theirs.membership = 'join'
   WHERE ours.user_id = ? AND ours.membership = 'join' ORDER BY theirs.user_id`,
);
const SHARING_WITH_SERVER = sql<[string, string], { user_id: UserId }>(
  'memberships.sharingWithServer',
  `SELECT DISTINCT theirs.user_id FROM memberships theirs
   WHERE theirs.user_id {anyOf} AND theirs.membership = 'join' AND EXISTS (
     SELECT 1 FROM memberships ours
     WHERE ours.room_nid = theirs.room_nid AND ours.membership = 'join' AND ours.server_name = ?)
   ORDER BY theirs.user_id`,
);
/** By the join itself: what is known of a room from before we were in it has no event at its position. */
const FIRST_SHARED_JOIN = sql<[string, string], { received_ts: number | null }>(
  'memberships.firstSharedJoin',
  `SELECT e.received_ts FROM memberships theirs
   LEFT JOIN events e ON e.room_nid = theirs.room_nid AND e.position = theirs.joined_position
   WHERE theirs.user_id = ? AND theirs.membership = 'join' AND EXISTS (
     SELECT 1 FROM memberships ours
     WHERE ours.room_nid = theirs.room_nid AND ours.membership = 'join' AND ours.server_name = ?)
   ORDER BY theirs.joined_position, theirs.room_nid LIMIT 1`,
);
const SHARE_A_ROOM = sql<[string, string], { room_nid: number }>(
  'memberships.shareARoom',
  `SELECT ours.room_nid FROM memberships ours
   JOIN memberships theirs ON theirs.room_nid = ours.room_nid AND theirs.membership = 'join'
   WHERE ours.user_id = ? AND ours.membership = 'join' AND theirs.user_id = ?
   ORDER BY ours.room_nid LIMIT 1`,
);
const SET = sql<[number, string, string, number, number, string, string | null, string | null, number]>(
  'memberships.set',
  `INSERT INTO memberships
     (room_nid, user_id, membership, event_nid, position, server_name, display_name, avatar_url, forgotten,
      joined_position)
   VALUES (?, ?, ?, ?, ?, ?, ?, ?, 0, ?)
   ON CONFLICT (room_nid, user_id) DO UPDATE SET membership = excluded.membership,
     event_nid = excluded.event_nid, position = excluded.position, display_name = excluded.display_name,
     avatar_url = excluded.avatar_url, forgotten = 0,
     joined_position = CASE WHEN memberships.membership <> 'join' AND excluded.membership = 'join'
                            THEN excluded.joined_position ELSE memberships.joined_position END,
     left_position = CASE WHEN memberships.membership = 'join' AND excluded.membership <> 'join'
                          THEN excluded.position ELSE memberships.left_position END`,
);
const LEAVE = sql<[number, number, number, string]>(
  'memberships.leave',
  `UPDATE memberships SET membership = 'leave', position = ?, display_name = NULL, avatar_url = NULL,
     left_position = CASE WHEN membership = 'join' THEN CAST(? AS {int}) ELSE left_position END
   WHERE room_nid = ? AND user_id = ?`,
);
const CLEAR_OTHERS = sql<[number, string]>(
  'memberships.clearOthers',
  'DELETE FROM memberships WHERE room_nid = ? AND server_name <> ?',
);
const REDACT = sql<[number, string, number]>(
  'memberships.redact',
  `UPDATE memberships SET display_name = NULL, avatar_url = NULL
   WHERE room_nid = ? AND user_id = ? AND event_nid = ?`,
);
const SET_FORGOTTEN = sql<[number, number, string]>(
  'memberships.setForgotten',
  'UPDATE memberships SET forgotten = ? WHERE room_nid = ? AND user_id = ?',
);

const FORGET_ALL = sql<[number, string]>(
  'memberships.forgetAll',
  `UPDATE memberships SET forgotten = 1
   WHERE room_nid = ? AND membership IN ('leave', 'ban') AND server_name = ?`,
);

const AVATARS_AMONG = sql<[string, string], { avatar_url: string }>(
  'memberships.avatarsAmong',
  `SELECT DISTINCT avatar_url FROM memberships WHERE user_id {anyOf} AND avatar_url {anyOf} ORDER BY avatar_url`,
);

/** Those of the addresses that some of the users show as their avatar in a room. */
export async function avatarsAmong(
  reader: Reader,
  userIds: Iterable<string>,
  urls: Iterable<string>,
): Promise<ReadonlySet<string>> {
  const rows = await reader.all(AVATARS_AMONG, anyOf(userIds), anyOf(urls));
  return new Set(rows.map((row) => row.avatar_url));
}

/** A user's membership of a room, if they ever had one. */
export async function of(
  reader: Reader,
  roomNid: number,
  userId: UserId,
): Promise<MembershipRow | undefined> {
  const row = await reader.get(OF, roomNid, userId);
  return row === undefined ? undefined : fromRow(row);
}

/** Since which position a user is joined to a room without a break; undefined where the user is not in it. */
export async function joinedPosition(
  reader: Reader,
  roomNid: number,
  userId: UserId,
): Promise<number | undefined> {
  return (await reader.get(JOINED_POSITION, roomNid, userId))?.joined_position;
}

/** The rooms that a user is joined to, and since which position without a break. */
export async function joinedRooms(
  reader: Reader,
  userId: UserId,
): Promise<{ readonly roomNid: number; readonly roomId: RoomId; readonly joinedPosition: number }[]> {
  const rows = await reader.all(JOINED_ROOMS, userId);
  return rows.map((row) => ({
    roomNid: row.room_nid,
    roomId: row.room_id,
    joinedPosition: row.joined_position,
  }));
}

/** All rooms that a user is or was in or invited to, in the order of the last change. */
export async function ofUser(reader: Reader, userId: UserId): Promise<MembershipRow[]> {
  return (await reader.all(OF_USER, userId)).map(fromRow);
}

/** A user's memberships that changed after one position, up to another. */
export async function ofUserSince(
  reader: Reader,
  userId: UserId,
  since: number,
  upto: number,
): Promise<MembershipRow[]> {
  return (await reader.all(OF_USER_SINCE, userId, since, upto)).map(fromRow);
}

/** The members of a room, all or those of one membership, in the order of the last change. */
export async function inRoom(
  reader: Reader,
  roomNid: number,
  membership?: Membership,
): Promise<MembershipRow[]> {
  const rows =
    membership === undefined
      ? await reader.all(IN_ROOM, roomNid)
      : await reader.all(IN_ROOM_WITH, roomNid, membership);
  return rows.map(fromRow);
}

/** How many users are joined and invited. */
export async function countsIn(
  reader: Reader,
  roomNid: number,
): Promise<{ joined: number; invited: number }> {
  const counts = new Map((await reader.all(COUNTS, roomNid)).map((row) => [row.membership, row.members]));
  return { joined: counts.get('join') ?? 0, invited: counts.get('invite') ?? 0 };
}

/** The servers with a joined user, in alphabetical order. */
export async function joinedServers(reader: Reader, roomNid: number): Promise<ServerName[]> {
  return (await reader.all(JOINED_SERVERS, roomNid, roomNid)).map((row) => row.server_name);
}

/** True where the server has a joined user in the room. */
export async function serverIsIn(reader: Reader, roomNid: number, server: ServerName): Promise<boolean> {
  return (await someJoinedUser(reader, roomNid, server)) !== undefined;
}

/** One of the server's joined users, if there is one. */
export async function someJoinedUser(
  reader: Reader,
  roomNid: number,
  server: ServerName,
): Promise<UserId | undefined> {
  return (await reader.get(SOME_OF_SERVER, roomNid, server))?.user_id;
}

/** The joined users of our own server, whose name is `serverName`, in alphabetical order. */
export async function joinedLocalUsers(
  reader: Reader,
  roomNid: number,
  serverName: ServerName,
): Promise<UserId[]> {
  return (await reader.all(JOINED_OF_SERVER, roomNid, serverName)).map((row) => row.user_id).sort();
}

/** Everybody who is joined to a room that the user is joined to, the user among them. */
export async function usersSharingRooms(reader: Reader, userId: UserId): Promise<UserId[]> {
  return (await reader.all(SHARING_ROOMS, userId)).map((row) => row.user_id);
}

/** Those of the users who are joined to a room that a user of the server is joined to. */
export async function sharingWithServer(
  reader: Reader,
  serverName: ServerName,
  userIds: Iterable<UserId>,
): Promise<ReadonlySet<UserId>> {
  return new Set(
    (await reader.all(SHARING_WITH_SERVER, anyOf(userIds), serverName)).map((row) => row.user_id),
  );
}

/**
 * When a user came into the first of the rooms that they share with users of a server, in milliseconds since 1970.
 * Undefined where there is none, or the user was there before us.
 */
export async function firstSharedJoin(
  reader: Reader,
  serverName: ServerName,
  userId: UserId,
): Promise<number | undefined> {
  return (await reader.get(FIRST_SHARED_JOIN, userId, serverName))?.received_ts ?? undefined;
}

/** True where both users are joined to the same room. */
export async function shareARoom(reader: Reader, a: UserId, b: UserId): Promise<boolean> {
  return (await reader.get(SHARE_A_ROOM, a, b)) !== undefined;
}

/** Writes a membership in place of the one before; the room counts as remembered again. */
export async function set(tx: Tx, membership: NewMembership): Promise<void> {
  await setAll(tx, [membership], membership.position);
}

/** `set` for many, all at one position. */
export async function setAll(
  tx: Tx,
  members: readonly Omit<NewMembership, 'position'>[],
  position: number,
): Promise<void> {
  for (const { roomNid, userId, membership, eventNid, serverName, displayName, avatarUrl } of members) {
    // One statement for each: both databases take longer to read such a list out of a text.
    await tx.run(
      SET,
      roomNid,
      userId,
      membership,
      eventNid,
      position,
      serverName,
      withoutNul(displayName),
      withoutNul(avatarUrl),
      position,
    );
  }
}

/** Makes a member whose event is no longer in the state one that has left. */
export async function setLeft(tx: Tx, roomNid: number, userId: UserId, position: number): Promise<void> {
  await tx.run(LEAVE, position, position, roomNid, userId);
}

/** Removes the memberships of the users of all servers but ours. */
export async function clearOthers(tx: Tx, roomNid: number, ours: ServerName): Promise<void> {
  await tx.run(CLEAR_OTHERS, roomNid, ours);
}

/** Forgets the names that a redacted member event brought, where that is what made the membership. */
export async function redact(tx: Tx, roomNid: number, userId: UserId, eventNid: number): Promise<void> {
  await tx.run(REDACT, roomNid, userId, eventNid);
}

/** The user does not want to see this room again. True where there was a membership. */
export function forget(tx: Tx, roomNid: number, userId: UserId): Promise<boolean> {
  return setForgotten(tx, roomNid, userId, true);
}

/** No user of a server who has left the room wants to see it again. */
export async function forgetAll(tx: Tx, roomNid: number, server: ServerName): Promise<void> {
  await tx.run(FORGET_ALL, roomNid, server);
}

/** Sets whether the user has forgotten the room. True where there was a membership. */
export async function setForgotten(
  tx: Tx,
  roomNid: number,
  userId: UserId,
  forgotten: boolean,
): Promise<boolean> {
  return (await tx.run(SET_FORGOTTEN, forgotten ? 1 : 0, roomNid, userId)) === 1;
}

function withoutNul(text: string | null): string | null {
  return text?.includes('\0') === true ? text.replaceAll('\0', '') : text;
}

function fromRow(row: Row): MembershipRow {
  return {
    roomNid: row.room_nid,
    roomId: row.room_id,
    userId: row.user_id,
    membership: row.membership,
    eventNid: row.event_nid,
    position: row.position,
    serverName: row.server_name,
    displayName: row.display_name,
    avatarUrl: row.avatar_url,
    forgotten: row.forgotten === 1,
    joinedPosition: row.joined_position,
  };
}

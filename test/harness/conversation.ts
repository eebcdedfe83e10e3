/** What tests of several servers look at through the client-server API. */

import type { Body, TestClient } from './client.ts';
import { until } from './until.ts';

/** A room in a path. */
export function inRoom(roomId: string): string {
  return `/rooms/${encodeURIComponent(roomId)}`;
}

/** The membership of a user in a room, as one who is in it sees it. */
export async function membershipOf(viewer: TestClient, roomId: string, userId: string): Promise<unknown> {
  const path = `${inRoom(roomId)}/state/m.room.member/${encodeURIComponent(userId)}`;
  const answer = await viewer.try('GET', path);
  return answer.status === 200 ? answer.body.membership : undefined;
}

/** Waits until one who is in the room sees a user's membership so. */
export function untilMember(
  viewer: TestClient,
  roomId: string,
  userId: string,
  membership: string,
  wait?: { readonly longestMs: number },
): Promise<void> {
  const isSo = async () => (await membershipOf(viewer, roomId, userId)) === membership;
  return until(isSo, `that ${viewer.userId} sees ${userId} as ${membership}`, wait);
}

/** Waits for an invitation; answers its stripped state. */
export async function untilInvited(user: TestClient, roomId: string): Promise<Body[]> {
  const answer = await user.syncUntil(({ rooms }: Body) => rooms?.invite?.[roomId] !== undefined);
  return answer.rooms.invite[roomId].invite_state.events;
}

/** Waits until a user is told of a knock of theirs; answers its stripped state. */
export async function untilKnocking(user: TestClient, roomId: string): Promise<Body[]> {
  const answer = await user.syncUntil(({ rooms }: Body) => rooms?.knock?.[roomId] !== undefined);
  return answer.rooms.knock[roomId].knock_state.events;
}

/** Invites a user of another server, who joins. */
export async function bringIn(host: TestClient, guest: TestClient, roomId: string): Promise<void> {
  await host.post(`${inRoom(roomId)}/invite`, { user_id: guest.userId });
  await untilInvited(guest, roomId);
  await guest.join(roomId);
}

/** The newest messages of a room as a user sees them, oldest first. */
export async function messagesOf(user: TestClient, roomId: string, limit = 1000): Promise<string[]> {
  const { chunk } = await user.get(`${inRoom(roomId)}/messages?dir=b&limit=${limit}`);
  return chunk
    .filter((event: Body) => event.type === 'm.room.message' && event.content.body !== undefined)
    .map((event: Body) => event.content.body)
    .reverse();
}

/** Waits until a user sees all these messages; answers all that they see. */
export async function untilMessages(
  user: TestClient,
  roomId: string,
  wanted: readonly string[],
): Promise<string[]> {
  let seen: string[] = [];
  await until(
    async () => {
      seen = await messagesOf(user, roomId);
      return wanted.every((body) => seen.includes(body));
    },
    `that ${user.userId} sees ${wanted.join(', ')}`,
  );
  return seen;
}

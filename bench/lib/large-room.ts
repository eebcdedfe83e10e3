import type { ServerName, UserId } from '#keys/ids.ts';
import type { Room } from '#rooms/room.ts';
import { sendEvents } from '#rooms/send.ts';
import type { SendingServer } from '#test/harness/outbound.ts';
import { roomOf } from '#test/harness/room-builder.ts';
import { importRoom } from '#test/harness/rooms.ts';

const ALICE: UserId = '@alice:here.test';
const AT_ONCE = 100;

/** A room with one user of ours and one of each server. */
export function roomWith({ ctx }: SendingServer, servers: readonly ServerName[], n: number): Promise<Room> {
  const members = servers.map((server): UserId => `@user:${server}`);
  return importRoom(ctx, roomOf(ALICE, { members, create: { n } }));
}

/** Sends messages, and says in each when. */
export async function sendMessages(
  { ctx }: SendingServer,
  room: Room,
  bodies: readonly string[],
): Promise<void> {
  for (let from = 0; from < bodies.length; from += AT_ONCE) {
    const drafts = bodies.slice(from, from + AT_ONCE).map((body) => ({
      roomId: room.roomId,
      sender: ALICE,
      type: 'm.room.message',
      content: { msgtype: 'm.text', body, sent_at: Date.now() },
    }));
    // One write after the other, as bursts come.
    const sent = await sendEvents(ctx, room.roomId, drafts);
    if (sent.some(({ kind }) => kind !== 'sent')) throw new Error('a message was not sent');
  }
}

/** A user of Rocket.Chat: what Rocket.Chat makes the SDK do when a person clicks, and what it would show them. */

import assert from 'node:assert/strict';
import type { Body } from '#test/harness/client.ts';
import { until } from '#test/harness/until.ts';
import type { RocketChat } from './rocketchat.ts';

export class RocketChatUser {
  readonly userId: string;
  readonly #server: RocketChat;
  /** By room: how many invitations `untilInvited` has answered. */
  readonly #invitations = new Map<string, number>();

  constructor(server: RocketChat, name: string) {
    this.#server = server;
    this.userId = server.userId(name);
  }

  /** Makes a private room, in the version that Rocket.Chat makes rooms in. */
  async createRoom(name: string): Promise<string> {
    const { room_id: roomId } = await this.#server.call('createRoom', this.userId, name, 'invite');
    return roomId;
  }

  createDirectMessage(userId: string): Promise<string> {
    return this.#server.call('createDirectMessage', { creatorUserId: this.userId, members: [userId] });
  }

  invite(roomId: string, userId: string): Promise<Body> {
    return this.#server.call('inviteUserToRoom', userId, roomId, this.userId);
  }

  /** Joins a room; resolves once Rocket.Chat has shown that, which is later than the answer of the SDK. */
  async accept(roomId: string): Promise<void> {
    await this.#server.call('acceptInvite', roomId, this.userId);
    await this.untilMember(roomId, this.userId, 'join');
  }

  decline(roomId: string): Promise<string> {
    return this.#server.call('rejectInvite', roomId, this.userId);
  }

  leave(roomId: string): Promise<string> {
    return this.#server.call('leaveRoom', roomId, this.userId);
  }

  kick(roomId: string, userId: string): Promise<string> {
    return this.#server.call('kickUser', roomId, userId, this.userId, 'a test');
  }

  /** Answers the event's id. */
  say(roomId: string, body: string): Promise<string> {
    return this.#server.call('sendMessage', roomId, body, body, this.userId);
  }

  /** Says something in the thread of an event, of which it is the newest. */
  sayInThread(roomId: string, body: string, root: string): Promise<string> {
    const reply = { threadEventId: root, latestThreadEventId: root };
    return this.#server.call('sendMessage', roomId, body, body, this.userId, reply);
  }

  edit(roomId: string, eventId: string, body: string): Promise<string> {
    return this.#server.call('updateMessage', roomId, body, body, this.userId, eventId);
  }

  react(roomId: string, eventId: string, key: string): Promise<string> {
    return this.#server.call('sendReaction', roomId, eventId, key, this.userId);
  }

  /** Takes back an event of this user's own. */
  redact(roomId: string, eventId: string): Promise<string> {
    return this.#server.call('redactMessage', roomId, eventId);
  }

  setTyping(roomId: string, isTyping: boolean): Promise<void> {
    return this.#server.call('sendTypingNotification', roomId, this.userId, isTyping);
  }

  read(roomId: string, eventId: string): Promise<void> {
    return this.#server.call('sendReadReceipt', { roomId, userId: this.userId, eventIds: [eventId] });
  }

  /** Waits until an invitation was shown that this was not called for yet; answers its event. */
  async untilInvited(roomId: string): Promise<Body> {
    const taken = this.#invitations.get(roomId) ?? 0;
    let shown: Body[] = [];
    await until(() => {
      shown = this.#memberEvents(roomId, this.userId).filter(
        ({ content }) => content.membership === 'invite',
      );
      return shown.length > taken;
    }, `that Rocket.Chat shows ${this.userId} an invitation`);
    this.#invitations.set(roomId, shown.length);
    return shown.at(-1);
  }

  /** Waits until Rocket.Chat has shown that somebody has this membership. */
  async untilMember(roomId: string, userId: string, membership: string): Promise<void> {
    await until(
      () => this.#memberEvents(roomId, userId).at(-1)?.content.membership === membership,
      `that Rocket.Chat shows ${userId} as ${membership}`,
    );
  }

  /** Waits until these messages were shown; answers all that were, each once. */
  async untilMessages(roomId: string, wanted: readonly string[]): Promise<string[]> {
    const missing = () => {
      const shown = new Set(this.#server.messages(roomId));
      return wanted.filter((body) => !shown.has(body));
    };
    // It takes its time for each event: it is waited for as long as more of them come.
    for (let left = missing(); left.length > 0; left = missing()) {
      await until(
        () => missing().length < left.length,
        `that Rocket.Chat shows ${left[0]} and ${left.length - 1} more`,
      );
    }
    return this.#server.messages(roomId);
  }

  /** Waits until an event of a kind was shown, and answers it. */
  async untilShown(kind: string, roomId: string, eventId: string): Promise<Body> {
    let found: Body;
    await until(() => {
      found = this.#server.shown([kind], roomId).find(({ event_id: id }) => id === eventId);
      return found !== undefined;
    }, `that Rocket.Chat shows the ${kind} ${eventId}`);
    return found.event;
  }

  /** The members of a room, as Rocket.Chat's resolution of its state has them. */
  async members(roomId: string): Promise<string[]> {
    const { members } = await this.#server.call('state', roomId);
    assert.ok(Array.isArray(members));
    return members.sort();
  }

  #memberEvents(roomId: string, userId: string): Body[] {
    return this.#server
      .shown(['membership', 'membership.rejected'], roomId)
      .map(({ event }) => event)
      .filter((event) => event.state_key === userId);
  }
}

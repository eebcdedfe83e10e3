/** A user of the demonstration at a client: signs in, acts, and reads on from where the last sync ended. */

import { randomUUID } from 'node:crypto';
import { type EventId, isEventId, isRoomId, type RoomId, type UserId } from '#keys/ids.ts';
import { isObject, type Json, type JsonObject, objectAt, stringAt } from '#keys/json.ts';

export interface Message {
  readonly eventId: string;
  readonly sender: string;
  readonly body: string;
}

export interface Account {
  readonly name: string;
  readonly clientUrl: string;
  readonly userId: UserId;
  readonly password: string;
}

const PATIENCE_MS = 30_000;
const POLL_MS = 5_000;

export class Person {
  readonly name: string;
  readonly userId: UserId;
  readonly #clientUrl: string;
  readonly #accessToken: string;
  #since: string | undefined;
  readonly #invitations = new Set<string>();
  readonly #messages: Message[] = [];
  readonly #joined = new Set<string>();

  static async signIn({ name, clientUrl, userId, password }: Account): Promise<Person> {
    const identifier = { type: 'm.id.user', user: userId };
    const body = { type: 'm.login.password', identifier, password };
    const answer = await ask(`${clientUrl}/_matrix/client/v3/login`, { method: 'POST', body });
    const accessToken = stringAt(answer, 'access_token');
    if (accessToken === undefined) throw new Error(`${name} cannot sign in`);
    return new Person({ name, clientUrl, userId, accessToken });
  }

  private constructor(session: { name: string; clientUrl: string; userId: UserId; accessToken: string }) {
    this.name = session.name;
    this.userId = session.userId;
    this.#clientUrl = session.clientUrl;
    this.#accessToken = session.accessToken;
  }

  /** How many messages have come so far. */
  get messageCount(): number {
    return this.#messages.length;
  }

  /** Makes a private room; answers its id. */
  async createRoom(name: string): Promise<RoomId> {
    const { room_id: roomId } = await this.#ask('POST', '/createRoom', { preset: 'private_chat', name });
    if (!isRoomId(roomId)) throw new Error('the room has no id');
    return roomId;
  }

  async invite(roomId: RoomId, userId: UserId): Promise<void> {
    await this.#ask('POST', `/rooms/${encodeURIComponent(roomId)}/invite`, { user_id: userId });
  }

  async join(roomId: RoomId): Promise<void> {
    await this.#ask('POST', `/join/${encodeURIComponent(roomId)}`, {});
  }

  async say(roomId: RoomId, body: string): Promise<EventId> {
    const path = `/rooms/${encodeURIComponent(roomId)}/send/m.room.message/${randomUUID()}`;
    const { event_id: eventId } = await this.#ask('PUT', path, { msgtype: 'm.text', body });
    if (!isEventId(eventId)) throw new Error('the message has no id');
    return eventId;
  }

  /** Reads on until the invitation is there. */
  async untilInvited(roomId: RoomId): Promise<void> {
    await this.#readUntil(() => this.#invitations.has(roomId), 'the invitation');
  }

  /** Reads on until a user is seen to have joined. */
  async untilJoined(userId: UserId): Promise<void> {
    await this.#readUntil(() => this.#joined.has(userId), `that ${userId} is in the room`);
  }

  /** Reads on until so many messages are there; answers all that ever came, in the order in which they came. */
  async untilMessages(count: number): Promise<readonly Message[]> {
    await this.#readUntil(() => this.#messages.length >= count, `message ${count}`);
    return this.#messages;
  }

  /** What the server has of a room's messages now, oldest first. */
  async history(roomId: RoomId): Promise<readonly Message[]> {
    const path = `/rooms/${encodeURIComponent(roomId)}/messages?dir=b&limit=100`;
    const { chunk } = await this.#ask('GET', path);
    return messagesAmong(objectsIn(chunk)).reverse();
  }

  async #readUntil(condition: () => boolean, what: string): Promise<void> {
    const deadline = Date.now() + PATIENCE_MS;
    while (!condition()) {
      if (Date.now() > deadline) throw new Error(`${this.name} waited in vain for ${what}`);
      // Each sync goes on from the one before it.
      await this.#sync();
    }
  }

  async #sync(): Promise<void> {
    const since = this.#since === undefined ? '' : `&since=${encodeURIComponent(this.#since)}`;
    const answer = await this.#ask('GET', `/sync?timeout=${POLL_MS}${since}`);
    const rooms = objectAt(answer, 'rooms') ?? {};
    for (const roomId of Object.keys(objectAt(rooms, 'invite') ?? {})) this.#invitations.add(roomId);
    for (const room of Object.values(objectAt(rooms, 'join') ?? {})) {
      if (isObject(room)) this.#take(objectsIn(objectAt(room, 'timeline')?.events));
    }
    this.#since = stringAt(answer, 'next_batch');
  }

  #take(timeline: readonly JsonObject[]): void {
    this.#messages.push(...messagesAmong(timeline));
    for (const event of timeline) {
      const userId = stringAt(event, 'state_key');
      const membership = stringAt(objectAt(event, 'content') ?? {}, 'membership');
      if (userId !== undefined && membership === 'join') this.#joined.add(userId);
    }
  }

  #ask(method: string, path: string, body?: JsonObject): Promise<JsonObject> {
    const url = `${this.#clientUrl}/_matrix/client/v3${path}`;
    return ask(url, { method, accessToken: this.#accessToken, ...(body !== undefined && { body }) });
  }
}

interface Question {
  readonly method: string;
  readonly accessToken?: string;
  readonly body?: JsonObject;
}

async function ask(url: string, { method, accessToken, body }: Question): Promise<JsonObject> {
  const response = await fetch(url, {
    method,
    headers: {
      'content-type': 'application/json',
      ...(accessToken !== undefined && { authorization: `Bearer ${accessToken}` }),
    },
    ...(body !== undefined && { body: JSON.stringify(body) }),
    signal: AbortSignal.timeout(PATIENCE_MS),
  }).catch((cause: unknown) => {
    throw new Error(`there is no answer from ${new URL(url).host}`, { cause });
  });
  const answer: unknown = await response.json();
  if (response.ok && isObject(answer)) return answer;
  throw new Error(`${method} ${url} was answered with ${response.status} ${JSON.stringify(answer)}`);
}

function messagesAmong(events: readonly JsonObject[]): Message[] {
  return events.flatMap((event) => {
    const [eventId, sender] = [stringAt(event, 'event_id'), stringAt(event, 'sender')];
    const body = stringAt(objectAt(event, 'content') ?? {}, 'body');
    const isMessage = event.type === 'm.room.message';
    if (!isMessage || eventId === undefined || sender === undefined || body === undefined) return [];
    return [{ eventId, sender, body }];
  });
}

function objectsIn(value: Json | undefined): JsonObject[] {
  return Array.isArray(value) ? value.filter(isObject) : [];
}

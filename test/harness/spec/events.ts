/**
 * Events in answers to clients, by the schema of their type, where Kurir has made their content: memberships, what
 * `createRoom` makes, receipts and so on. What users send is theirs.
 */

import { isOurs } from './live.ts';
import type { SpecSchemas } from './schemas.ts';
import { violation } from './violations.ts';

const FOLDER = 'event-schemas/schema';
/** What is in lists of events without being an event of a room, and made by Kurir alone. */
const MADE_BY_US = new Set(['m.typing', 'm.receipt', 'm.presence', 'm.push_rules', 'm.fully_read']);
const SENT = /^\/_matrix\/client\/(?:v3|r0)\/rooms\/([^/]+)\/(?:send|state)\/([^/?]+)/;
const CREATED = /^\/_matrix\/client\/(?:v3|r0)\/createRoom(?:\?|$)/;

export class EventChecks {
  readonly #schemas: SpecSchemas;
  /** `room type`, or only `type` for rooms that are being made. */
  readonly #sentByUsers = new Set<string>();

  constructor(schemas: SpecSchemas) {
    this.#schemas = schemas;
  }

  /** Notes what a user is about to send, which may be anything. */
  noteRequest(method: string, url: string, body: unknown): void {
    const [, room, type] = method === 'PUT' ? (SENT.exec(url) ?? []) : [];
    if (room !== undefined && type !== undefined) {
      this.#sentByUsers.add(`${decode(room)} ${decode(type)}`);
    }
    if (method !== 'POST' || !CREATED.test(url) || !isRecord(body)) return;
    const initial = Array.isArray(body.initial_state) ? body.initial_state : [];
    for (const event of initial) if (isRecord(event)) this.#sentByUsers.add(String(event.type));
    if (body.creation_content !== undefined) this.#sentByUsers.add('m.room.create');
    if (body.power_level_content_override !== undefined) this.#sentByUsers.add('m.room.power_levels');
  }

  check(what: string, { url, body }: { readonly url: string; readonly body: unknown }): void {
    const [, , , , , roomInPath] = url.split('?', 1)[0]?.split('/') ?? [];
    this.#walk(what, body, { pointer: '', room: roomInPath === undefined ? '' : decode(roomInPath) });
  }

  #walk(what: string, value: unknown, at: { readonly pointer: string; readonly room: string }): void {
    if (Array.isArray(value)) {
      for (const [index, each] of value.entries()) {
        this.#walk(what, each, { ...at, pointer: `${at.pointer}/${index}` });
      }
      return;
    }
    if (!isRecord(value)) return;
    const isEvent = typeof value.type === 'string' && isRecord(value.content);
    if (isEvent) this.#event(what, value, at);
    for (const [key, each] of Object.entries(value)) {
      if (isEvent && key === 'content') continue;
      if (key === 'prev_content') continue;
      this.#walk(what, each, {
        pointer: `${at.pointer}/${key}`,
        // As in the rooms of a sync.
        room: key.startsWith('!') ? key : at.room,
      });
    }
  }

  #event(
    what: string,
    event: Record<string, unknown>,
    { pointer, room }: { readonly pointer: string; readonly room: string },
  ): void {
    const type = String(event.type);
    const file = `${FOLDER}/${type}.yaml`;
    if (event.event_id === undefined) {
      if (!MADE_BY_US.has(type) || !pointer.includes('/events/')) return;
    } else if (!this.#isMadeByUs(event, room)) {
      return;
    }
    if (!this.#schemas.has(file)) return;
    const misfits = this.#schemas.misfits(`${file}#/properties/content`, event.content);
    violation(
      `${what}, an event ${type}`,
      misfits.map((misfit) => ({ ...misfit, pointer: `${pointer}/content${misfit.pointer}` })),
    );
  }

  #isMadeByUs({ type, sender, room_id: roomId, unsigned }: Record<string, unknown>, room: string): boolean {
    if (!isOurs(sender)) return false;
    // What is redacted lacks most of its content.
    if (isRecord(unsigned) && unsigned.redacted_because !== undefined) return false;
    const where = typeof roomId === 'string' ? roomId : room;
    return !this.#sentByUsers.has(`${where} ${type}`) && !this.#sentByUsers.has(String(type));
  }
}

function decode(text: string): string {
  try {
    return decodeURIComponent(text);
  } catch {
    return text;
  }
}

function isRecord(value: unknown): value is Record<string, unknown> {
  return typeof value === 'object' && value !== null && !Array.isArray(value);
}

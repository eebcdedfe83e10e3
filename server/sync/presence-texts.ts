import type { UserId } from '#keys/ids.ts';
import { Lru } from '#storage/lru.ts';
import type { Presence } from '#storage/presences.ts';
import { presenceContent } from '../profiles/presence-content.ts';

interface Text {
  readonly presence: Presence;
  readonly at: number;
  readonly text: string;
}

const MOST_USERS = 20_000;
/** For so long `last_active_ago` may be what it was. */
const FRESH_MS = 1_000;

/** Events of `m.presence` as JSON: many who share rooms are told of the same users at the same time. */
export class PresenceTexts {
  readonly #texts = new Lru<UserId, Text>({ maxEntries: MOST_USERS });

  of(sender: UserId, presence: Presence, now: number): string {
    const known = this.#texts.get(sender);
    if (known !== undefined && now - known.at < FRESH_MS && areSame(known.presence, presence))
      return known.text;
    const content = presenceContent(presence, now);
    const text = JSON.stringify({ type: 'm.presence', sender, content });
    this.#texts.set(sender, { presence, at: now, text });
    return text;
  }
}

function areSame(a: Presence, b: Presence): boolean {
  const isSameState = a.state === b.state && a.isActive === b.isActive;
  return isSameState && a.statusMsg === b.statusMsg && a.lastActiveTs === b.lastActiveTs;
}

/** Makes the events of a random room: formats, hashes and signatures, by the plain implementation alone. */
import type { SigningKeyPair } from '#keys/ed25519.ts';
import type { Json, JsonObject } from '#keys/json.ts';
import { keyPairOf } from '#test/harness/room-builder.ts';
import { authSelection } from './plain-auth.ts';
import { domainOf, keyOf, type PlainEvent, type PlainState } from './plain-event.ts';
import { plainContentHash, plainEventId, plainReferenceHash, plainSignedBytes } from './plain-json.ts';
import { PlainRoom } from './plain-room.ts';

/** What a user wants to say. */
export interface Draft {
  readonly sender: string;
  readonly type: string;
  readonly stateKey?: string;
  readonly content: JsonObject;
  /** What a redaction redacts. */
  readonly redacts?: string;
}

/** Where and when it is said. */
export interface Place {
  readonly prevEvents: readonly string[];
  readonly authEvents: readonly string[];
  readonly ts: number;
}

export const START_TS = 1_700_000_000_000;

const keyPairs = new Map<string, SigningKeyPair>();

/** The key pair of a server, as `keyPairOf` has it, made once. */
export function knownKeyPairOf(server: string): SigningKeyPair {
  const keyPair = keyPairs.get(server) ?? keyPairOf(server);
  keyPairs.set(server, keyPair);
  return keyPair;
}

/** The public key that everybody knows a server by, in base64. */
export function publicKeyOf(server: string): string {
  return knownKeyPairOf(server).publicKey;
}

/** A room that is being made, and what the plain implementation thinks of each of its events. */
export class Workshop {
  readonly version: number;
  readonly plain: PlainRoom;
  readonly pdus: JsonObject[] = [];
  /** Tells the ids of this room from those of others. */
  readonly nonce: string;
  #roomId: string;

  constructor(version: number, nonce: string) {
    this.version = version;
    this.nonce = nonce;
    this.plain = new PlainRoom(version, publicKeyOf);
    this.#roomId = `!${nonce}:a.example`;
  }

  get roomId(): string {
    return this.#roomId;
  }

  /** Makes and adds the create event. */
  create(sender: string, content: JsonObject): PlainEvent {
    const create = this.make(
      { sender, type: 'm.room.create', stateKey: '', content: { nonce: this.nonce, ...content } },
      { prevEvents: [], authEvents: [], ts: START_TS },
    );
    if (this.version >= 12) this.#roomId = create.roomId;
    return create;
  }

  /** Makes an event and adds it; the same one is there once, also where two lines make it. */
  make(draft: Draft, place: Place): PlainEvent {
    const pdu = this.#signed(this.#pdu(draft, place));
    const known = this.plain.event(plainEventId(this.version, pdu));
    if (known !== undefined) return known;
    this.pdus.push(pdu);
    return this.plain.add(pdu);
  }

  /** The events of a state that a draft has to cite. */
  authEventsFor(draft: Draft, state: PlainState): string[] {
    const { version } = this;
    const { type, sender, stateKey, content } = draft;
    const keys = authSelection({ version, type, sender, stateKey, content });
    return keys.map((key) => state.get(key)?.id).filter((id) => id !== undefined);
  }

  #pdu(
    { sender, type, stateKey, content, redacts }: Draft,
    { prevEvents, authEvents, ts }: Place,
  ): JsonObject {
    const { version } = this;
    const depths = prevEvents.map((id) => this.plain.event(id)?.depth ?? 0);
    const count = this.pdus.length;
    return {
      // In an order of their own, so that ties are broken otherwise than by age.
      ...(version <= 2 && { event_id: `$${this.nonce}.${(count * 37) % 101}-${count}:${domainOf(sender)}` }),
      ...((version <= 11 || type !== 'm.room.create') && { room_id: this.roomId }),
      sender,
      type,
      ...(stateKey !== undefined && { state_key: stateKey }),
      content: version >= 11 && redacts !== undefined ? { ...content, redacts } : content,
      ...(version <= 10 && redacts !== undefined && { redacts }),
      depth: Math.max(0, ...depths) + 1,
      origin_server_ts: ts,
      prev_events: prevEvents.map((id) => this.#reference(id)),
      auth_events: authEvents.map((id) => this.#reference(id)),
    };
  }

  /** v1, v2: with its hash; from v3 on: the id. */
  #reference(id: string): Json {
    if (this.version >= 3) return id;
    const known = this.plain.event(id);
    return [id, { sha256: known === undefined ? 'AAAA' : plainReferenceHash(this.version, known.pdu) }];
  }

  /** Signed by whom the rules ask: the sender's server, and that of the authorising user. */
  #signed(bare: JsonObject): JsonObject {
    const pdu = { ...bare, hashes: { sha256: plainContentHash(bare) } };
    const content = bare.content as JsonObject;
    const signers = [bare.sender, content.join_authorised_via_users_server].map((user) =>
      typeof user === 'string' ? domainOf(user) : undefined,
    );
    const bytes = plainSignedBytes(this.version, pdu);
    const signatures = signers
      .filter((server) => server !== undefined)
      .map((server) => {
        const { keyId, sign } = knownKeyPairOf(server);
        return [server, { [keyId]: sign(bytes) }];
      });
    return { ...pdu, signatures: Object.fromEntries(signatures) };
  }
}

/** A room of another name, whose events have no business in the first: create, join, power levels. */
export function otherRoom(version: number): { pdus: readonly JsonObject[]; state: PlainState } {
  const shop = new Workshop(version, `other${version}`);
  const sender = '@creator:a.example';
  const creator = version <= 10 ? { creator: sender } : {};
  const create = shop.create(sender, { room_version: String(version), ...creator });
  const drafts: Draft[] = [
    { sender, type: 'm.room.member', stateKey: sender, content: { membership: 'join' } },
    {
      sender,
      type: 'm.room.power_levels',
      stateKey: '',
      content: { users: version >= 12 ? {} : { [sender]: 100 } },
    },
    { sender, type: 'm.room.join_rules', stateKey: '', content: { join_rule: 'public' } },
  ];
  let last = create;
  for (const draft of drafts) {
    const state = shop.plain.stateAfter(last.id) ?? new Map();
    last = shop.make(draft, {
      prevEvents: [last.id],
      authEvents: shop.authEventsFor(draft, state),
      ts: START_TS + shop.pdus.length,
    });
  }
  return { pdus: shop.pdus, state: shop.plain.stateAfter(last.id) ?? new Map() };
}

/** The id of a state's event under a key. */
export function idIn(state: PlainState, type: string, stateKey = ''): string | undefined {
  return state.get(keyOf(type, stateKey))?.id;
}

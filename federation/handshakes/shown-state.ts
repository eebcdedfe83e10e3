/**
 * What somebody is shown of a room before they are in it: `invite_room_state` and `knock_room_state`.
 * https://spec.matrix.org/v1.19/client-server-api/#stripped-state
 */

import { parseLoose } from '#keys/canonical-json.ts';
import { isUserId, type RoomId, type UserId } from '#keys/ids.ts';
import { isObject, type Json, type JsonObject, objectAt, own, stringAt } from '#keys/json.ts';
import type { RoomsContext } from '#rooms/context.ts';
import type { Room } from '#rooms/room.ts';
import { currentStateEvents } from '#rooms/state.ts';
import type { RoomVersionRules } from '#rooms/versions.ts';
import { type Verdict, verifyEach } from '../inbound/verify.ts';

const SHOWN_TYPES = [
  'm.room.create',
  'm.room.join_rules',
  'm.room.name',
  'm.room.avatar',
  'm.room.topic',
  'm.room.canonical_alias',
  'm.room.encryption',
];
/** Some servers show all of the room's state: what says most of the room will do. */
const MOST_READ = 1_000;
const MOST_SHOWN = 50;
/** Of a room whose name and topic are as long as they may be, not everything is shown. */
const MOST_SHOWN_BYTES = 256 * 1024;
/** "The complete event MUST NOT be larger than 65536 bytes." */
const MAX_EVENT_BYTES = 65_536;

/**
 * What we show of a room: "MUST contain the `m.room.create` event for the room. All events listed MUST additionally be
 * formatted according to the room version specification." `inviter`: whose membership is shown too.
 */
export async function shownStateOf(ctx: RoomsContext, room: Room, inviter?: UserId): Promise<JsonObject[]> {
  const keys: { type: string; stateKey: string }[] = SHOWN_TYPES.map((type) => ({ type, stateKey: '' }));
  if (inviter !== undefined) keys.push({ type: 'm.room.member', stateKey: inviter });
  const stored = await currentStateEvents(ctx, room.roomNid, keys);
  const entries = stored.map(({ event }) => ({ type: event.type, text: event.json, pdu: event.pdu }));
  return mostTelling(entries).map(({ pdu }) => pdu);
}

/** The create event first, then what else says what room it is, as much as may be shown. */
function mostTelling<Entry extends { readonly type: string; readonly text: string }>(
  entries: readonly Entry[],
): Entry[] {
  const rank = ({ type }: Entry): number => {
    const at = SHOWN_TYPES.indexOf(type);
    return at === -1 ? SHOWN_TYPES.length : at;
  };
  const kept: Entry[] = [];
  let bytes = 0;
  for (const entry of [...entries].sort((a, b) => rank(a) - rank(b)).slice(0, MOST_SHOWN)) {
    bytes += Buffer.byteLength(entry.text);
    if (bytes > MOST_SHOWN_BYTES) break;
    kept.push(entry);
  }
  return kept;
}

export interface ShownState {
  /** Stripped state, for clients. */
  readonly events: readonly JsonObject[];
  /** Why the list is not as it must be in rooms whose id is the hash of their create event; undefined where it is. */
  readonly fault: string | undefined;
}

interface Entry {
  readonly type: string;
  readonly stripped: JsonObject;
  readonly text: string;
  /** It claims to be an event in the format of the room version. */
  readonly isWhole: boolean;
}

/** Whose list it is. */
export interface ShownFor {
  readonly rules: RoomVersionRules;
  readonly roomId: RoomId;
  readonly as: 'invite' | 'knock';
}

/**
 * Reads what another server shows of a room, by the text of each entry. A whole event that is not valid, or is of
 * another room, is left out.
 *
 * In rooms whose id is the hash of their create event that event must be there, whole, for otherwise anybody could say
 * anything of the room. In older rooms nothing can be trusted anyhow, and servers that know no better send stripped
 * state, which is shown as it is; with invitations, of which "servers MAY" check the entries there, whole events too.
 */
export async function readShownState(
  ctx: RoomsContext,
  { rules, roomId, as }: ShownFor,
  texts: readonly string[],
  signal: AbortSignal,
): Promise<ShownState> {
  const entries = mostTelling(texts.slice(0, MOST_READ).flatMap(entryOf));
  const isStrict = rules.roomIdIsCreateHash;
  if (!isStrict && as === 'invite') {
    return { events: entries.map(({ stripped }) => stripped), fault: undefined };
  }
  const whole = entries.filter(({ isWhole }) => isWhole);
  const verdicts = await verifyEach(
    ctx,
    rules,
    whole.map(({ text }) => text),
    signal,
  );
  const valid = new Set(whole.filter((_, index) => isOfRoom(verdicts[index], roomId)));
  const isCreate = ({ type }: Entry): boolean => type === 'm.room.create';
  const mayShow = (entry: Entry): boolean =>
    entry.isWhole ? valid.has(entry) : !(isStrict && isCreate(entry));
  const events = entries.filter(mayShow).map(({ stripped }) => stripped);
  if (!isStrict) return { events, fault: undefined };
  if (valid.size < whole.length) return { events, fault: 'it has an event that is not valid in the room' };
  const hasCreate = [...valid].some(isCreate);
  return { events, fault: hasCreate ? undefined : 'it does not hold the create event of the room' };
}

function isOfRoom(verdict: Verdict | undefined, roomId: RoomId): boolean {
  return verdict?.kind === 'verified' && verdict.event.roomId === roomId;
}

/** Nothing where it is no state event, or longer than one can be. */
function entryOf(text: string): Entry[] {
  if (Buffer.byteLength(text) > MAX_EVENT_BYTES) return [];
  const parsed = parseLoose(text);
  const stripped = parsed.kind === 'ok' ? strippedOf(parsed.value) : undefined;
  if (parsed.kind !== 'ok' || stripped === undefined) return [];
  const isWhole = isObject(parsed.value) && Object.hasOwn(parsed.value, 'signatures');
  return [{ type: stripped.type, stripped, text, isWhole }];
}

/** "Stripped state events can only have the `sender`, `type`, `state_key` and `content` properties present." */
function strippedOf(event: Json): (JsonObject & { readonly type: string }) | undefined {
  if (!isObject(event)) return undefined;
  const type = stringAt(event, 'type');
  const stateKey = stringAt(event, 'state_key');
  const sender = own(event, 'sender');
  const content = objectAt(event, 'content');
  if (type === undefined || stateKey === undefined || content === undefined || !isUserId(sender)) {
    return undefined;
  }
  return { type, state_key: stateKey, sender, content };
}

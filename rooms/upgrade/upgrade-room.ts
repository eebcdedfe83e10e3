/**
 * Replacing a room by one of another version: https://spec.matrix.org/v1.19/client-server-api/#room-upgrades
 *
 * 1. "Checks that the user has permission to send `m.room.tombstone` events in the room."
 * 2. "Creates a replacement room with a `m.room.create` event containing a `predecessor` field".
 * 3. "Replicates transferable state events to the new room."
 * 4. "Moves any local aliases to the new room."
 * 5. "Sends a `m.room.tombstone` event to the old room".
 * 6. "If possible, the power levels in the old room should also be modified".
 *
 * All of it is one transaction, under the lock of the old room (but while its policy server is asked): after a crash there is the old room as it was, or
 * both. Asked again, by somebody who is or may come into the room that was made, it answers with that room.
 */
import { belongsTo, isRoomId, type RoomId, type UserId } from '#keys/ids.ts';
import { isStringArray, type JsonObject, own, stringAt } from '#keys/json.ts';
import * as aliases from '#storage/aliases.ts';
import type { Tx } from '#storage/database.ts';
import * as memberships from '#storage/memberships.ts';
import * as roomDirectory from '#storage/room-directory.ts';
import type { RoomsContext } from '../context.ts';
import { newRoomId } from '../create-room.ts';
import { accessOf } from '../directory/room-access.ts';
import { type Line, lineFrom, planOf, tryDraft } from '../draft.ts';
import { type Event, stateMapKey } from '../event.ts';
import { loadNids } from '../load.ts';
import { type PersistPlan, writePlan } from '../persist.ts';
import type { Unsigned } from '../policy.ts';
import { additionalCreatorsOf, powerOf } from '../power.ts';
import { getRoom, type Room } from '../room.ts';
import { headOf } from '../room-head.ts';
import { type Draft, planFor } from '../send.ts';
import { needsNoSignatures, putSigned, signaturesFor } from '../sign-line.ts';
import { draftStart, writeStart } from '../start-room.ts';
import { currentStateEvents, currentStateOfType } from '../state.ts';
import { type RoomVersionRules, supportedRulesOf } from '../versions.ts';
import { carrySettings, predecessorOf } from './carry-settings.ts';
import { type OldRoom, replacementEvents, TRANSFERRED } from './replacement-events.ts';

export interface Upgrade {
  readonly roomId: RoomId;
  /** Who is in the room. */
  readonly sender: UserId;
  readonly newVersion: string;
  readonly additionalCreators: readonly UserId[];
}

export type Upgraded =
  | { readonly kind: 'upgraded'; readonly roomId: RoomId }
  | { readonly kind: 'unsupported_version' }
  /** The sender is not in the room, or may not replace it. */
  | { readonly kind: 'forbidden'; readonly reason: string }
  /** The policy server of the room does not let it be replaced. */
  | { readonly kind: 'not_signed'; readonly unsigned: Unsigned }
  /** What is to be taken over does not make a room. */
  | { readonly kind: 'invalid'; readonly reason: string };

interface Request extends Upgrade {
  readonly rules: RoomVersionRules;
}

/** Both rooms' events, before they are written. */
interface Drafted {
  readonly kind: 'drafted';
  readonly old: Line;
  readonly replacement: Line;
}

const BODY = 'This room has been replaced';
const ATTEMPTS = 10;
/** Each is an event of the new room, which are written together. */
const MOST_TRANSFERRED = 5_000;
/** "For example, setting `events_default` and `invite` to the greater of `50` and `users_default + 1`." */
const CLOSED = 50;
/** Have the levels that hold for all who, and all that, are not named. */
const NOBODY = '';
const NO_TYPE = '';

/** Thrown in the transaction, so that nothing of it stays. */
class Overtaken extends Error {
  override readonly name = 'Overtaken';
}

/** Replaces a room. The server must be in it, and the sender one of its users. */
export async function upgradeRoom(ctx: RoomsContext, upgrade: Upgrade): Promise<Upgraded> {
  const rules = supportedRulesOf(upgrade.newVersion);
  if (rules === undefined) return { kind: 'unsupported_version' };
  const room = await getRoom(ctx, upgrade.roomId);
  if (room === undefined) return forbidden('You are not in this room');
  const additionalCreators = [...new Set(upgrade.additionalCreators)].filter((id) => id !== upgrade.sender);
  const request = { ...upgrade, rules, additionalCreators };
  for (let attempt = 0; attempt < ATTEMPTS; attempt++) {
    // Others may write to the room meanwhile: then all is read and built again.
    const upgraded = await attemptUpgrade(ctx, room, request, attempt);
    if (upgraded !== undefined) return upgraded;
  }
  throw new Error(`the room was written by others ${ATTEMPTS} times while its replacement was built`);
}

/** Undefined where somebody else was faster. */
async function attemptUpgrade(
  ctx: RoomsContext,
  room: Room,
  request: Request,
  attempt: number,
): Promise<Upgraded | undefined> {
  const built = await ctx.roomLocks.run(room.roomId, async () => {
    const drafted = await buildUpgrade(ctx, room, request, attempt);
    const isDone = drafted?.kind !== 'drafted' || !(await needsNoSignatures(ctx, drafted.old));
    return isDone ? drafted : write(ctx, drafted, request);
  });
  if (built?.kind !== 'drafted') return built;
  const refused = await signedOld(ctx, built);
  return refused ?? ctx.roomLocks.run(room.roomId, () => write(ctx, built, request));
}

/** Has what is said in the old room signed by its policy server, while the room goes on. */
async function signedOld(ctx: RoomsContext, { old }: Drafted): Promise<Upgraded | undefined> {
  const refused = putSigned(old, await signaturesFor(ctx, old));
  if (refused === undefined) return undefined;
  const { index, unsigned } = refused;
  // The tombstone comes first; without the rest, which is done "if possible", the room is replaced all the same.
  if (index === 0) return { kind: 'not_signed', unsigned };
  for (const { event } of old.drafted.splice(index)) {
    if (event.stateKey !== undefined) old.changed.delete(stateMapKey(event.type, event.stateKey));
  }
  return undefined;
}

/** Undefined where there is such a room already. */
async function buildUpgrade(
  ctx: RoomsContext,
  room: Room,
  request: Request,
  attempt: number,
): Promise<Upgraded | Drafted | undefined> {
  const head = await headOf(ctx, room.roomNid);
  const old = await readOldRoom(ctx, room, request.sender);
  if (old === undefined) return forbidden('You are not in this room');
  const made = await madeBefore(ctx, room, request);
  if (made !== undefined) return { kind: 'upgraded', roomId: made };
  if (old.children.length + old.bans.length > MOST_TRANSFERRED) {
    return {
      kind: 'invalid',
      reason: `More than ${MOST_TRANSFERRED} bans and rooms of a space are in the way`,
    };
  }
  const line = await lineFrom(ctx, room, head);
  const drafted = await draftBoth(ctx, line, { request, old, attempt });
  if (drafted?.kind !== 'drafted') return drafted;
  await retireOldRoom(ctx, drafted, { request, old });
  return drafted;
}

async function readOldRoom(ctx: RoomsContext, room: Room, sender: UserId): Promise<OldRoom | undefined> {
  const { roomNid } = room;
  const stored = await currentStateEvents(ctx, roomNid, [
    ...['m.room.create', 'm.room.power_levels', 'm.room.canonical_alias', ...TRANSFERRED].map(withoutKey),
    { type: 'm.room.member', stateKey: sender },
  ]);
  const byType = new Map(stored.map(({ event }) => [event.type, event]));
  const create = byType.get('m.room.create');
  const member = byType.get('m.room.member');
  if (create === undefined || member === undefined || own(member.content, 'membership') !== 'join')
    return undefined;
  const isSpace = stringAt(create.content, 'type') === 'm.space';
  const children = isSpace ? await currentStateOfType(ctx, roomNid, 'm.space.child') : [];
  const banned = await memberships.inRoom(ctx.db, roomNid, 'ban');
  const bans = await loadNids(
    ctx,
    banned.map(({ eventNid }) => eventNid),
  );
  const alias = byType.get('m.room.canonical_alias');
  return {
    create,
    member,
    powerLevels: byType.get('m.room.power_levels'),
    state: TRANSFERRED.map((type) => byType.get(type)).filter((event) => event !== undefined),
    children: children.map(({ event }) => event).filter(({ content }) => Object.hasOwn(content, 'via')),
    bans: [...bans.values()].map(({ event }) => event),
    localAliases: alias && aliasesOf(alias, (name) => belongsTo(name, ctx.serverName)),
  };
}

function withoutKey(type: string) {
  return { type, stateKey: '' };
}

/** `m.room.canonical_alias` with some of its aliases; undefined where none is left. */
function aliasesOf({ content }: Event, isWanted: (alias: string) => boolean): JsonObject | undefined {
  const alias = stringAt(content, 'alias');
  const others = own(content, 'alt_aliases');
  const alternatives = isStringArray(others) ? others.filter(isWanted) : [];
  const main = alias !== undefined && alias !== '' && isWanted(alias) ? alias : undefined;
  if (main === undefined && alternatives.length === 0) return undefined;
  return {
    ...(main !== undefined && { alias: main }),
    ...(alternatives.length > 0 && { alt_aliases: alternatives }),
  };
}

/** The room that an earlier request of the same kind has made, where the sender is in it or may come in. */
async function madeBefore(ctx: RoomsContext, old: Room, request: Request): Promise<RoomId | undefined> {
  const [tombstone] = await currentStateEvents(ctx, old.roomNid, [withoutKey('m.room.tombstone')]);
  const roomId = tombstone && own(tombstone.event.content, 'replacement_room');
  const room = isRoomId(roomId) ? await getRoom(ctx, roomId) : undefined;
  if (room?.rules.version !== request.rules.version) return undefined;
  const [create] = await currentStateEvents(ctx, room.roomNid, [withoutKey('m.room.create')]);
  if (create === undefined || predecessorOf(create.event.content) !== old.roomId) return undefined;
  const wanted = new Set<string>(room.rules.privilegedCreators ? request.additionalCreators : []);
  const present = new Set<string>(
    room.rules.privilegedCreators ? additionalCreatorsOf(create.event.content) : [],
  );
  if (wanted.size !== present.size || !wanted.isSubsetOf(present)) return undefined;
  const access = await accessOf(ctx, room, { userId: request.sender });
  return access === 'joined' || access === 'joinable' ? room.roomId : undefined;
}

/**
 * Builds the tombstone and the new room, each of which names the other: before version 12 the new room has an id
 * before it has events; from then on its create event comes first, and its `predecessor` is without the tombstone.
 * "When upgrading to room version 12 or later, the `event_id` property inside `predecessor` MAY be omitted."
 */
async function draftBoth(
  ctx: RoomsContext,
  line: Line,
  { request, old, attempt }: { readonly request: Request; readonly old: OldRoom; readonly attempt: number },
): Promise<Drafted | Exclude<Upgraded, { kind: 'upgraded' }> | undefined> {
  const { rules, sender, additionalCreators } = request;
  const { roomId: oldRoomId } = line.room;
  const draftTombstone = (roomId: RoomId) =>
    tryDraft(
      ctx,
      line,
      stateDraft(line.room, sender, 'm.room.tombstone', { body: BODY, replacement_room: roomId }),
    );
  const chosenId = newRoomId(ctx);
  const tombstone = rules.roomIdIsCreateHash ? undefined : await draftTombstone(chosenId);
  if (tombstone !== undefined && tombstone.kind !== 'ok') return forbidden(tombstone.reason);
  const predecessor = { room_id: oldRoomId, ...(tombstone !== undefined && { event_id: tombstone.eventId }) };
  const events = replacementEvents(old, { rules, creator: sender, additionalCreators, predecessor });
  const drafts = events.map((event): Draft => ({ ...event, roomId: chosenId, sender }));
  const start = await draftStart(ctx, { rules, drafts }, attempt);
  if (start === undefined) return undefined;
  if (start.kind === 'refused') {
    return { kind: 'invalid', reason: `${events[start.index]?.type ?? 'm.room.create'}: ${start.reason}` };
  }
  if (tombstone === undefined) {
    const drafted = await draftTombstone(start.line.room.roomId);
    if (drafted.kind !== 'ok') return forbidden(drafted.reason);
  }
  return { kind: 'drafted', old: line, replacement: start.line };
}

/** Takes the moved aliases off the old room and closes it, as far as the sender may. */
async function retireOldRoom(
  ctx: RoomsContext,
  { old: line }: Drafted,
  { request, old }: { readonly request: Request; readonly old: OldRoom },
): Promise<void> {
  const { room } = line;
  if (old.localAliases !== undefined) {
    const [alias] = await currentStateEvents(ctx, room.roomNid, [withoutKey('m.room.canonical_alias')]);
    const left = alias && aliasesOf(alias.event, (name) => !belongsTo(name, ctx.serverName));
    await tryDraft(ctx, line, stateDraft(room, request.sender, 'm.room.canonical_alias', left ?? {}));
  }
  const closed = old.powerLevels && closedLevels(old.create, old.powerLevels);
  // "If possible": who may replace a room may not always change its power levels.
  if (closed !== undefined) {
    await tryDraft(ctx, line, stateDraft(room, request.sender, 'm.room.power_levels', closed));
  }
}

/** Power levels by which ordinary users neither send nor invite; undefined where it is so already. */
function closedLevels(create: Event, powerLevels: Event): JsonObject | undefined {
  const power = powerOf(create, powerLevels);
  const closed = Math.max(CLOSED, power.of(NOBODY) + 1);
  const eventsDefault = Math.max(closed, power.required(NO_TYPE, 'message'));
  const invite = Math.max(closed, power.invite);
  if (eventsDefault === power.required(NO_TYPE, 'message') && invite === power.invite) return undefined;
  return { ...powerLevels.content, events_default: eventsDefault, invite };
}

function stateDraft({ roomId }: Room, sender: UserId, type: string, content: JsonObject): Draft {
  return { roomId, sender, type, stateKey: '', content };
}

/** Undefined where another writer was faster: then nothing is written. */
async function write(
  ctx: RoomsContext,
  { old, replacement }: Drafted,
  request: Request,
): Promise<Upgraded | undefined> {
  const plans = {
    old: await planFor(ctx, old.room, old),
    replacement: await planOf(ctx, replacement, false),
  };
  try {
    await ctx.db.write('rooms.upgrade', (tx) => writeBoth(ctx, tx, { old, replacement, plans, request }));
    return { kind: 'upgraded', roomId: replacement.room.roomId };
  } catch (error) {
    if (!(error instanceof Overtaken)) throw error;
    ctx.rooms.dropHead(old.room.roomNid);
    return undefined;
  }
}

async function writeBoth(
  ctx: RoomsContext,
  tx: Tx,
  both: {
    readonly old: Line;
    readonly replacement: Line;
    readonly plans: { readonly old: PersistPlan; readonly replacement: PersistPlan };
    readonly request: Request;
  },
): Promise<void> {
  const { old, replacement, plans, request } = both;
  const started = await writeStart(ctx, tx, replacement, plans.replacement);
  const retired = await writePlan(ctx, tx, old.room, plans.old);
  const [first] = started.kind === 'persisted' ? started.events : [];
  if (first === undefined || retired.kind === 'conflict') throw new Overtaken();
  const succession = { from: old.room.roomId, to: replacement.room.roomId };
  await aliases.move(tx, succession.from, succession.to);
  if (await roomDirectory.isPublished(tx, old.room.roomNid)) {
    await roomDirectory.unpublish(tx, old.room.roomNid);
    await roomDirectory.publish(tx, first.roomNid, ctx.clock.now());
  }
  await carrySettings(ctx, tx, request.sender, succession);
}

function forbidden(reason: string): Extract<Upgraded, { kind: 'forbidden' }> {
  return { kind: 'forbidden', reason };
}

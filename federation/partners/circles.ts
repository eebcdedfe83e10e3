/**
 * Keeps the access control lists of rooms that are bound to a circle of servers: the servers of the circle and we may
 * take part, and nobody else. A list is sent again when the circle changes, and when somebody has changed it in the
 * room, by a user of ours who may.
 */

import { encodeCanonical } from '#keys/canonical-json.ts';
import { isIpLiteral, parseServerName, type RoomId, type ServerName, type UserId } from '#keys/ids.ts';
import type { JsonObject } from '#keys/json.ts';
import type { RoomsContext } from '#rooms/context.ts';
import { mostPowerful } from '#rooms/most-powerful.ts';
import { powerOf } from '#rooms/power.ts';
import { getRoom, isInRoom, joinedServers, type Room } from '#rooms/room.ts';
import { type Draft, sendEvent } from '#rooms/send.ts';
import { currentStateEvents } from '#rooms/state.ts';
import * as circles from '#storage/circles.ts';
import { partnerName, standsFor } from './partner.ts';

/** What became of the list of a room. */
export type Kept =
  /** It is as it should be: it was, or it was `sent`. */
  | { readonly kind: 'right' | 'sent' }
  /** Nobody of ours may send it. */
  | { readonly kind: 'no_power' }
  /** We are not in the room, or it is bound to no circle. */
  | { readonly kind: 'not_ours' }
  | { readonly kind: 'refused'; readonly reason: string };

export const MOST_CIRCLES = 1_000;
export const MOST_CIRCLE_SERVERS = 1_000;
/** Each is watched. */
const MOST_ROOMS = 10_000;
const PAGE = 500;
/** Two who keep different lists must not send them to each other all the time. */
const PAUSE_MS = 60_000;

const ACL = 'm.room.server_acl';

export class CircleKeeper {
  readonly #ctx: RoomsContext;
  readonly #circleOf = new Map<RoomId, string>();
  readonly #watching = new Map<RoomId, () => void>();
  readonly #timers = new Map<RoomId, NodeJS.Timeout>();
  readonly #sentTs = new Map<RoomId, number>();
  readonly #reported = new Map<RoomId, Kept['kind']>();
  /** Rooms that are to be looked at. */
  readonly #noticed = new Set<RoomId>();
  /** What is under way, one room after the other. */
  #work: Promise<unknown> = Promise.resolve();
  #isStopped = false;

  constructor(ctx: RoomsContext) {
    this.#ctx = ctx;
  }

  /** Takes up the rooms that are bound, and brings their lists up to date. */
  async start(): Promise<void> {
    for (let after: string | undefined = ''; after !== undefined; ) {
      // Page by page, each after the last.
      const page: Awaited<ReturnType<typeof circles.rooms>> = await circles.rooms(this.#ctx.db, after, PAGE);
      for (const { roomId, circle } of page) this.#watch(roomId, circle);
      after = page.length < PAGE || this.#circleOf.size >= MOST_ROOMS ? undefined : page.at(-1)?.roomId;
    }
    for (const roomId of this.#circleOf.keys()) this.#notice(roomId);
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.#isStopped = true;
    for (const end of this.#watching.values()) end();
    for (const timer of this.#timers.values()) clearTimeout(timer);
    await this.#work;
  }

  /** The circle that a room is bound to. */
  circleOf(roomId: RoomId): string | undefined {
    return this.#circleOf.get(roomId);
  }

  /** Binds a room to a circle; false where as many rooms are bound as are watched. */
  async bind(roomId: RoomId, circle: string): Promise<boolean> {
    if (!this.#circleOf.has(roomId) && this.#circleOf.size >= MOST_ROOMS) return false;
    await this.#ctx.db.write('circles.bind', (tx) => circles.bind(tx, roomId, circle));
    this.#watch(roomId, circle);
    return true;
  }

  /** A room took the place of another: it is bound to the same circle. */
  async follow(from: RoomId, to: RoomId): Promise<void> {
    const circle = this.#circleOf.get(from);
    if (circle !== undefined) await this.bind(to, circle);
  }

  /** Lets a room go; its list stays as it is. False where it was bound to none. */
  async unbind(roomId: RoomId): Promise<boolean> {
    const wasBound = await this.#ctx.db.write('circles.unbind', (tx) => circles.unbind(tx, roomId));
    this.#watching.get(roomId)?.();
    for (const each of [this.#watching, this.#circleOf, this.#sentTs, this.#reported]) each.delete(roomId);
    return wasBound;
  }

  /** The lists of all rooms of a circle, brought up to date; what became of each. */
  async keepAll(circle: string): Promise<ReadonlyMap<RoomId, Kept>> {
    const kept = new Map<RoomId, Kept>();
    for (const [roomId, name] of this.#circleOf) {
      // One after the other: each is an event.
      if (name === circle) kept.set(roomId, await this.keep(roomId));
    }
    return kept;
  }

  /** Sends the list of a room where it is not as it should be. */
  keep(roomId: RoomId): Promise<Kept> {
    const kept = this.#work.then(async () => {
      const wanted = await this.#wanted(roomId);
      return 'kind' in wanted ? wanted : this.#send(wanted);
    });
    // Whoever asked is told of a failure; those who come after are not.
    this.#work = kept.catch(() => undefined);
    return kept;
  }

  /** The list that is to be sent, or why there is none to send. */
  async #wanted(roomId: RoomId): Promise<Draft | Kept> {
    const name = this.#circleOf.get(roomId);
    const circle = name === undefined ? undefined : await circles.of(this.#ctx.db, name);
    const room = await getRoom(this.#ctx, roomId);
    if (circle === undefined || room === undefined || !(await isInRoom(this.#ctx, room))) {
      return { kind: 'not_ours' };
    }
    const content = aclOf(circle.servers, this.#ctx.serverName);
    const { acl, sender } = await readState(this.#ctx, room);
    const isRight = acl !== undefined && encodeCanonical(acl) === encodeCanonical(content);
    if (isRight) return { kind: 'right' };
    return sender === undefined ? { kind: 'no_power' } : { roomId, sender, type: ACL, stateKey: '', content };
  }

  async #send(draft: Draft): Promise<Kept> {
    const sent = await sendEvent(this.#ctx, draft);
    if (sent.kind !== 'sent') return { kind: 'refused', reason: 'reason' in sent ? sent.reason : sent.kind };
    this.#sentTs.set(draft.roomId, this.#ctx.clock.now());
    clearTimeout(this.#timers.get(draft.roomId));
    this.#timers.delete(draft.roomId);
    return { kind: 'sent' };
  }

  #watch(roomId: RoomId, circle: string): void {
    this.#circleOf.set(roomId, circle);
    if (this.#watching.has(roomId)) return;
    const end = this.#ctx.streams.subscribe(`state:${roomId}`, () => this.#notice(roomId));
    this.#watching.set(roomId, end);
  }

  /** The state of the room may have changed. */
  #notice(roomId: RoomId): void {
    if (this.#isStopped || this.#noticed.has(roomId) || this.#timers.has(roomId)) return;
    this.#noticed.add(roomId);
    this.#work = this.#work
      .then(() => this.#tend(roomId))
      .catch((error: unknown) =>
        this.#ctx.log.error({ err: error, roomId }, 'the list of a room was not kept'),
      );
  }

  async #tend(roomId: RoomId): Promise<void> {
    this.#noticed.delete(roomId);
    if (this.#isStopped) return;
    const wanted = await this.#wanted(roomId);
    const pause = this.#pauseLeft(roomId);
    if ('kind' in wanted || pause === 0) {
      this.#report(roomId, 'kind' in wanted ? wanted : await this.#send(wanted));
      return;
    }
    const timer = setTimeout(() => {
      this.#timers.delete(roomId);
      this.#notice(roomId);
    }, pause).unref();
    this.#timers.set(roomId, timer);
  }

  #pauseLeft(roomId: RoomId): number {
    const elapsed = this.#ctx.clock.now() - (this.#sentTs.get(roomId) ?? Number.NEGATIVE_INFINITY);
    return Math.min(Math.max(0, PAUSE_MS - elapsed), PAUSE_MS);
  }

  /** Once for each turn that things take: the state of a busy room changes all the time. */
  #report(roomId: RoomId, kept: Kept): void {
    const before = this.#reported.get(roomId);
    this.#reported.set(roomId, kept.kind);
    if (before === kept.kind && kept.kind !== 'sent') return;
    const circle = this.#circleOf.get(roomId);
    if (kept.kind === 'sent') this.#ctx.log.info({ roomId, circle }, 'access control list of a room set');
    else if (kept.kind === 'no_power' || kept.kind === 'refused') {
      this.#ctx.log.warn({ roomId, circle, ...kept }, 'access control list of a room cannot be kept');
    }
  }
}

/** The list that lets in the servers of a circle, and us. Ports do not count in such lists. */
export function aclOf(servers: readonly string[], ownName: ServerName): JsonObject {
  const hosts = new Set([...servers, ownName].map(hostOf));
  return {
    allow: [...hosts].sort(),
    // A circle of servers without names would else keep itself out.
    allow_ip_literals: [...hosts].some(isIpLiteral),
    deny: [],
  };
}

/** The servers in a room that a circle does not hold. */
export async function outsidersIn(
  ctx: RoomsContext,
  room: Room,
  circle: circles.Circle,
): Promise<ServerName[]> {
  const servers = await joinedServers(ctx, room.roomNid);
  const inside = (server: ServerName) =>
    server === ctx.serverName || circle.servers.some((name) => standsFor(hostOf(name), hostOf(server)));
  return servers.filter((server) => !inside(server));
}

/** The names of a circle as they are kept: in order, each once; undefined where one of them is none. */
export function circleServers(names: readonly string[]): readonly string[] | undefined {
  const parsed = names.map(partnerName);
  const valid = parsed.filter((name) => name !== undefined);
  return valid.length === parsed.length ? [...new Set(valid)].sort() : undefined;
}

function hostOf(name: string): string {
  return name.startsWith('*.') ? `*.${hostOf(name.slice(2))}` : (parseServerName(name)?.host ?? name);
}

/** The list as it is, and the most powerful of our users who may change it. */
async function readState(
  ctx: RoomsContext,
  room: Room,
): Promise<{ readonly acl: JsonObject | undefined; readonly sender: UserId | undefined }> {
  const types = ['m.room.create', 'm.room.power_levels', ACL];
  const state = await currentStateEvents(
    ctx,
    room.roomNid,
    types.map((type) => ({ type, stateKey: '' })),
  );
  const of = (type: string) => state.find(({ event }) => event.type === type)?.event;
  const power = powerOf(of('m.room.create'), of('m.room.power_levels'));
  const most = await mostPowerful(ctx, room, power);
  const maySend = most !== undefined && power.of(most) >= power.required(ACL, 'state');
  return { acl: of(ACL)?.content, sender: maySend ? most : undefined };
}

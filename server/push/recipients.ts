/** Whom an event notifies who has pushers, by their push rules of now. */

import { invitePermissionOf } from '#federation/invite-permission.ts';
import { isUserId, serverNameOf, type UserId } from '#keys/ids.ts';
import type { RoomsContext } from '#rooms/context.ts';
import { membershipOf } from '#rooms/event.ts';
import { getRoomByNid } from '#rooms/room.ts';
import type { Slices } from '#rooms/slices.ts';
import type { StoredEvent } from '#rooms/stored-event.ts';
import { Lru } from '#storage/lru.ts';
import * as memberships from '#storage/memberships.ts';
import type { WaitingPush } from '#storage/waiting-pushes.ts';
import { effectOfActions, effectOffhand, matchingRule, matchingRuleOffhand } from './evaluate.ts';
import { factsAt } from './room-facts.ts';
import type { MatchedRule } from './rule-steps.ts';
import type { UnreadCounts } from './unread.ts';
import type { UserRules } from './user-rules.ts';

const MOST_ROOMS = 2_000;
const MOST_MEMBERS = 200_000;

export class Recipients {
  readonly #ctx: RoomsContext;
  readonly #unread: UnreadCounts;
  readonly #hasPushers: (userId: UserId) => boolean;
  readonly #members = new Lru<number, { readonly users: readonly UserId[]; asOf: number }>({
    maxEntries: MOST_ROOMS,
    maxWeight: MOST_MEMBERS,
    weigh: ({ users }) => users.length + 1,
  });

  constructor(ctx: RoomsContext, unread: UnreadCounts, hasPushers: (userId: UserId) => boolean) {
    this.#ctx = ctx;
    this.#unread = unread;
    this.#hasPushers = hasPushers;
  }

  /** What is to be pushed for an event. `slices`: of what this is part of. */
  async of(stored: StoredEvent, slices: Slices): Promise<WaitingPush[]> {
    const { event, roomNid, nid, redactedBy } = stored;
    // History that is fetched later is no news.
    if (redactedBy !== undefined || (stored.position ?? 1) <= 0) return [];
    const room = await getRoomByNid(this.#ctx, roomNid);
    if (room === undefined) return [];
    const found: WaitingPush[] = [];
    const invited = this.#invited(stored);
    if (invited !== undefined) {
      const member = await memberships.of(this.#ctx.db, roomNid, invited);
      const position = member?.eventNid === nid ? (stored.position ?? member.position) : undefined;
      const isWanted =
        position !== undefined &&
        (await invitePermissionOf(this.#ctx.db, invited)).of(stored.event.sender) === 'allow';
      const rule = isWanted ? await this.#ruleFor(invited, stored, room) : undefined;
      if (rule !== undefined && position !== undefined)
        found.push({ userId: invited, position, nid, actions: rule.actions });
    }
    const { position } = stored;
    if (position === undefined) return found;
    for (const userId of await this.#membersWithPushers(room)) {
      if (userId === event.sender || userId === invited) continue;
      // From memory but for the first time.
      const rule = await this.#ruleFor(userId, stored, room);
      if (rule !== undefined) found.push({ userId, position, nid, actions: rule.actions });
      await slices.rest();
    }
    return found;
  }

  #invited({ event }: StoredEvent): UserId | undefined {
    const { stateKey } = event;
    if (event.type !== 'm.room.member' || membershipOf(event) !== 'invite') return undefined;
    if (stateKey === undefined || !isUserId(stateKey) || stateKey === event.sender) return undefined;
    return serverNameOf(stateKey) === this.#ctx.serverName && this.#hasPushers(stateKey)
      ? stateKey
      : undefined;
  }

  async #membersWithPushers({
    roomNid,
    roomId,
  }: {
    readonly roomNid: number;
    readonly roomId: string;
  }): Promise<readonly UserId[]> {
    const { db, streams, serverName } = this.#ctx;
    const upto = streams.upto();
    let known = this.#members.get(roomNid);
    if (known === undefined || streams.mayConcern(`state:${roomId}`, known.asOf)) {
      known = { users: await memberships.joinedLocalUsers(db, roomNid, serverName), asOf: upto };
      this.#members.set(roomNid, known);
    } else known.asOf = upto;
    return known.users.filter(this.#hasPushers);
  }

  async #ruleFor(
    userId: UserId,
    stored: StoredEvent,
    room: { readonly roomNid: number; readonly roomId: string },
  ): Promise<MatchedRule | undefined> {
    const { rules } = this.#unread;
    const of = rules.known(userId) ?? (await rules.find(userId));
    if (of.ignored.has(stored.event.sender)) return undefined;
    const rule = await this.#matching(of, stored, room);
    return rule !== undefined && effectOfActions(rule.actions).notify ? rule : undefined;
  }

  async #matching(
    { compiled, userId }: UserRules,
    stored: StoredEvent,
    room: { readonly roomNid: number; readonly roomId: string },
  ): Promise<MatchedRule | undefined> {
    const { event } = stored;
    if (effectOffhand(compiled, event)?.notify === false) return undefined;
    const memberCount = await this.#unread.members.of(room);
    const offhand = matchingRuleOffhand(compiled, event, { memberCount });
    if (offhand === 'none') return undefined;
    if (offhand !== 'unknown') return offhand;
    // Of a room that the server is not in no state is known.
    if (stored.stateBefore === undefined)
      return matchingRule(compiled, event, { memberCount, displayName: null });
    return matchingRule(compiled, event, await factsAt(this.#ctx, stored, userId, memberCount));
  }
}

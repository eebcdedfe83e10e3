/**
 * The rules for `m.room.member`: rule 5 of version 12, 4 of versions 6 to 11, 5 of versions 1 to 5. Numbers in
 * the comments are those of version 10 unless another version is named; in version 12 they begin with 5.
 */
import { isUserId } from '#keys/ids.ts';
import { own, stringAt } from '#keys/json.ts';
import { type Event, membershipOf } from '../event.ts';
import { creatorsOf, type PowerLevels, powerOf } from '../power.ts';
import type { RoomVersionRules } from '../versions.ts';
import { type Refusal, refuse } from './refusal.ts';
import { type AuthState, membershipIn } from './state.ts';
import { checkThirdPartyInvite } from './third-party-invite.ts';

/** A membership event and what it is judged by. */
interface Change {
  readonly event: Event;
  readonly rules: RoomVersionRules;
  readonly state: AuthState;
  /** "The user given by the `state_key` of the event." */
  readonly target: string;
  readonly senderMembership: string | undefined;
  readonly targetMembership: string | undefined;
  readonly power: PowerLevels;
}

/** Why a membership event is not allowed in a state, or undefined where it is. */
export function checkMember(event: Event, state: AuthState): Refusal | undefined {
  const { rules, sender, stateKey: target } = event;
  const membership = membershipOf(event);
  // v10 4.1: If there is no `state_key` property, or no `membership` property in `content`, reject.
  if (target === undefined) return refuse('v10 4.1', 'A membership event has a state key');
  if (membership === undefined) return refuse('v10 4.1', 'A membership event has a membership');
  // v10 4.2.1: If the event is not validly signed by the homeserver of the user ID denoted by the key, reject.
  // The signature itself is checked on receipt (`requiredSigners`); a key without a homeserver has none.
  const authoriser = own(event.content, 'join_authorised_via_users_server');
  if (rules.restrictedJoins && authoriser !== undefined && !isUserId(authoriser)) {
    return refuse('v10 4.2.1', 'join_authorised_via_users_server is not a user id');
  }
  const change: Change = {
    event,
    rules,
    state,
    target,
    senderMembership: membershipIn(state, sender),
    targetMembership: membershipIn(state, target),
    power: powerOf(state.get('m.room.create', ''), state.get('m.room.power_levels', '')),
  };
  switch (membership) {
    case 'join':
      return checkJoin(change);
    case 'invite':
      return checkInvite(change);
    case 'leave':
      return checkLeave(change);
    case 'ban':
      return checkBan(change);
    case 'knock':
      return checkKnock(change);
    default:
      // v10 4.8: Otherwise, the membership is unknown. Reject.
      return refuse('v10 4.8', 'The membership is not a known one');
  }
}

/** v10 4.3: If `membership` is `join`. */
function checkJoin(change: Change): Refusal | undefined {
  const { event, rules, target, senderMembership, targetMembership } = change;
  // v10 4.3.1: If the only previous event is an `m.room.create` and the `state_key` is the creator, allow.
  if (isFirstJoin(change)) return undefined;
  // v10 4.3.2: If the `sender` does not match `state_key`, reject.
  if (event.sender !== target) return refuse('v10 4.3.2', 'A user joins for themselves only');
  // v10 4.3.3: If the `sender` is banned, reject.
  if (senderMembership === 'ban') return refuse('v10 4.3.3', 'The user is banned from the room');
  const joinRule = joinRuleOf(change.state);
  const isMemberOrInvited = targetMembership === 'join' || targetMembership === 'invite';
  // v10 4.3.4: If the `join_rule` is `invite` or `knock` then allow if membership state is `invite` or `join`.
  if (joinRule === 'invite' || (joinRule === 'knock' && rules.knocking)) {
    return isMemberOrInvited ? undefined : refuse('v10 4.3.7', 'The room takes invited users only');
  }
  // v10 4.3.5: If the `join_rule` is `restricted` or `knock_restricted`:
  if (allowsRestrictedJoins(joinRule, rules)) {
    // v10 4.3.5.1: If membership state is `join` or `invite`, allow.
    return isMemberOrInvited ? undefined : checkAuthoriser(change);
  }
  // v10 4.3.6: If the `join_rule` is `public`, allow.
  if (joinRule === 'public') return undefined;
  // v10 4.3.7: Otherwise, reject.
  return refuse('v10 4.3.7', 'The join rule of the room lets nobody join');
}

function isFirstJoin({ event, state, target }: Change): boolean {
  const create = state.get('m.room.create', '');
  if (create === undefined) return false;
  if (event.prevEvents.length !== 1 || event.prevEvents[0] !== create.eventId) return false;
  // v11 4.3.1, v12 5.3.1: "the `state_key` is the sender of the `m.room.create`": additional creators do not count.
  return target === (create.rules.creatorInContent ? [...creatorsOf(create)][0] : create.sender);
}

/** v10 4.3.5.2: the user named by `join_authorised_via_users_server`. */
function checkAuthoriser({ event, state, power }: Change): Refusal | undefined {
  const authoriser = stringAt(event.content, 'join_authorised_via_users_server');
  // "If the key in `content` is not a user with sufficient permission to invite other users or is not a joined
  // member of the room, reject."
  if (authoriser === undefined)
    return refuse('v10 4.3.5.2', 'The join was not authorised by a member of the room');
  if (membershipIn(state, authoriser) !== 'join')
    return refuse('v10 4.3.5.2', 'The user who authorised the join is not in the room');
  if (power.of(authoriser) < power.invite)
    return refuse('v10 4.3.5.2', 'The user who authorised the join may not invite');
  // v10 4.3.5.3: Otherwise, allow.
  return undefined;
}

/** v10 4.4: If `membership` is `invite`. */
function checkInvite(change: Change): Refusal | undefined {
  const { event, state, senderMembership, targetMembership, power } = change;
  // v10 4.4.1: If `content` has a `third_party_invite` property:
  if (own(event.content, 'third_party_invite') !== undefined) {
    return checkThirdPartyInvite(event, state, targetMembership);
  }
  // v10 4.4.2: If the `sender`'s current membership state is not `join`, reject.
  if (senderMembership !== 'join') return refuse('v10 4.4.2', 'The sender is not in the room');
  // v10 4.4.3: If *target user*'s current membership state is `join` or `ban`, reject.
  if (targetMembership === 'join') return refuse('v10 4.4.3', 'The user is in the room already');
  if (targetMembership === 'ban') return refuse('v10 4.4.3', 'The user is banned from the room');
  // v10 4.4.4: If the `sender`'s power level is greater than or equal to the *invite level*, allow.
  // v10 4.4.5: Otherwise, reject.
  return power.of(event.sender) >= power.invite
    ? undefined
    : refuse('v10 4.4.5', 'The sender may not invite');
}

/** v10 4.5: If `membership` is `leave`. */
function checkLeave(change: Change): Refusal | undefined {
  const { event, rules, target, senderMembership, targetMembership, power } = change;
  // v10 4.5.1: If the `sender` matches `state_key`, allow if and only if that user's current membership state is
  // `invite`, `join`, or `knock`.
  if (event.sender === target) {
    const hasKnocked = rules.knocking && senderMembership === 'knock';
    const mayLeave = senderMembership === 'invite' || senderMembership === 'join' || hasKnocked;
    return mayLeave ? undefined : refuse('v10 4.5.1', 'The user is not in the room');
  }
  // v10 4.5.2: If the `sender`'s current membership state is not `join`, reject.
  if (senderMembership !== 'join') return refuse('v10 4.5.2', 'The sender is not in the room');
  const level = power.of(event.sender);
  // v10 4.5.3: If the *target user*'s current membership state is `ban`, and the `sender`'s power level is less
  // than the *ban level*, reject.
  if (targetMembership === 'ban' && level < power.ban)
    return refuse('v10 4.5.3', 'The sender may not lift a ban');
  // v10 4.5.4: If the `sender`'s power level is greater than or equal to the *kick level*, and the *target
  // user*'s power level is less than the `sender`'s power level, allow.
  // v10 4.5.5: Otherwise, reject.
  if (level < power.kick) return refuse('v10 4.5.5', 'The sender may not remove users');
  return power.of(target) < level
    ? undefined
    : refuse('v10 4.5.5', 'The power level of the user is not below the sender’s');
}

/** v10 4.6: If `membership` is `ban`. */
function checkBan({ event, target, senderMembership, power }: Change): Refusal | undefined {
  // v10 4.6.1: If the `sender`'s current membership state is not `join`, reject.
  if (senderMembership !== 'join') return refuse('v10 4.6.1', 'The sender is not in the room');
  // v10 4.6.2: If the `sender`'s power level is greater than or equal to the *ban level*, and the *target user*'s
  // power level is less than the `sender`'s power level, allow.
  // v10 4.6.3: Otherwise, reject.
  const level = power.of(event.sender);
  if (level < power.ban) return refuse('v10 4.6.3', 'The sender may not ban users');
  return power.of(target) < level
    ? undefined
    : refuse('v10 4.6.3', 'The power level of the user is not below the sender’s');
}

/** v10 4.7: If `membership` is `knock`. */
function checkKnock({ event, rules, target, senderMembership, state }: Change): Refusal | undefined {
  // Before v7 the membership is unknown.
  if (!rules.knocking) return refuse('v10 4.8', 'The membership is not a known one');
  const joinRule = joinRuleOf(state);
  // v10 4.7.1: If the `join_rule` is anything other than `knock` or `knock_restricted`, reject.
  if (!allowsKnocks(joinRule, rules))
    return refuse('v10 4.7.1', 'The join rule of the room does not let users knock');
  // v10 4.7.2: If `sender` does not match `state_key`, reject.
  if (event.sender !== target) return refuse('v10 4.7.2', 'A user knocks for themselves only');
  // v10 4.7.3: If the `sender`'s current membership is not `ban`, `invite`, or `join`, allow.
  // v10 4.7.4: Otherwise, reject.
  if (senderMembership === 'ban') return refuse('v10 4.7.4', 'The user is banned from the room');
  if (senderMembership === 'invite') return refuse('v10 4.7.4', 'The user is invited already');
  return senderMembership === 'join' ? refuse('v10 4.7.4', 'The user is in the room already') : undefined;
}

/** True for the join rules that let a member with the power to invite authorise a join. */
export function allowsRestrictedJoins(joinRule: string, rules: RoomVersionRules): boolean {
  if (joinRule === 'restricted') return rules.restrictedJoins;
  return joinRule === 'knock_restricted' && rules.knockRestrictedJoins;
}

/** True for the join rules by which users may ask to be let in. */
export function allowsKnocks(joinRule: string, rules: RoomVersionRules): boolean {
  if (joinRule === 'knock') return rules.knocking;
  return joinRule === 'knock_restricted' && rules.knockRestrictedJoins;
}

/** A room without a join rule takes invited users only; one whose join rule is no text, nobody. */
export function joinRuleOf(state: AuthState): string {
  const event = state.get('m.room.join_rules', '');
  const joinRule = event && own(event.content, 'join_rule');
  if (joinRule === undefined) return 'invite';
  return typeof joinRule === 'string' ? joinRule : '';
}

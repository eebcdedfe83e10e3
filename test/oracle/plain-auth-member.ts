/** The authorisation rules for `m.room.member`, plainly: rule 5 of version 12, 4 of versions 6 to 11, 5 before. */
import { isUserId } from '#keys/ids.ts';
import { isObject, type Json } from '#keys/json.ts';
import type { PlainKeys } from './plain-auth.ts';
import { domainOf, keyOf, membershipIn, type PlainEvent, type PlainState, valueAt } from './plain-event.ts';
import { plainCanonical, plainIsSigned, plainSignedBytes, without } from './plain-json.ts';
import { creatorsOf, levelIn, userLevelIn } from './plain-power.ts';

interface Room {
  readonly state: PlainState;
  readonly create: PlainEvent;
  readonly keys: PlainKeys;
}

/** The sentence by which a membership event is rejected. */
export function refusalOfMember(event: PlainEvent, room: Room): string | undefined {
  const { stateKey, content } = event;
  // 5.1 "If there is no `state_key` property, or no `membership` property in `content`, reject."
  if (stateKey === undefined || !Object.hasOwn(content, 'membership'))
    return 'there is no state_key or no membership property';
  // v8, 5.2: "If `content` has a `join_authorised_via_users_server` key: If the event is not validly signed by the
  // homeserver of the user ID denoted by the key, reject."
  const authoriser = valueAt(content, 'join_authorised_via_users_server');
  if (event.version >= 8 && authoriser !== undefined && !isSignedForUser(event, authoriser, room.keys))
    return 'it is not validly signed by the homeserver of the authorising user';
  switch (content.membership) {
    case 'join':
      return refusalOfJoin(event, stateKey, room);
    case 'invite':
      return refusalOfInvite(event, stateKey, room);
    case 'leave':
      return refusalOfLeave(event, stateKey, room);
    case 'ban':
      return refusalOfBan(event, stateKey, room);
    case 'knock':
      // v7: "If `membership` is `knock`:"
      if (event.version >= 7) return refusalOfKnock(event, stateKey, room);
  }
  // 5.8 "Otherwise, the membership is unknown. Reject."
  return 'the membership is unknown';
}

function isSignedForUser(event: PlainEvent, userId: Json, keys: PlainKeys): boolean {
  const server = isUserId(userId) ? domainOf(userId) : undefined;
  if (server === undefined) return false;
  return plainIsSigned(event.pdu, server, keys(server), plainSignedBytes(event.version, event.pdu));
}

/** 5.3 "If `membership` is `join`:" */
function refusalOfJoin(event: PlainEvent, stateKey: string, { state, create }: Room): string | undefined {
  // 5.3.1 "If the only previous event is an `m.room.create` and the `state_key` is the creator" (v11: "is the sender of
  // the `m.room.create`"), "allow."
  const creator = event.version <= 10 ? creatorsOf(create)[0] : create.sender;
  if (event.prevEvents.length === 1 && event.prevEvents[0] === create.id && stateKey === creator)
    return undefined;
  // 5.3.2 "If the `sender` does not match `state_key`, reject."
  if (event.sender !== stateKey) return 'the sender does not match state_key';
  // 5.3.3 "If the `sender` is banned, reject."
  const membership = membershipIn(state, event.sender);
  if (membership === 'ban') return 'the sender is banned';
  const joinRule = joinRuleIn(state);
  // 5.3.4 "If the `join_rule` is `invite`" (v7: "or `knock`") "then allow if membership state is `invite` or `join`."
  if (joinRule === 'invite' || (joinRule === 'knock' && event.version >= 7)) {
    if (membership === 'invite' || membership === 'join') return undefined;
  }
  // 5.3.5 v8: "If the `join_rule` is `restricted`" (v10: "or `knock_restricted`"):
  const isRestricted =
    (joinRule === 'restricted' && event.version >= 8) ||
    (joinRule === 'knock_restricted' && event.version >= 10);
  if (isRestricted) {
    // 5.3.5.1 "If membership state is `join` or `invite`, allow."
    if (membership === 'join' || membership === 'invite') return undefined;
    // 5.3.5.2 "If the `join_authorised_via_users_server` key in `content` is not a user with sufficient permission to
    // invite other users or is not a joined member of the room, reject."
    const authoriser = valueAt(event.content, 'join_authorised_via_users_server');
    if (typeof authoriser !== 'string') return 'there is no authorising user';
    if (userLevelIn(state, authoriser, create) < levelIn(state, 'invite'))
      return 'the authorising user has not sufficient permission to invite other users';
    if (membershipIn(state, authoriser) !== 'join') return 'the authorising user is not a joined member';
    // 5.3.5.3 "Otherwise, allow."
    return undefined;
  }
  // 5.3.6 "If the `join_rule` is `public`, allow."
  if (joinRule === 'public') return undefined;
  // 5.3.7 "Otherwise, reject."
  return 'the join_rule does not allow it';
}

/** 5.4 "If `membership` is `invite`:" */
function refusalOfInvite(event: PlainEvent, target: string, { state, create }: Room): string | undefined {
  // 5.4.1 "If `content` has a `third_party_invite` property:"
  const invite = valueAt(event.content, 'third_party_invite');
  if (invite !== undefined) return refusalOfThirdPartyInvite(event, { invite, target, state });
  // 5.4.2 "If the `sender`'s current membership state is not `join`, reject."
  if (membershipIn(state, event.sender) !== 'join') return "the sender's membership state is not join";
  // 5.4.3 "If target user's current membership state is `join` or `ban`, reject."
  const membership = membershipIn(state, target);
  if (membership === 'join' || membership === 'ban') return 'the target user is joined or banned';
  // 5.4.4 "If the `sender`'s power level is greater than or equal to the invite level, allow." 5.4.5 "Otherwise, reject."
  const power = userLevelIn(state, event.sender, create);
  return power >= levelIn(state, 'invite') ? undefined : 'the power level is less than the invite level';
}

function refusalOfThirdPartyInvite(
  event: PlainEvent,
  { invite, target, state }: { invite: Json; target: string; state: PlainState },
): string | undefined {
  // 5.4.1.1 "If target user is banned, reject."
  if (membershipIn(state, target) === 'ban') return 'the target user is banned';
  // 5.4.1.2 "If `content.third_party_invite` does not have a `signed` property, reject."
  const signed = valueAt(invite, 'signed');
  if (!isObject(signed)) return 'third_party_invite does not have a signed property';
  // 5.4.1.3 "If `signed` does not have `mxid` and `token` properties, reject."
  const { mxid, token } = signed;
  if (typeof mxid !== 'string' || typeof token !== 'string') return 'signed does not have mxid and token';
  // 5.4.1.4 "If `mxid` does not match `state_key`, reject."
  if (mxid !== target) return 'mxid does not match state_key';
  // 5.4.1.5 "If there is no `m.room.third_party_invite` event in the current room state with `state_key` matching
  // `token`, reject."
  const issued = state.get(keyOf('m.room.third_party_invite', token));
  if (issued === undefined) return 'there is no m.room.third_party_invite event';
  // 5.4.1.6 "If `sender` does not match `sender` of the `m.room.third_party_invite`, reject."
  if (event.sender !== issued.sender) return 'the sender does not match';
  // 5.4.1.7 "If any signature in `signed` matches any public key in the `m.room.third_party_invite` event, allow."
  // "1. A single public key in the `public_key` property. 2. A list of public keys in the `public_keys` property."
  const listed = issued.content.public_keys;
  const publicKeys = [
    issued.content.public_key,
    ...(Array.isArray(listed) ? listed.map((item: Json) => valueAt(item, 'public_key')) : []),
  ];
  const bytes = plainCanonical(without(signed, ['signatures', 'unsigned']));
  const signers = isObject(signed.signatures) ? Object.keys(signed.signatures) : [];
  for (const publicKey of publicKeys) {
    if (typeof publicKey !== 'string') continue;
    if (signers.some((signer) => plainIsSigned(signed, signer, publicKey, bytes))) return undefined;
  }
  // 5.4.1.8 "Otherwise, reject."
  return 'no signature matches a public key';
}

/** 5.5 "If `membership` is `leave`:" */
function refusalOfLeave(event: PlainEvent, target: string, { state, create }: Room): string | undefined {
  const before = membershipIn(state, event.sender);
  // 5.5.1 "If the `sender` matches `state_key`, allow if and only if that user's current membership state is `invite`,
  // `join`" (v7: "or `knock`").
  if (event.sender === target) {
    const may = before === 'invite' || before === 'join' || (before === 'knock' && event.version >= 7);
    return may ? undefined : 'there is nothing to leave';
  }
  // 5.5.2 "If the `sender`'s current membership state is not `join`, reject."
  if (before !== 'join') return "the sender's membership state is not join";
  // 5.5.3 "If the target user's current membership state is `ban`, and the `sender`'s power level is less than the ban
  // level, reject."
  const power = userLevelIn(state, event.sender, create);
  if (membershipIn(state, target) === 'ban' && power < levelIn(state, 'ban'))
    return 'the power level is less than the ban level';
  // 5.5.4 "If the `sender`'s power level is greater than or equal to the kick level, and the target user's power level is
  // less than the `sender`'s power level, allow." 5.5.5 "Otherwise, reject."
  const may = power >= levelIn(state, 'kick') && userLevelIn(state, target, create) < power;
  return may ? undefined : 'the power level does not allow to kick';
}

/** 5.6 "If `membership` is `ban`:" */
function refusalOfBan(event: PlainEvent, target: string, { state, create }: Room): string | undefined {
  // 5.6.1 "If the `sender`'s current membership state is not `join`, reject."
  if (membershipIn(state, event.sender) !== 'join') return "the sender's membership state is not join";
  // 5.6.2 "If the `sender`'s power level is greater than or equal to the ban level, and the target user's power level is
  // less than the `sender`'s power level, allow." 5.6.3 "Otherwise, reject."
  const power = userLevelIn(state, event.sender, create);
  const may = power >= levelIn(state, 'ban') && userLevelIn(state, target, create) < power;
  return may ? undefined : 'the power level does not allow to ban';
}

/** 5.7, v7: "If `membership` is `knock`:" */
function refusalOfKnock(event: PlainEvent, target: string, { state }: Room): string | undefined {
  // 5.7.1 "If the `join_rule` is anything other than `knock`" (v10: "or `knock_restricted`"), "reject."
  const joinRule = joinRuleIn(state);
  const may = joinRule === 'knock' || (joinRule === 'knock_restricted' && event.version >= 10);
  if (!may) return 'the join_rule is anything other than knock';
  // 5.7.2 "If `sender` does not match `state_key`, reject."
  if (event.sender !== target) return 'the sender does not match state_key';
  // 5.7.3 "If the `sender`'s current membership is not `ban`, `invite`, or `join`, allow." 5.7.4 "Otherwise, reject."
  const before = membershipIn(state, event.sender);
  return before === 'ban' || before === 'invite' || before === 'join'
    ? 'there is no need to knock'
    : undefined;
}

/** The join rule. Of a room without one the text says nothing: it is taken for `invite`. */
function joinRuleIn(state: PlainState): Json {
  const event = state.get(keyOf('m.room.join_rules', ''));
  const joinRule = valueAt(event?.content, 'join_rule');
  return joinRule === undefined ? 'invite' : joinRule;
}

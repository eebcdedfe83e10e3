/** https://spec.matrix.org/v1.19/client-server-api/#post_matrixclientv3createroom */

import type { FastifyInstance } from 'fastify';
import {
  badJson,
  forbidden,
  invalidParam,
  invalidRoomState,
  inviteBlocked,
  type MatrixError,
  roomInUse,
  unsupportedRoomVersion,
} from '#federation/errors.ts';
import { blocksInvites } from '#federation/invite-permission.ts';
import { planRoom } from '#federation/partners/preflight.ts';
import { belongsTo, isUserId, type RoomAlias, type UserId } from '#keys/ids.ts';
import { type JsonObject, own } from '#keys/json.ts';
import { createRoom, type NewRoom, type RoomCreation } from '#rooms/create-room.ts';
import { PRESETS } from '#rooms/initial-events.ts';
import type { MemberProfile } from '#rooms/membership-local.ts';
import { refuseAlias, restrainedRoom } from '../appservices/restraint.ts';
import { requireRequester } from '../auth/requester.ts';
import { bodyObject, optionalBoolean, optionalObject, optionalString, stringList } from '../body.ts';
import type { ServerContext } from '../context.ts';
import { inviteAddress, invitedAddresses } from '../identity/invite-address.ts';
import { joinedRoom } from '../room-params.ts';
import { inviteUser, memberProfile } from '../rooms/membership.ts';
import { encryptsRoom, refusalOfRoom } from '../rooms/room-encryption.ts';
import { refuseUnstable } from '../rooms/unstable-versions.ts';

const MOST_INVITES = 100;

/** Making of rooms. */
export function createRoomRoutes(app: FastifyInstance, ctx: ServerContext): void {
  app.post('/_matrix/client/v3/createRoom', async (request) => {
    const requester = await requireRequester(ctx, request);
    const { userId } = requester;
    ctx.limits.take('room_creation', userId);
    const body = bodyObject(request);
    const parsed = restrainedRoom(ctx, parseRoom(userId, body));
    const byAddress = invitedAddresses(ctx, own(body, 'invite_3pid'));
    if (byAddress.length > MOST_INVITES) throw invalidParam(`invite_3pid names more than ${MOST_INVITES}`);
    const alias: RoomAlias = `#${parsed.roomAliasName ?? ''}:${ctx.serverName}`;
    if (parsed.roomAliasName !== undefined) refuseAlias(ctx, requester, alias);
    const asked = { ...parsed, isEncrypted: encryptsRoom(ctx.config, parsed) };
    const unencrypted = refusalOfRoom(ctx.config, parsed);
    if (unencrypted !== undefined) throw forbidden(unencrypted);
    for (const target of asked.invite ?? []) ctx.limits.take('invite_user', target, userId);
    for (const _ of byAddress) ctx.limits.take('identity', userId);
    await refuseBlocked(ctx, userId, asked.invite ?? []);
    const wanted = await plannedRoom(ctx, asked);
    const created = await createRoom(ctx, { ...wanted, profiles: await profilesFor(ctx, wanted) });
    if (created.kind === 'refused') throw refusal(created, wanted);
    const { roomId } = created;
    const content = wanted.isDirect === true ? { is_direct: true } : {};
    const refused = (target?: UserId) => (error: unknown) => {
      ctx.log.info({ err: error, roomId, target }, 'an invitation to a new room failed');
    };
    for (const target of created.invites) {
      // One after the other: each is an event upon the one before. The room stands even if one of them fails.
      await inviteUser(ctx, userId, { roomId, target, content }).catch(refused(target));
    }
    for (const invited of byAddress) {
      const room = await joinedRoom(ctx, userId, roomId);
      await inviteAddress(ctx, userId, { room, invited, content }).catch(refused());
    }
    return { room_id: roomId };
  });
}

/** Of our own users it is known before there is a room. */
async function refuseBlocked(ctx: ServerContext, inviter: UserId, invited: readonly UserId[]): Promise<void> {
  for (const target of invited) {
    // At most a hundred, and mostly one.
    if (belongsTo(target, ctx.serverName) && (await blocksInvites(ctx.db, target, inviter)))
      throw inviteBlocked();
  }
}

function parseRoom(creator: UserId, body: JsonObject): NewRoom {
  const invite = stringList(body, 'invite');
  if (!invite.every(isUserId)) throw invalidParam('invite is not a list of user IDs');
  if (invite.length > MOST_INVITES) throw invalidParam(`invite names more than ${MOST_INVITES} users`);
  const visibility = optionalString(body, 'visibility');
  if (visibility !== undefined && visibility !== 'public' && visibility !== 'private') {
    throw invalidParam('visibility is neither public nor private');
  }
  const presetName = optionalString(body, 'preset');
  const preset = PRESETS.find((known) => known === presetName);
  if (presetName !== undefined && preset === undefined) throw invalidParam('Unknown preset');
  const initialState = own(body, 'initial_state') ?? [];
  if (!Array.isArray(initialState)) throw badJson('initial_state must be a list');
  return {
    creator,
    preset,
    visibility,
    invite,
    initialState,
    roomVersion: optionalString(body, 'room_version'),
    name: optionalString(body, 'name'),
    topic: optionalString(body, 'topic'),
    roomAliasName: optionalString(body, 'room_alias_name'),
    powerLevelContentOverride: optionalObject(body, 'power_level_content_override'),
    creationContent: optionalObject(body, 'creation_content'),
    isDirect: optionalBoolean(body, 'is_direct'),
  };
}

/**
 * The room with a version that suits those who are invited, and without encryption that nobody asked for where they
 * cannot have it; throws where there cannot be such a room.
 */
async function plannedRoom(ctx: ServerContext, asked: NewRoom): Promise<NewRoom> {
  refuseUnstable(ctx, asked.roomVersion);
  const plan = await planRoom(ctx, asked, ctx.config.defaultRoomVersion);
  switch (plan.kind) {
    case 'ok':
      return { ...asked, roomVersion: plan.roomVersion };
    case 'version':
      throw unsupportedRoomVersion(plan.version, plan.reason);
    case 'state':
      if (asked.isEncrypted === true) return plannedRoom(ctx, { ...asked, isEncrypted: false });
      throw forbidden(plan.reason);
  }
}

/** Of the creator and of the invited users of this server. */
async function profilesFor(
  ctx: ServerContext,
  { creator, invite = [] }: NewRoom,
): Promise<ReadonlyMap<UserId, MemberProfile>> {
  const ours = new Set([creator, ...invite.filter((userId) => belongsTo(userId, ctx.serverName))]);
  const entries = [...ours].map(async (userId) => [userId, await memberProfile(ctx, userId)] as const);
  return new Map(await Promise.all(entries));
}

function refusal(
  { errcode, reason }: Extract<RoomCreation, { kind: 'refused' }>,
  { roomVersion = '' }: NewRoom,
): MatrixError {
  switch (errcode) {
    case 'M_UNSUPPORTED_ROOM_VERSION':
      return unsupportedRoomVersion(roomVersion);
    case 'M_INVALID_ROOM_STATE':
      return reason.includes('canonical JSON') ? badJson(reason) : invalidRoomState(reason);
    case 'M_ROOM_IN_USE':
      return roomInUse(reason);
    case 'M_INVALID_PARAM':
      return invalidParam(reason);
    case 'M_FORBIDDEN':
      return forbidden(reason);
    case 'M_BAD_JSON':
      return badJson(reason);
  }
}

/**
 * Invitations to an e-mail address or the like: https://spec.matrix.org/v1.19/client-server-api/#third-party-invites
 *
 * 1. The identity server is asked whose the address is. Where it is somebody's, they are invited as anybody is.
 * 2. Where it is nobody's yet, the identity server keeps the invitation and writes to the address; the room gets an
 *    `m.room.third_party_invite` with the keys by which the identity server will vouch for whoever the address is.
 * 3. What follows is in `federation/handshakes/third-party-invite.ts`.
 */

import { forbidden, invalidParam, threepidDenied } from '#federation/errors.ts';
import {
  type Address,
  type IdentityAccess,
  type InviteFacts,
  lookup,
  type StoredInvite,
  storeInvite,
} from '#federation/remote/identity.ts';
import type { UserId } from '#keys/ids.ts';
import { isObject, type Json, type JsonObject, stringAt } from '#keys/json.ts';
import { powerOf } from '#rooms/power.ts';
import type { Room } from '#rooms/room.ts';
import { currentStateEvents } from '#rooms/state.ts';
import type { ServerContext } from '../context.ts';
import { inviteOther, memberProfile } from '../rooms/membership.ts';
import { sendForClient } from '../sending/sent.ts';
import { addressIn, identityAccess, identityFailure } from './access.ts';

/** An address, and the identity server by which it is invited. */
export type InvitedAddress = Address & IdentityAccess;

/** The state that decides who may invite, and what the identity server writes to the address. */
const STATE = [
  ...['m.room.create', 'm.room.power_levels', 'm.room.name', 'm.room.avatar'],
  ...['m.room.canonical_alias', 'm.room.join_rules'],
].map((type) => ({ type, stateKey: '' }));

/** What a body says of whom to invite; throws where no identity server is asked, or not this one. */
export function invitedAddress(ctx: ServerContext, body: JsonObject): InvitedAddress {
  if (ctx.config.identityServers.length === 0) throw threepidDenied('This server invites by user ID only');
  return { ...addressIn(body), ...identityAccess(ctx, body) };
}

/** The `invite_3pid` of a new room. */
export function invitedAddresses(ctx: ServerContext, list: Json | undefined): InvitedAddress[] {
  if (!Array.isArray(list)) return [];
  return list.map((item) => {
    if (!isObject(item)) throw invalidParam('invite_3pid is not a list of objects');
    return invitedAddress(ctx, item);
  });
}

/** Invites whom an address belongs to, now or later. `content` is of the invitation, where it can be sent now. */
export async function inviteAddress(
  ctx: ServerContext,
  sender: UserId,
  { room, invited, content }: { room: Room; invited: InvitedAddress; content: JsonObject },
): Promise<void> {
  const facts = await factsOf(ctx, room, sender);
  const found = await lookup(ctx, invited, invited);
  if (found.kind === 'failed') throw identityFailure(found);
  const target = found.value;
  if (target !== undefined) return inviteOther(ctx, sender, { roomId: room.roomId, target, content });
  const stored = await storeInvite(ctx, invited, invited, facts);
  if (stored.kind === 'failed') throw identityFailure(stored);
  const { token } = stored.value;
  const type = 'm.room.third_party_invite';
  await sendForClient(ctx, {
    ...{ roomId: room.roomId, sender, type, stateKey: token, content: contentOf(stored.value) },
  });
}

/**
 * What the identity server is told; throws where the user may not invite to the room: nobody is then told of the
 * address.
 */
async function factsOf(ctx: ServerContext, room: Room, sender: UserId): Promise<InviteFacts> {
  const { roomId, roomNid } = room;
  const state = new Map(
    (await currentStateEvents(ctx, roomNid, STATE)).map(({ event }) => [event.type, event]),
  );
  const power = powerOf(state.get('m.room.create'), state.get('m.room.power_levels'));
  if (power.of(sender) < power.invite) throw forbidden('The sender may not invite');
  const text = (type: string, key: string) => stringAt(state.get(type)?.content ?? {}, key);
  const { displayname, avatar_url: avatarUrl } = await memberProfile(ctx, sender);
  const known = {
    room_name: text('m.room.name', 'name'),
    room_avatar_url: text('m.room.avatar', 'url'),
    room_alias: text('m.room.canonical_alias', 'alias'),
    room_join_rules: text('m.room.join_rules', 'join_rule'),
    room_type: text('m.room.create', 'type'),
    sender_display_name: displayname,
    sender_avatar_url: avatarUrl,
  };
  const facts: Record<string, string> = {};
  for (const [key, value] of Object.entries(known)) {
    if (typeof value === 'string' && value !== '') facts[key] = value;
  }
  return { ...facts, room_id: roomId, sender };
}

/** https://spec.matrix.org/v1.19/client-server-api/#mroomthird_party_invite */
function contentOf({ displayName, keys }: StoredInvite): JsonObject {
  const named = keys.map(({ publicKey, validityUrl }) => ({
    public_key: publicKey,
    ...(validityUrl !== undefined && { key_validity_url: validityUrl }),
  }));
  // "public_key" and "key_validity_url" beside the list: as before there was one, and still required.
  const [first] = named;
  return { display_name: displayName, ...first, public_keys: named };
}

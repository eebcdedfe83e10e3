/** What we take of a template that another server gives, and what of an answer to the finished event: next to nothing. */

import { isUserId, type RoomId, type ServerName, type UserId } from '#keys/ids.ts';
import { type JsonObject, objectAt, own, stringAt } from '#keys/json.ts';
import { MAX_EVENT_DEPTH } from '#rooms/depth.ts';
import { type References, readReferences } from '#rooms/references.ts';
import { type RoomVersionRules, supportedRulesOf } from '#rooms/versions.ts';
import type { FederationFailure } from '../client.ts';
import type { FederationContext } from '../context.ts';
import type { Template } from '../remote/memberships.ts';

/** Why another server could not be used for a handshake. */
export type HandshakeFailure =
  /** The room, or the server for it, refuses: the same everywhere, or at this server only. */
  | { readonly kind: 'forbidden'; readonly reason: string }
  | { readonly kind: 'not_found'; readonly reason: string }
  /** The user takes no invitations. */
  | { readonly kind: 'invite_blocked'; readonly reason: string }
  /** We do not know the room's version. */
  | { readonly kind: 'incompatible'; readonly roomVersion: string; readonly reason: string }
  /** No answer, or none that makes sense. */
  | { readonly kind: 'unreachable'; readonly reason: string };

/** What is the other server's to say. */
export interface TemplateParts {
  readonly rules: RoomVersionRules;
  readonly references: References;
  readonly depth: number;
  /** Only for joins: who lets the user into a restricted room. */
  readonly authoriser: UserId | undefined;
}

/**
 * Reads a template: "Before signing the returned template [...] the sending server MUST verify that" it is of the
 * room, the user, the type and the membership that were asked for.
 */
export function readTemplate(
  { roomVersion, event }: Template,
  expected: {
    readonly roomId: RoomId;
    readonly userId: UserId;
    readonly membership: 'join' | 'leave' | 'knock';
  },
): { readonly kind: 'ok'; readonly parts: TemplateParts } | HandshakeFailure {
  // "If not provided, the room version is assumed to be either "1" or "2"."
  const version = roomVersion ?? '1';
  const rules = supportedRulesOf(version);
  if (rules === undefined) return incompatible(version);
  const content = objectAt(event, 'content') ?? {};
  const isOurs =
    stringAt(event, 'type') === 'm.room.member' &&
    stringAt(event, 'room_id') === expected.roomId &&
    stringAt(event, 'sender') === expected.userId &&
    stringAt(event, 'state_key') === expected.userId &&
    stringAt(content, 'membership') === expected.membership;
  // "room_version: required": without one it is a version that knows no knocking.
  if (expected.membership === 'knock' && !rules.knocking) return incompatible(version);
  const references = readReferences(event, rules);
  const depth = depthIn(event);
  if (!isOurs || references.prevEvents.length === 0 || depth === undefined) {
    return { kind: 'unreachable', reason: 'The server gave a template of another event' };
  }
  const named = own(content, 'join_authorised_via_users_server');
  const authoriser = rules.restrictedJoins && isUserId(named) ? named : undefined;
  return { kind: 'ok', parts: { rules, references, depth, authoriser } };
}

/** Our name, where the event must say it for this server to take it. */
export function originFor(
  ctx: Pick<FederationContext, 'serverName' | 'partners'>,
  server: ServerName,
): ServerName | undefined {
  return ctx.partners.profileOf(server).quirks.has('origin_in_handshakes') ? ctx.serverName : undefined;
}

/** A depth beyond 2^53 - 1, as versions 1 to 5 allow it, was read as the nearest double. */
function depthIn(template: JsonObject): number | undefined {
  const depth = own(template, 'depth');
  const isDepth = typeof depth === 'number' && Number.isInteger(depth) && depth >= 0;
  return isDepth ? Math.min(depth, MAX_EVENT_DEPTH) : undefined;
}

/** What a refusal of another server means for the user who waits. */
export function handshakeFailure(failed: FederationFailure): HandshakeFailure {
  const { status, errcode, message } = failed;
  if (errcode === 'M_INCOMPATIBLE_ROOM_VERSION') {
    return incompatible(stringAt(failed.body ?? {}, 'room_version') ?? 'unknown');
  }
  if (errcode === 'M_INVITE_BLOCKED') return { kind: 'invite_blocked', reason: message };
  if (failed.reason === 'not_a_partner') return { kind: 'forbidden', reason: message };
  if (status === 404) return { kind: 'not_found', reason: message };
  if (status === 403) return { kind: 'forbidden', reason: message };
  // M_UNABLE_TO_AUTHORISE_JOIN and M_UNABLE_TO_GRANT_JOIN: this server cannot let the user in.
  if (errcode?.startsWith('M_UNABLE_TO_') === true) return { kind: 'forbidden', reason: message };
  return { kind: 'unreachable', reason: message };
}

/**
 * Our own event with the signatures that a server has added to its copy of it. Nothing else is taken from the copy.
 */
export function withSignatureOf(ours: JsonObject, copy: JsonObject, server: ServerName): JsonObject {
  const added = objectAt(objectAt(copy, 'signatures') ?? {}, server);
  if (added === undefined) return ours;
  return { ...ours, signatures: { ...objectAt(ours, 'signatures'), [server]: added } };
}

function incompatible(roomVersion: string): HandshakeFailure {
  const reason = `This server does not support room version ${roomVersion}`;
  return { kind: 'incompatible', roomVersion, reason };
}

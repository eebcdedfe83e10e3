/**
 * Which rooms the users of a server can be in, by its profile; and what to say where they cannot: why, and what would
 * do instead. Pure.
 */

import type { ServerName } from '#keys/ids.ts';
import { type JsonObject, stringAt } from '#keys/json.ts';
import { SUPPORTED_VERSIONS } from '#rooms/versions.ts';
import type { Partner } from './partner.ts';
import { PROFILES } from './profiles.ts';
import type { ServerProfile } from './registry.ts';

/** A server whose users are, or are to be, in a room. */
export interface Participant {
  readonly server: ServerName;
  readonly profile: ServerProfile;
}

/** What of a room's state decides who can be in it. */
export interface RoomTraits {
  readonly version: string;
  readonly encrypted: boolean;
  readonly joinRule: string;
  readonly historyVisibility: string;
}

/** A state event that somebody is about to send. */
export interface StateChange {
  readonly type: string;
  readonly stateKey: string;
  readonly content: JsonObject;
}

/** The types of state events by which a room can become one that a server cannot be in. */
export const DECIDING_TYPES: ReadonlySet<string> = new Set([
  'm.room.encryption',
  'm.room.join_rules',
  'm.room.history_visibility',
  'm.room.third_party_invite',
]);

/** Why users of a server cannot be invited to a room. `version`: for its version, the one thing that never changes. */
export function misfit(
  { server, profile }: Participant,
  room: RoomTraits,
): { readonly kind: 'version' | 'state'; readonly reason: string } | undefined {
  const who = nameOf({ server, profile });
  if (!profile.versions.includes(room.version)) {
    return {
      kind: 'version',
      reason: `${versionsText({ server, profile })}, and this room has version ${room.version}. ${NEW_ROOM}`,
    };
  }
  if (room.encrypted && !profile.encryption) {
    return {
      kind: 'state',
      reason: `The users of ${who} cannot read encrypted messages, and encryption cannot be turned off. Make a room without encryption for them`,
    };
  }
  const change = misfitOfRules({ server, profile }, room);
  return change === undefined ? undefined : { kind: 'state', reason: change };
}

/** Why a state event does not do in a room with users of a server. */
export function misfitOfChange(participant: Participant, change: StateChange): string | undefined {
  const { profile } = participant;
  const who = nameOf(participant);
  switch (change.type) {
    case 'm.room.encryption':
      if (profile.encryption) return undefined;
      return `This room has users of ${who}, who cannot read encrypted messages. Make another room for them, or for what is to be encrypted`;
    case 'm.room.join_rules': {
      const joinRule = stringAt(change.content, 'join_rule') ?? 'invite';
      return profile.joinRules.includes(joinRule) ? undefined : ruleText(participant, joinRule);
    }
    case 'm.room.history_visibility': {
      const visibility = stringAt(change.content, 'history_visibility') ?? 'shared';
      return profile.historyVisibilities.includes(visibility)
        ? undefined
        : visibilityText(participant, visibility);
    }
    case 'm.room.third_party_invite':
      if (profile.thirdPartyInvites) return undefined;
      return `This room has users of ${who}, to whom invitations by e-mail mean nothing. Invite by user id`;
    default:
      return undefined;
  }
}

/** Why a room cannot be replaced by one of another version, with users of a server in it. */
export function misfitOfUpgrade(participant: Participant, newVersion: string): string | undefined {
  if (participant.profile.versions.includes(newVersion)) return undefined;
  return `This room has users of ${nameOf(participant)}: ${versionsText(participant)}. Leave the room as it is, or ask them to leave first`;
}

/**
 * The newest room version, up to `most`, that users of all these servers can be in; else why there is none. Versions
 * before 6 are not picked: a server that claims to know no other could else have rooms made with their weaknesses.
 */
export function versionFor(
  participants: readonly Participant[],
  most: string,
): { readonly kind: 'ok'; readonly version: string } | { readonly kind: 'none'; readonly reason: string } {
  const last = SUPPORTED_VERSIONS.indexOf(most);
  // The installation may have chosen an older one.
  const first = Math.min(SUPPORTED_VERSIONS.indexOf(OLDEST_PICKED), last);
  const range = SUPPORTED_VERSIONS.slice(first, last + 1);
  const version = range.findLast((each) =>
    participants.every(({ profile }) => profile.versions.includes(each)),
  );
  if (version !== undefined) return { kind: 'ok', version };
  const each = participants.map(versionsText).join('; ');
  return {
    kind: 'none',
    reason: `There is no room version from ${range[0]} to ${most} that all who are invited can be in: ${each}. Make a room for each, or ask for a version`,
  };
}

/** Why a new account should not have a name, for the sake of partners whose users could not invite it. */
export function misfitOfUserName(partners: readonly Partner[], localpart: string): string | undefined {
  if (PLAIN_NAME.test(localpart)) return undefined;
  const partner = partners.find(
    ({ profile }) => profile !== undefined && PROFILES[profile].quirks.has('plain_user_names'),
  );
  if (partner === undefined) return undefined;
  return `Users of ${partner.name} could not invite somebody of this name. Use a-z, 0-9 and . _ - only`;
}

/** A server with what it is: `chat.example.org (Rocket.Chat)`. */
export function nameOf({ server, profile }: Participant): string {
  return profile.source === 'default' ? server : `${server} (${profile.title})`;
}

/** Other characters only as `=` and two hexadecimal digits. */
const PLAIN_NAME = /^(?:[a-z0-9._-]|=[0-9a-f]{2})+$/;
const OLDEST_PICKED = '6';
const NEW_ROOM =
  'Make a new room, and invite them as you make it: a version that all can be in is picked then';

function misfitOfRules(participant: Participant, room: RoomTraits): string | undefined {
  const { profile } = participant;
  if (!profile.joinRules.includes(room.joinRule)) return ruleText(participant, room.joinRule);
  if (!profile.historyVisibilities.includes(room.historyVisibility)) {
    return visibilityText(participant, room.historyVisibility);
  }
  return undefined;
}

function versionsText(participant: Participant): string {
  const { versions } = participant.profile;
  const list =
    versions.length === 0 ? 'no room version that is known here' : `rooms of version ${oneOf(versions)} only`;
  return `The users of ${nameOf(participant)} can be in ${list}`;
}

function ruleText(participant: Participant, joinRule: string): string {
  const { joinRules } = participant.profile;
  return `The users of ${nameOf(participant)} cannot be in rooms with the join rule "${joinRule}". Use "${joinRules[0] ?? 'invite'}"`;
}

function visibilityText(participant: Participant, visibility: string): string {
  const { historyVisibilities } = participant.profile;
  return `${nameOf(participant)} does not keep to the history visibility "${visibility}". Use ${historyVisibilities.map((each) => `"${each}"`).join(' or ')}`;
}

function oneOf(words: readonly string[]): string {
  return words.length < 2 ? words.join('') : `${words.slice(0, -1).join(', ')} or ${words.at(-1)}`;
}

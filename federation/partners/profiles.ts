/**
 * What kinds of servers can and cannot do, as data. Code asks for a property, never for a profile's name.
 *
 * The facts of `rocketchat` are those of its releases up to 8.6 (room version 10 only) and of the ones after, which
 * say by `make_join` that they know the versions 4 to 11.
 */

import { SUPPORTED_VERSIONS } from '#rooms/versions.ts';

export const PROFILE_NAMES = ['kurir', 'synapse', 'strict', 'rocketchat'] as const;
export type ProfileName = (typeof PROFILE_NAMES)[number];

/** What only some servers do, with what it means for whoever works with them. */
export const QUIRKS = {
  joins_through_creator:
    'joins and leaves go through the server that the room id names, and through no other',
  joins_by_invitation: 'only invited users can join its rooms, also the public ones',
  origin_in_handshakes: 'joins and leaves must name the server of the user',
  plain_user_names: 'users with other characters than a-z 0-9 . _ - = in their names cannot be invited by it',
  one_key:
    'it knows one signing key at a time: after a change of ours it cannot verify what the old one signed',
  names_without_port: 'a server name with a port leads it to another host',
} as const;

export type Quirk = keyof typeof QUIRKS;

export interface Profile {
  readonly name: ProfileName;
  /** For people: `Rocket.Chat`. */
  readonly title: string;
  /** The room versions that its users can be in for certain, while nothing is known of the server itself. */
  readonly allowedVersions: readonly string[];
  /** Those of what the server itself says that are believed. */
  readonly believedVersions: readonly string[];
  /** Whether its users can be in encrypted rooms. */
  readonly encryption: boolean;
  /** The join rules of rooms that it takes part in. */
  readonly joinRules: readonly string[];
  /** The history visibilities that it keeps to. */
  readonly historyVisibilities: readonly string[];
  /** Whether third-party invites mean anything to it. */
  readonly thirdPartyInvites: boolean;
  /** How it is brought up to date after an outage (see `FederationContext.replayOf`). */
  readonly replay: 'full' | 'latest';
  /** Whether the limits on what one server may ask do not hold for it, since its way of working exceeds them. */
  readonly rateExempt: boolean;
  readonly quirks: ReadonlySet<Quirk>;
}

const JOIN_RULES = ['public', 'invite', 'private', 'knock', 'restricted', 'knock_restricted'];
const HISTORY_VISIBILITIES = ['world_readable', 'shared', 'invited', 'joined'];

const kurir: Profile = {
  name: 'kurir',
  title: 'Kurir',
  allowedVersions: SUPPORTED_VERSIONS,
  believedVersions: SUPPORTED_VERSIONS,
  encryption: true,
  joinRules: JOIN_RULES,
  historyVisibilities: HISTORY_VISIBILITIES,
  thirdPartyInvites: true,
  replay: 'latest',
  rateExempt: false,
  quirks: new Set(),
};

const synapse: Profile = { ...kurir, name: 'synapse', title: 'Synapse' };

/** Closed federations such as the TI-Messenger's: few room versions, and no rooms that strangers can enter or read. */
const strict: Profile = {
  ...kurir,
  name: 'strict',
  title: 'strict',
  allowedVersions: ['9', '10'],
  joinRules: JOIN_RULES.filter((rule) => rule !== 'public'),
  historyVisibilities: HISTORY_VISIBILITIES.filter((visibility) => visibility !== 'world_readable'),
  thirdPartyInvites: false,
};

const rocketchat: Profile = {
  name: 'rocketchat',
  title: 'Rocket.Chat',
  allowedVersions: ['10'],
  believedVersions: ['4', '5', '6', '7', '8', '9', '10', '11'],
  encryption: false,
  joinRules: ['invite', 'private', 'knock'],
  historyVisibilities: ['shared'],
  thirdPartyInvites: false,
  replay: 'full',
  rateExempt: true,
  quirks: new Set<Quirk>([
    'joins_through_creator',
    'joins_by_invitation',
    'origin_in_handshakes',
    'plain_user_names',
    'one_key',
    'names_without_port',
  ]),
};

/** The profiles by their names. */
export const PROFILES: Readonly<Record<ProfileName, Profile>> = Object.freeze({
  kurir,
  synapse,
  strict,
  rocketchat,
});

/** Of a server that nothing is known of: what the specification asks of every server. */
export const DEFAULT_PROFILE = kurir;

/** True for the name of a profile. */
export function isProfileName(value: unknown): value is ProfileName {
  return PROFILE_NAMES.some((name) => name === value);
}

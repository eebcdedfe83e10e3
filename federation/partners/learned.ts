/** What a server gives away of itself, and what follows from it. Pure. */

import type { ServerName } from '#keys/ids.ts';
import { SUPPORTED_VERSIONS } from '#rooms/versions.ts';
import type { LearnedRow } from '#storage/learned-servers.ts';
import { isProfileName, type ProfileName } from './profiles.ts';

export type Fact =
  /** The `ver` list of its make_join. */
  | { readonly kind: 'knows_versions'; readonly versions: readonly string[] }
  /** It refused an invitation to a room of this version for that version. */
  | { readonly kind: 'refuses_version'; readonly version: string }
  /** The name that its `version` answers with; undefined where it gives none. */
  | { readonly kind: 'software'; readonly name: string | undefined }
  /** `user/devices` is answered with 501, as Rocket.Chat does and nobody else. */
  | { readonly kind: 'has_no_devices' };

export interface Learned extends LearnedRow {
  readonly profile: ProfileName | undefined;
}

const LONGEST_SOFTWARE = 60;

/** Names of software, in lower case and without what is between the words. */
const PROFILE_OF_SOFTWARE: ReadonlyMap<string, ProfileName> = new Map([
  ['kurir', 'kurir'],
  ['synapse', 'synapse'],
  ['rocketchat', 'rocketchat'],
]);

/** What is known with one fact more; `before` itself where it says nothing new. */
export function learnedWith(
  before: Learned | undefined,
  server: ServerName,
  fact: Fact,
  now: number,
): Learned {
  const known: Learned = before ?? unknownServer(server);
  switch (fact.kind) {
    case 'knows_versions': {
      const versions = SUPPORTED_VERSIONS.filter((version) => fact.versions.includes(version));
      const refused = known.refused.filter((version) => !versions.includes(version));
      if (sameList(versions, known.versions) && sameList(refused, known.refused)) return known;
      return { ...known, versions, refused, learnedTs: now };
    }
    case 'refuses_version':
      if (!SUPPORTED_VERSIONS.includes(fact.version) || known.refused.includes(fact.version)) return known;
      return { ...known, refused: [...known.refused, fact.version], learnedTs: now };
    case 'software': {
      const software = fact.name?.slice(0, LONGEST_SOFTWARE);
      // A server that has been replaced by another software is another server.
      const isAnother = known.software !== undefined && software !== undefined && software !== known.software;
      const kept = isAnother ? unknownServer(server) : known;
      const profile = profileOfSoftware(software) ?? kept.profile;
      return { ...kept, profile, software, askedTs: now, learnedTs: now };
    }
    case 'has_no_devices':
      if (known.profile !== undefined) return known;
      return { ...known, profile: 'rocketchat', learnedTs: now };
  }
}

/** What was stored, as far as it still makes sense. */
export function learnedFrom(row: LearnedRow): Learned {
  return { ...row, profile: isProfileName(row.profile) ? row.profile : undefined };
}

/** The profile that a software's name stands for. */
export function profileOfSoftware(software: string | undefined): ProfileName | undefined {
  const words = software?.toLowerCase().replaceAll(/[^a-z]/g, '') ?? '';
  return [...PROFILE_OF_SOFTWARE].find(([name]) => words.startsWith(name))?.[1];
}

function unknownServer(server: ServerName): Learned {
  return {
    server,
    profile: undefined,
    software: undefined,
    versions: undefined,
    refused: [],
    askedTs: 0,
    learnedTs: 0,
  };
}

function sameList(a: readonly string[], b: readonly string[] | undefined): boolean {
  return b !== undefined && a.length === b.length && a.every((item, index) => item === b[index]);
}

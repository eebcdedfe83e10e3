/** The options about users and groups that a directory keeps by SCIM. Part of the table of `config-options.ts`. */

import { LOCALPART } from '../scim/template.ts';
import { flagKind, listKind, type Option, textKind } from './config-types.ts';

const LEAST_CHARACTERS = 16;

export interface ScimConfig {
  readonly scimToken: readonly string[] | undefined;
  readonly scimTokenFile: string | undefined;
  /** Templates, each with `{localpart}` once. */
  readonly scimUserName: readonly string[];
  readonly scimAdopt: boolean;
  readonly scimErase: boolean;
}

export const scimOptions: { readonly [Name in keyof ScimConfig]: Option<NonNullable<ScimConfig[Name]>> } = {
  scimToken: {
    key: 'scim_token',
    kind: listKind(
      `secrets of ${LEAST_CHARACTERS} characters or more`,
      (text) => text.length >= LEAST_CHARACTERS && /^\S+$/.test(text),
    ),
    default: undefined,
    describes:
      'Turns on SCIM at `/scim/v2`, by which a directory that knows this token makes, changes and ends accounts, and ' +
      'says who is in which group. Several are accepted at a time, so that one can take the place of another. In the ' +
      'environment several are divided by commas. See [SCIM](scim.md).',
    secret: true,
  },
  scimTokenFile: {
    key: 'scim_token_file',
    kind: textKind('the path of a file'),
    default: undefined,
    describes:
      'The same from a file, one token a line. What is written to it counts at once, without a restart.',
  },
  scimUserName: {
    key: 'scim_user_name',
    kind: listKind(
      'texts with {localpart} in them once, such as {localpart}@example.org',
      (text) => text.split(LOCALPART).length === 2,
    ),
    default: [LOCALPART],
    describes:
      'What user names of the directory look like, and which part of them becomes the Matrix user id when an account ' +
      'is made. The first that fits counts. An id is never changed, and never given to somebody else.',
  },
  scimAdopt: {
    key: 'scim_adopt',
    kind: flagKind,
    default: false,
    describes:
      'Lets the directory take over accounts that were there before it: a user of the directory whose user id is ' +
      'taken then gets that account. Off, such a user is refused.',
  },
  scimErase: {
    key: 'scim_erase',
    kind: flagKind,
    default: false,
    describes:
      'Whether what users wrote is withheld, once the directory deletes them, from those who come into the room later.',
  },
};

/** The values of these options. */
export function scimConfig(
  read: <T>(option: Option<T>) => T | undefined,
  required: <T>(option: Option<T>) => T,
): ScimConfig {
  return {
    scimToken: read(scimOptions.scimToken),
    scimTokenFile: read(scimOptions.scimTokenFile),
    scimUserName: required(scimOptions.scimUserName),
    scimAdopt: required(scimOptions.scimAdopt),
    scimErase: required(scimOptions.scimErase),
  };
}

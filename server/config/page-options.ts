/** The options about the pages on which people sign in and keep their account. Part of the table of `config-options.ts`. */

import { type Language, languages } from '../languages/choose.ts';
import { choiceKind, flagKind, type Option } from './config-types.ts';

const secondFactors = ['off', 'optional', 'required'] as const;

export interface PageConfig {
  readonly defaultLanguage: Language;
  readonly secondFactor: (typeof secondFactors)[number];
  readonly legacyLoginWithoutSecondFactor: boolean;
}

export const pageOptions: { readonly [Name in keyof PageConfig]: Option<PageConfig[Name]> } = {
  defaultLanguage: {
    key: 'default_language',
    kind: choiceKind(languages),
    default: 'en',
    describes:
      'The language of the pages and letters of this server for those whose browser asks for none of English, Swedish, ' +
      'German and French.',
  },
  secondFactor: {
    key: 'second_factor',
    kind: choiceKind(secondFactors),
    default: 'optional',
    describes:
      'Whether people who sign in by password on the page of this server show a second factor, an app with codes or a ' +
      'passkey: nobody (`off`), those who have set one up (`optional`), or all (`required`: who has none sets one up ' +
      'when signing in). Passkeys need a `public_baseurl` of https. Those whom an identity provider signs in show what ' +
      'it asks for.',
  },
  legacyLoginWithoutSecondFactor: {
    key: 'legacy_login_without_second_factor',
    kind: flagKind,
    default: false,
    describes:
      'Lets clients that know no sign-in by web page sign in by the password alone, also where a second factor is ' +
      'needed: whoever has the password then gets in.',
  },
};

/** The values of these options. */
export function pageConfig(required: <T>(option: Option<T>) => T): PageConfig {
  return {
    defaultLanguage: required(pageOptions.defaultLanguage),
    secondFactor: required(pageOptions.secondFactor),
    legacyLoginWithoutSecondFactor: required(pageOptions.legacyLoginWithoutSecondFactor),
  };
}

/**
 * The attributes of users and groups, in one table: from it come `/Schemas`, what is taken from requests, and how
 * filters compare. Only what this server has a use for is kept of a person.
 *
 * https://www.rfc-editor.org/rfc/rfc7643#section-7
 */

export interface Attribute {
  readonly name: string;
  readonly type: 'string' | 'boolean' | 'complex' | 'reference' | 'dateTime';
  readonly description: string;
  readonly multiValued?: true;
  readonly required?: true;
  readonly caseExact?: true;
  readonly mutability?: 'readOnly' | 'readWrite' | 'immutable' | 'writeOnly';
  readonly returned?: 'always' | 'never' | 'default';
  readonly uniqueness?: 'server';
  readonly canonicalValues?: readonly string[];
  readonly referenceTypes?: readonly string[];
  readonly subAttributes?: readonly Attribute[];
}

/** A type of resource. */
export interface Model {
  readonly name: 'User' | 'Group';
  readonly endpoint: '/Users' | '/Groups';
  readonly description: string;
  readonly schema: string;
  /** Those of the schema, as it is published. */
  readonly attributes: readonly Attribute[];
  /** The same and the common ones, by the name in lower case. */
  readonly byName: ReadonlyMap<string, Attribute>;
  /** What RFC 7643 has and is not kept, in lower case: it may be sent, and is passed over. */
  readonly passedOver: ReadonlySet<string>;
}

export const USER_SCHEMA = 'urn:ietf:params:scim:schemas:core:2.0:User';
export const GROUP_SCHEMA = 'urn:ietf:params:scim:schemas:core:2.0:Group';

const id: Attribute = {
  ...{ name: 'id', type: 'string', description: 'Given by this server, for good.' },
  ...{ caseExact: true, mutability: 'readOnly', returned: 'always', uniqueness: 'server' },
};
const externalId: Attribute = {
  ...{ name: 'externalId', type: 'string', caseExact: true },
  description: 'The id that the provider of identities has for it.',
};
const meta: Attribute = {
  ...{ name: 'meta', type: 'complex', mutability: 'readOnly', description: 'When and what.' },
  subAttributes: [
    { name: 'resourceType', type: 'string', description: 'User or Group.', caseExact: true },
    { name: 'created', type: 'dateTime', description: 'When it was made.' },
    { name: 'lastModified', type: 'dateTime', description: 'When it was last changed.' },
    { name: 'location', type: 'reference', description: 'Where it is.', caseExact: true },
    { name: 'version', type: 'string', description: 'Its ETag.', caseExact: true },
  ],
};
const schemas: Attribute = {
  ...{ name: 'schemas', type: 'reference', multiValued: true, mutability: 'readOnly', returned: 'always' },
  description: 'The schemas of the resource.',
};

const nameParts: readonly Attribute[] = [
  { name: 'formatted', type: 'string', description: 'The full name.' },
  { name: 'familyName', type: 'string', description: 'The family name.' },
  { name: 'givenName', type: 'string', description: 'The given name.' },
];

const userAttributes: readonly Attribute[] = [
  {
    ...{ name: 'userName', type: 'string', required: true, uniqueness: 'server' },
    description:
      'The name in the directory. When the user is made, the Matrix user id is made of it, for good.',
  },
  {
    ...{ name: 'name', type: 'complex', subAttributes: nameParts },
    description: 'The parts of the name.',
  },
  {
    ...{ name: 'displayName', type: 'string' },
    description: 'The name that others see. Where it changes here, it changes in all rooms.',
  },
  { name: 'preferredLanguage', type: 'string', description: 'A language, such as sv or en-GB.' },
  {
    ...{ name: 'active', type: 'boolean' },
    description: 'False locks the account and ends all its sessions at once.',
  },
  {
    ...{ name: 'password', type: 'string', caseExact: true, mutability: 'writeOnly', returned: 'never' },
    description: 'Sets a password. Without one the user signs in by the provider of identities.',
  },
  {
    ...{ name: 'emails', type: 'complex', multiValued: true, description: 'E-mail addresses.' },
    subAttributes: [
      { name: 'value', type: 'string', description: 'The address.' },
      { name: 'display', type: 'string', description: 'A name for it.' },
      {
        ...{ name: 'type', type: 'string', description: 'What it is for.' },
        canonicalValues: ['work', 'home', 'other'],
      },
      { name: 'primary', type: 'boolean', description: 'True for one of them at most.' },
    ],
  },
  {
    ...{ name: 'groups', type: 'complex', multiValued: true, mutability: 'readOnly' },
    description: 'The groups that the user is in; changed by the groups.',
    subAttributes: [
      { name: 'value', type: 'string', description: 'The id of the group.', mutability: 'readOnly' },
      {
        ...{ name: '$ref', type: 'reference', description: 'Where the group is.', caseExact: true },
        ...{ mutability: 'readOnly', referenceTypes: ['Group'] },
      },
      { name: 'display', type: 'string', description: 'Its name.', mutability: 'readOnly' },
      {
        ...{ name: 'type', type: 'string', description: 'How the user is in it.', mutability: 'readOnly' },
        canonicalValues: ['direct'],
      },
    ],
  },
];

const groupAttributes: readonly Attribute[] = [
  { name: 'displayName', type: 'string', required: true, description: 'The name of the group.' },
  {
    ...{ name: 'members', type: 'complex', multiValued: true, description: 'The users in the group.' },
    subAttributes: [
      {
        ...{ name: 'value', type: 'string', description: 'The id of the user.' },
        ...{ caseExact: true, mutability: 'immutable' },
      },
      {
        ...{ name: '$ref', type: 'reference', description: 'Where the user is.', caseExact: true },
        ...{ mutability: 'immutable', referenceTypes: ['User'] },
      },
      {
        ...{ name: 'type', type: 'string', description: 'Users only.', mutability: 'immutable' },
        canonicalValues: ['User'],
      },
    ],
  },
];

/** Of RFC 7643, section 4.1, and what clients send of other schemas, all of which begin with this. */
const OTHER_USER_ATTRIBUTES =
  'nickName profileUrl title userType locale timezone phoneNumbers ims photos addresses entitlements roles x509Certificates';

export const USER: Model = {
  ...{ name: 'User', endpoint: '/Users', description: 'An account', schema: USER_SCHEMA },
  attributes: userAttributes,
  byName: namesOf([id, externalId, meta, schemas, ...userAttributes]),
  passedOver: new Set(OTHER_USER_ATTRIBUTES.toLowerCase().split(' ')),
};

export const GROUP: Model = {
  ...{ name: 'Group', endpoint: '/Groups', description: 'A group of users', schema: GROUP_SCHEMA },
  attributes: groupAttributes,
  byName: namesOf([id, externalId, meta, schemas, ...groupAttributes]),
  passedOver: new Set(),
};

const subNames = new WeakMap<Attribute, ReadonlyMap<string, Attribute>>();

/** The sub-attribute of a name, in any case. */
export function subAttribute(attribute: Attribute, name: string): Attribute | undefined {
  const known = subNames.get(attribute) ?? namesOf(attribute.subAttributes ?? []);
  subNames.set(attribute, known);
  return known.get(name.toLowerCase());
}

function namesOf(attributes: readonly Attribute[]): ReadonlyMap<string, Attribute> {
  return new Map(attributes.map((attribute) => [attribute.name.toLowerCase(), attribute]));
}

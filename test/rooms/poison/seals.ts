/** Hashes and signatures: of wrong types, padded, in the other alphabet, of others, of another event, none. */

import type { Json, JsonObject } from '#keys/json.ts';
import { countersign } from '#rooms/sign-event.ts';
import { keyPairOf } from '#test/harness/room-builder.ts';
import { type Ground, kindsBut, type OutcomeBy, type Shape } from './shape.ts';

function serverOf({ sender }: Ground): string {
  return sender.slice(sender.indexOf(':') + 1);
}

/** The signature of the sender's server, as it is in the event. */
function signatureOf(pdu: JsonObject, ground: Ground): string {
  const bySigner = pdu.signatures as { [server: string]: { [key: string]: string } };
  return Object.values(bySigner[serverOf(ground)] ?? {})[0] ?? '';
}

/** The event with other hashes, signed as it then is: only the hash is wrong with it. */
function hashes(name: string, change: (sha256: string) => Json | undefined, outcome: OutcomeBy): Shape {
  return {
    name,
    after: (pdu, ground) => {
      const { signatures: _, ...bare } = pdu;
      const changed = change(String((pdu.hashes as JsonObject).sha256));
      const { hashes: __, ...unhashed } = bare;
      const whole = changed === undefined ? unhashed : { ...unhashed, hashes: changed };
      const server = serverOf(ground);
      const signed = countersign(whole, ground.room.rules, server, keyPairOf(server));
      return { hashes: changed, signatures: signed.signatures };
    },
    outcome,
  };
}

const HASHES: readonly Shape[] = [
  hashes('hashes is missing', () => undefined, 'dropped'),
  ...kindsBut('an object').map(([kind, value]) => hashes(`hashes is ${kind}`, () => value, 'dropped')),
  hashes('hashes is empty', () => ({}), 'dropped'),
  ...kindsBut('a text', 'an empty text').map(([kind, value]) =>
    hashes(`hashes.sha256 is ${kind}`, () => ({ sha256: value }), 'dropped'),
  ),
  hashes('the hash is under another name', (sha256) => ({ md5: sha256 }), 'dropped'),
  hashes('there is another hash beside it', (sha256) => ({ sha256, md5: 'x', sha512: [] }), 'accepted'),
  hashes('the hash is empty', () => ({ sha256: '' }), 'redacted'),
  hashes('the hash is another', () => ({ sha256: 'A'.repeat(43) }), 'redacted'),
  hashes('the hash is of 31 bytes', (sha256) => ({ sha256: sha256.slice(0, 42) }), 'redacted'),
  hashes('the hash is junk', (sha256) => ({ sha256: `!!${sha256}` }), 'redacted'),
  hashes('the hash has white space', (sha256) => ({ sha256: ` ${sha256}\n` }), 'redacted'),
  hashes('the hash has half a character', (sha256) => ({ sha256: `${sha256}\ud800` }), 'dropped'),
  hashes('the hash is 60,000 bytes long', () => ({ sha256: 'A'.repeat(60_000) }), 'redacted'),
  // "Implementations SHOULD accept input with or without padding characters".
  hashes('the hash is padded', (sha256) => ({ sha256: `${sha256}=` }), 'accepted'),
  hashes('the hash is padded too much', (sha256) => ({ sha256: `${sha256}==` }), 'redacted'),
];

/** The event with other signatures. */
function signatures(
  name: string,
  change: (pdu: JsonObject, ground: Ground) => Json | undefined,
  outcome: OutcomeBy,
): Shape {
  return { name, after: (pdu, ground) => ({ signatures: change(pdu, ground) }), outcome };
}

/** The event with another text for the signature of the sender's server. */
function signature(
  name: string,
  change: (signature: string, ground: Ground) => Json,
  outcome: OutcomeBy,
): Shape {
  return signatures(
    name,
    (pdu, ground) => ({ [serverOf(ground)]: { 'ed25519:test': change(signatureOf(pdu, ground), ground) } }),
    outcome,
  );
}

const SIGNATURES: readonly Shape[] = [
  signatures('signatures is missing', () => undefined, 'dropped'),
  ...kindsBut('nothing').map(([kind, value]) => signatures(`signatures is ${kind}`, () => value, 'dropped')),
  ...kindsBut('nothing').map(([kind, value]) =>
    signatures(
      `the signatures of the sender's server are ${kind}`,
      (_, ground) => ({ [serverOf(ground)]: value }),
      'dropped',
    ),
  ),
  ...kindsBut('nothing').map(([kind, value]) =>
    signature(`the signature is ${kind}`, () => value, 'dropped'),
  ),
  ...kindsBut('an object').map(([kind, value]) =>
    signatures(
      `the signatures of another server are ${kind}`,
      (pdu) => ({ ...(pdu.signatures as JsonObject), 'other.test': value }),
      'dropped',
    ),
  ),
  signatures(
    'another server has signed as well, or so it seems',
    (pdu) => ({
      ...(pdu.signatures as JsonObject),
      'other.test': { 'ed25519:x': 'AAAA' },
      '': {},
      __proto__x: {},
    }),
    'accepted',
  ),
  signatures(
    'only another server has signed',
    (pdu, ground) => ({ 'other.test': { 'ed25519:test': signatureOf(pdu, ground) } }),
    'dropped',
  ),
  ...[
    'ed25519',
    'ed25519:',
    ':test',
    ':',
    '',
    'rsa:test',
    'ed25519:nokey',
    'ED25519:test',
    'ed25519:test:1',
    '__proto__',
  ].map((keyId) =>
    signatures(
      `the signature is by the key ${JSON.stringify(keyId)}`,
      (pdu, ground) => ({ [serverOf(ground)]: Object.fromEntries([[keyId, signatureOf(pdu, ground)]]) }),
      'dropped',
    ),
  ),
  signature('the signature is padded', (text) => `${text}==`, 'accepted'),
  signature('the signature is padded too little', (text) => `${text}=`, 'dropped'),
  signature('the signature is in the other alphabet', (text) => `_-${text.slice(2)}`, 'dropped'),
  signature('the signature is cut short', (text) => text.slice(0, 80), 'dropped'),
  signature('the signature is too long', (text) => `${text}AAAA`, 'dropped'),
  signature('the signature has junk in it', (text) => `${text.slice(0, 10)}!!${text.slice(10)}`, 'dropped'),
  signature('the signature has white space', (text) => ` ${text}`, 'dropped'),
  signature('the signature is of zeroes', () => 'A'.repeat(86), 'dropped'),
  signature(
    'the signature is another',
    (text) => `${text.startsWith('A') ? 'B' : 'A'}${text.slice(1)}`,
    'dropped',
  ),
  signature('the signature is 50,000 bytes long', () => 'A'.repeat(50_000), 'dropped'),
];

/** What is changed when the event has been signed. */
const ALTERED: readonly Shape[] = [
  {
    name: 'the depth is changed behind the signature',
    after: (pdu) => ({ depth: Number(pdu.depth) + 1 }),
    outcome: 'dropped',
  },
  {
    name: 'the type is changed behind the signature',
    after: () => ({ type: 'test.other' }),
    outcome: 'dropped',
  },
  {
    name: 'the time is changed behind the signature',
    after: () => ({ origin_server_ts: 1 }),
    outcome: 'dropped',
  },
  {
    name: 'the state key is changed behind the signature',
    after: () => ({ state_key: 'x' }),
    outcome: 'dropped',
  },
  {
    name: 'the hash is changed behind the signature',
    after: () => ({ hashes: { sha256: 'A'.repeat(43) } }),
    outcome: 'dropped',
  },
  {
    name: 'the membership is changed behind the signature',
    event: ({ sender, number }) => ({
      type: 'm.room.member',
      state_key: sender.replace('@', `@altered${number}`),
      content: { membership: 'invite' },
    }),
    after: () => ({ content: { membership: 'ban' } }),
    outcome: 'dropped',
  },
  {
    name: 'the content is changed behind the hash',
    after: () => ({ content: { lie: true } }),
    outcome: 'redacted',
  },
  {
    name: 'a key is put into the content behind the hash',
    after: (pdu) => ({ content: { ...(pdu.content as JsonObject), more: 1 } }),
    outcome: 'redacted',
  },
  { name: 'the content is taken away', after: () => ({ content: {} }), outcome: 'redacted' },
  {
    name: 'a field of no meaning is put in behind the hash',
    after: () => ({ 'org.example': 1 }),
    outcome: 'redacted',
  },
  {
    name: 'the display name is changed behind the hash',
    event: ({ sender, number }) => ({
      type: 'm.room.member',
      state_key: sender.replace('@', `@renamed${number}`),
      content: { membership: 'invite', displayname: 'honest' },
    }),
    after: () => ({ content: { membership: 'invite', displayname: 'liar' } }),
    outcome: 'redacted',
  },
  {
    name: 'unsigned is put in behind the hash',
    after: () => ({ unsigned: { age: 1 } }),
    outcome: 'accepted',
  },
];

export const SEAL_SHAPES: readonly Shape[] = [...HASHES, ...SIGNATURES, ...ALTERED];

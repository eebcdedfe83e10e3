import assert from 'node:assert/strict';
import { test } from 'node:test';
import fc from 'fast-check';
import { encodeCanonical, parseStrict } from '#keys/canonical-json.ts';
import { publicKeyFrom } from '#keys/ed25519.ts';
import type { KeyId } from '#keys/ids.ts';
import { isObject, type Json, type JsonObject } from '#keys/json.ts';
import { signaturesOf, signJson, verifyJson } from '#keys/sign-json.ts';
import { contentHash, eventIdOf, hasContentHash, referenceHash } from '#rooms/hashes.ts';
import { redact } from '#rooms/redact.ts';
import { signEvent } from '#rooms/sign-event.ts';
import { tryOn } from '#test/harness/rounds.ts';
import { json, jsonObject } from '#test/keys/json-values.ts';
import { rulesFor } from './ours.ts';
import { PLAIN_VERSIONS } from './plain-auth.ts';
import {
  plainCanonical,
  plainContentHash,
  plainEventId,
  plainReferenceHash,
  plainSignedBytes,
} from './plain-json.ts';
import { plainRedact } from './plain-redact.ts';
import { knownKeyPairOf } from './room-workshop.ts';

const TYPES = [
  'member',
  'create',
  'join_rules',
  'power_levels',
  'aliases',
  'history_visibility',
  'redaction',
  'message',
  'topic',
];
/** Keys of `content` that some version keeps, of some type, and a few that none does. */
const CONTENT_KEYS = [
  ...[
    'membership',
    'join_authorised_via_users_server',
    'third_party_invite',
    'creator',
    'join_rule',
    'allow',
    'redacts',
  ],
  ...[
    'ban',
    'events',
    'events_default',
    'invite',
    'kick',
    'redact',
    'state_default',
    'users',
    'users_default',
    'aliases',
  ],
  ...[
    'history_visibility',
    'notifications',
    'room_version',
    'additional_creators',
    'm.federate',
    'body',
    '__proto__',
    'constructor',
  ],
];
const TOP_KEYS = [
  'prev_state',
  'origin',
  'membership',
  'redacts',
  'unsigned',
  'age',
  'signed',
  'content_',
  '__proto__',
  'toString',
];

const invites = fc.oneof(
  jsonObject,
  jsonObject.chain((signed) => jsonObject.map((more) => ({ ...more, signed }))),
);
const contents = fc
  .tuple(
    fc.dictionary(fc.constantFrom(...CONTENT_KEYS), json, { noNullPrototype: true }),
    fc.option(invites, { nil: undefined }),
  )
  .map(([content, invite]): JsonObject => ({ ...content, ...(invite && { third_party_invite: invite }) }));

interface Made {
  readonly version: number;
  readonly pdu: JsonObject;
}

/** Events of every version and type, with keys that do not belong there, signed. */
const events: fc.Arbitrary<Made> = fc
  .record({
    version: fc.constantFrom(...PLAIN_VERSIONS),
    type: fc.constantFrom(...TYPES).map((type) => `m.room.${type}`),
    state_key: fc.option(fc.constantFrom('', '@a:a.example'), { nil: undefined }),
    content: contents,
    more: fc.dictionary(fc.constantFrom(...TOP_KEYS), json, { noNullPrototype: true }),
    depth: fc.nat(),
  })
  .map(({ version, more, state_key, ...rest }) => {
    const bare = {
      ...more,
      ...(state_key !== undefined && { state_key }),
      ...rest,
      room_id: '!room:a.example',
      sender: '@a:a.example',
      origin_server_ts: 1_700_000_000_000,
      prev_events: [],
      auth_events: [],
      ...(version <= 2 && { event_id: '$chosen:a.example' }),
    };
    return { version, pdu: signEvent(bare, rulesFor(version), 'a.example', knownKeyPairOf('a.example')) };
  });

const SIGNERS = ['a.example', 'b.example', 'c.example'];
const EVENTS = { usual: 500, of: 'events' };

test('3.1: event ids, reference hashes and content hashes are those of the plain implementation', async (t) => {
  await tryOn(t, events, EVENTS, ({ version, pdu }) => {
    const rules = rulesFor(version);
    assert.equal(eventIdOf(pdu, rules), plainEventId(version, pdu));
    assert.equal(
      referenceHash(pdu, rules).toString('base64').replace('=', ''),
      plainReferenceHash(version, pdu),
    );
    assert.equal(contentHash(pdu), plainContentHash(pdu));
    assert.ok(hasContentHash(pdu));
  });
});

test('3.1: an event id does not depend on spelling, order of keys, signatures, unsigned data or redaction', async (t) => {
  const spelled = fc.tuple(events, fc.nat(2), jsonObject, jsonObject);
  await tryOn(t, spelled, EVENTS, ([{ version, pdu }, spelling, signatures, unsigned]) => {
    const rules = rulesFor(version);
    const id = referenceHash(pdu, rules).toString('hex');
    const read = parseStrict(misspelled(pdu, spelling));
    assert.ok(read.kind === 'ok' && isObject(read.value));
    for (const other of [read.value, { ...pdu, signatures }, { ...pdu, unsigned }, redact(pdu, rules)]) {
      assert.equal(referenceHash(other, rules).toString('hex'), id);
    }
    // Whatever stays after redaction counts, and the hashes speak for all of the content.
    for (const [key, value] of Object.entries({
      depth: 'x',
      sender: '@b:b',
      hashes: { sha256: '' },
      origin_server_ts: 1,
    })) {
      assert.notEqual(referenceHash({ ...pdu, [key]: value }, rules).toString('hex'), id, key);
    }
    assert.notEqual(contentHash({ ...pdu, content: { changed: signatures } }), contentHash(pdu));
  });
});

/** The same JSON in other words: keys the other way round, white space, escapes. */
function misspelled(value: Json, spelling: number): string {
  const space = ['', ' ', '\r\n\t'][spelling] ?? '';
  if (typeof value === 'string') return spelling === 0 ? slashed(value) : escaped(value);
  if (Array.isArray(value)) {
    return `[${value.map((item: Json) => `${space}${misspelled(item, spelling)}${space}`).join(',')}]`;
  }
  if (!isObject(value)) return JSON.stringify(value);
  const members = Object.entries(value)
    .toReversed()
    .map(([key, item]) => `${space}${misspelled(key, spelling)}${space}:${misspelled(item, spelling)}`);
  return `{${members.join(',')}${space}}`;
}

function slashed(text: string): string {
  return JSON.stringify(text).replaceAll('/', '\\/');
}

function escaped(text: string): string {
  const units = Array.from({ length: text.length }, (_, at) => text.charCodeAt(at));
  return `"${units.map((unit) => `\\u${unit.toString(16).padStart(4, '0')}`).join('')}"`;
}

test('3.4: redaction leaves what the plain implementation leaves, once and again, and neither id nor signature changes', async (t) => {
  await tryOn(t, events, EVENTS, ({ version, pdu }) => {
    const rules = rulesFor(version);
    const once = redact(pdu, rules);
    assert.equal(encodeCanonical(once), plainCanonical(plainRedact(version, pdu)));
    assert.equal(encodeCanonical(redact(once, rules)), encodeCanonical(once));
    assert.equal(eventIdOf(once, rules), eventIdOf(pdu, rules));
    const { sign, keyId } = knownKeyPairOf('a.example');
    for (const one of [pdu, once]) {
      assert.equal(signaturesOf(one, 'a.example').get(keyId), sign(plainSignedBytes(version, pdu)));
    }
  });
});

test('3.2: canonical JSON is that of the plain implementation, and reading it changes nothing', async (t) => {
  await tryOn(t, json, { usual: 1_000, of: 'values' }, (value) => {
    const text = encodeCanonical(value);
    assert.equal(text, plainCanonical(value));
    const read = parseStrict(text);
    assert.ok(read.kind === 'ok');
    assert.equal(encodeCanonical(read.value), text);
    assert.deepEqual(read.value, value);
  });
});

test('3.3: what some servers have signed is signed by each of them, and by nobody after any change', async (t) => {
  const cases = fc.record({
    object: jsonObject,
    signers: fc.uniqueArray(fc.constantFrom(...SIGNERS), { minLength: 1 }),
    at: fc.nat(),
  });
  await tryOn(t, cases, { usual: 100, of: 'objects' }, async ({ object, signers, at }) => {
    let signed: JsonObject = object;
    for (const signer of signers) signed = signJson(signed, signer, knownKeyPairOf(signer));
    for (const signer of SIGNERS) {
      const { keyId, publicKey } = knownKeyPairOf(signer);
      const key = publicKeyFrom(publicKey);
      assert.ok(key);
      const isSigned = (one: JsonObject, id: KeyId = keyId) => verifyJson(one, signer, id, key);
      assert.equal(await isSigned(signed), signers.includes(signer));
      assert.equal(await isSigned({ ...signed, tampered: at }), false);
      assert.equal(await isSigned(signed, 'ed25519:other'), false);
      const signature = signaturesOf(signed, signer).get(keyId);
      if (signature === undefined) continue;
      const index = at % signature.length;
      const letter = signature[index] === 'A' ? 'B' : 'A';
      for (const junk of [
        // In the last digit of 86 only two bits count.
        `${signature.slice(0, index % 85)}${signature[index % 85] === letter ? 'C' : letter}${signature.slice((index % 85) + 1)}`,
        `${signature.slice(0, index)}!!${signature.slice(index)}`,
        `${signature}AA`,
        signature.slice(0, -2),
        '',
      ]) {
        assert.equal(await isSigned({ ...signed, signatures: { [signer]: { [keyId]: junk } } }), false, junk);
      }
    }
  });
});

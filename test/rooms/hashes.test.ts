/** Hashes, ids and signatures against vectors of the specification and of the independent event-vectors.py. */
import assert from 'node:assert/strict';
import { readFileSync } from 'node:fs';
import { test } from 'node:test';
import { decodeBase64 } from '#keys/base64.ts';
import { keyPairFromSeed, publicKeyFrom, verifySync } from '#keys/ed25519.ts';
import type { JsonObject } from '#keys/json.ts';
import { signableBytes } from '#keys/sign-json.ts';
import { eventFrom } from '#rooms/event.ts';
import { contentHash, createEventIdOf, eventIdOf, hasContentHash, roomIdOfCreate } from '#rooms/hashes.ts';
import { redact } from '#rooms/redact.ts';
import { countersign, requiredSigners, signEvent } from '#rooms/sign-event.ts';
import { type RoomVersionRules, rulesOf, SUPPORTED_VERSIONS } from '#rooms/versions.ts';

interface Vectors {
  readonly seed: string;
  readonly server: string;
  readonly events: readonly {
    readonly name: string;
    readonly pdu: JsonObject;
    readonly versions: readonly {
      readonly version: string;
      readonly content_hash: string;
      readonly event_id: string;
      readonly redacted: JsonObject;
      readonly signature: string;
    }[];
  }[];
}

const vectors: Vectors = JSON.parse(
  readFileSync(new URL('fixtures/event-vectors.json', import.meta.url), 'utf8'),
);
const keyPair = keyPairFromSeed('1', decodeBase64(vectors.seed) ?? new Uint8Array());

function rules(version: string): RoomVersionRules {
  const found = rulesOf(version);
  assert.ok(found);
  return found;
}

for (const { name, pdu, versions } of vectors.events) {
  test(`content hash, redaction, event id and signature of ${name} in versions 1 to 12`, () => {
    assert.equal(versions.length, 12);
    for (const expected of versions) {
      const version = rules(expected.version);
      assert.equal(contentHash(pdu), expected.content_hash);
      const signed = signEvent(pdu, version, vectors.server, keyPair);
      assert.deepEqual(signed.hashes, { sha256: expected.content_hash });
      assert.deepEqual(
        signed.signatures,
        { [vectors.server]: { 'ed25519:1': expected.signature } },
        `v${expected.version}`,
      );
      assert.equal(eventIdOf(signed, version), expected.event_id, `v${expected.version}`);
      const { signatures: _, ...redacted } = redact(signed, version);
      assert.deepEqual(redacted, expected.redacted, `v${expected.version}`);
    }
  });
}

test('appendix "Event Signing": the minimally-sized event', () => {
  const event = {
    room_id: '!x:domain',
    sender: '@a:domain',
    origin: 'domain',
    origin_server_ts: 1000000,
    signatures: {},
    hashes: {},
    type: 'X',
    content: {},
    prev_events: [],
    auth_events: [],
    depth: 3,
    unsigned: { age_ts: 1000000 },
  };
  assert.deepEqual(signEvent(event, rules('1'), 'domain', keyPair), {
    ...event,
    hashes: { sha256: '5jM4wQpv6lnBo7CLIghJuHdW+s2CMBJPUOGOC89ncos' },
    signatures: {
      domain: {
        'ed25519:1': 'KxwGjPSDEtvnFgU00fwFz+l6d2pJM6XBIaMEn81SXPTRl16AqLAYqfIReFGZlHi5KLjAWbOoMszkwsQma+lYAg',
      },
    },
  });
});

test('appendix "Event Signing": the event with redactable content', () => {
  const event = {
    content: { body: 'Here is the message content' },
    event_id: '$0:domain',
    origin: 'domain',
    origin_server_ts: 1000000,
    type: 'm.room.message',
    room_id: '!r:domain',
    sender: '@u:domain',
    signatures: {},
    unsigned: { age_ts: 1000000 },
  };
  assert.deepEqual(signEvent(event, rules('1'), 'domain', keyPair), {
    ...event,
    hashes: { sha256: 'onLKD1bGljeBWQhWZ1kaP9SorVmRQNdN5aM2JYU2n/g' },
    signatures: {
      domain: {
        'ed25519:1': 'Wm+VzmOUOz08Ds+0NTWb1d4CZrVsJSikkeRxh6aCcUwu6pNC78FunoD7KNWzqFn241eYHYMGCA5McEiVPdhzBA',
      },
    },
  });
});

test('v12: the room id is the create event id with another sigil', () => {
  const create = signEvent(
    {
      type: 'm.room.create',
      state_key: '',
      sender: '@u:domain',
      content: { room_version: '12' },
      depth: 1,
      origin_server_ts: 1,
      prev_events: [],
      auth_events: [],
    },
    rules('12'),
    'domain',
    keyPair,
  );
  const event = eventFrom(create, rules('12'));
  assert.equal(event.roomId, `!${event.eventId.slice(1)}`);
  assert.equal(roomIdOfCreate(event.eventId), event.roomId);
  assert.equal(createEventIdOf(event.roomId), event.eventId);
});

test('the content hash covers the content, and neither unsigned nor signatures', () => {
  const signed = signEvent(vectors.events[0]?.pdu ?? {}, rules('11'), 'domain', keyPair);
  assert.equal(hasContentHash(signed), true);
  assert.equal(hasContentHash({ ...signed, unsigned: { age: 1 }, signatures: {} }), true);
  assert.equal(hasContentHash({ ...signed, content: { body: 'another' } }), false);
  assert.equal(hasContentHash({ ...signed, hashes: {} }), false);
  assert.equal(hasContentHash({ ...signed, hashes: { sha256: 'not base64!' } }), false);
});

test('a redacted copy has the same id and signature as the event', () => {
  for (const version of SUPPORTED_VERSIONS) {
    for (const { pdu } of vectors.events) {
      const signed = signEvent(pdu, rules(version), 'domain', keyPair);
      const redacted = redact(signed, rules(version));
      assert.equal(eventIdOf(redacted, rules(version)), eventIdOf(signed, rules(version)));
      assert.deepEqual(redacted.signatures, signed.signatures);
    }
  }
});

test('countersigning adds a signature and changes neither the hashes nor the id', () => {
  const other = keyPairFromSeed('2', new Uint8Array(32).fill(7));
  const v11 = rules('11');
  const signed = signEvent(vectors.events[4]?.pdu ?? {}, v11, 'domain', keyPair);
  const both = countersign(signed, v11, 'other.test', other);
  assert.deepEqual(both.hashes, signed.hashes);
  assert.equal(eventIdOf(both, v11), eventIdOf(signed, v11));
  const signatures = both.signatures as Record<string, Record<string, string>>;
  assert.deepEqual(Object.keys(signatures).sort(), ['domain', 'other.test']);
  const publicKey = publicKeyFrom(other.publicKey);
  assert.ok(publicKey);
  const bytes = signableBytes(redact(both, v11));
  assert.equal(verifySync(publicKey, bytes, signatures['other.test']?.['ed25519:2'] ?? ''), true);
});

test('required signers: the server of the sender', () => {
  const message = { type: 'm.room.message', sender: '@a:a.test', content: {} };
  assert.deepEqual(requiredSigners(message, rules('10')), ['a.test']);
});

test('required signers, v10 4.2.1: the server of join_authorised_via_users_server, from version 8', () => {
  const join = {
    type: 'm.room.member',
    sender: '@a:a.test',
    state_key: '@a:a.test',
    content: { membership: 'join', join_authorised_via_users_server: '@b:b.test' },
  };
  assert.deepEqual(requiredSigners(join, rules('7')), ['a.test']);
  assert.deepEqual(requiredSigners(join, rules('10')), ['a.test', 'b.test']);
});

test('required signers: the sender of a third-party invite need not have signed it', () => {
  const invite = {
    type: 'm.room.member',
    sender: '@a:a.test',
    state_key: '@b:b.test',
    content: { membership: 'invite', third_party_invite: {} },
  };
  assert.deepEqual(requiredSigners(invite, rules('11')), []);
  assert.deepEqual(requiredSigners({ ...invite, content: { membership: 'invite' } }, rules('11')), [
    'a.test',
  ]);
  const join = { ...invite, content: { membership: 'join', third_party_invite: {} } };
  assert.deepEqual(requiredSigners(join, rules('11')), ['a.test']);
});

test('required signers, v1 and v2: the server in the event id too', () => {
  const message = { type: 'm.room.message', sender: '@a:a.test', event_id: '$x:b.test', content: {} };
  assert.deepEqual(requiredSigners(message, rules('2')), ['a.test', 'b.test']);
  assert.deepEqual(requiredSigners(message, rules('3')), ['a.test']);
});

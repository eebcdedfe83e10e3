/** Rule 4.4.1 of versions 10 and 11, 5.4.1 of version 12. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import type { JsonObject } from '#keys/json.ts';
import { signJson } from '#keys/sign-json.ts';
import { keyPairOf, roomOf, type TestRoom } from '#test/harness/room-builder.ts';

const ALICE = '@alice:a.test';
const BOB = '@bob:b.test';
const CAROL = '@carol:c.test';
const IDENTITY = 'id.test';
const keyPair = keyPairOf(IDENTITY);
const urlSafe = keyPair.publicKey.replaceAll('+', '-').replaceAll('/', '_');

const KEYS: JsonObject = {
  display_name: 'c...',
  key_validity_url: 'https://id.test',
  public_key: keyPair.publicKey,
};
const signed = signJson({ mxid: CAROL, token: 'token', sender: ALICE }, IDENTITY, keyPair);

function roomWith(version: string, keys: JsonObject = KEYS): TestRoom {
  const room = roomOf(ALICE, { version, members: [BOB] });
  room.state(ALICE, 'm.room.third_party_invite', 'token', keys);
  return room;
}

function invite(room: TestRoom, thirdParty: JsonObject[string], sender: typeof ALICE | typeof BOB = ALICE) {
  return room.verdict(sender, {
    type: 'm.room.member',
    state_key: CAROL,
    content: { membership: 'invite', third_party_invite: thirdParty },
  });
}

for (const version of ['10', '11', '12']) {
  const rule = version === '12' ? '5.4.1' : '4.4.1';
  const name = (number: string, sentence: string) => `v${version} ${rule}.${number}: ${sentence}`;

  test(name('1', 'a banned user is not invited'), () => {
    const room = roomWith(version);
    room.ban(ALICE, CAROL);
    assert.match(invite(room, { signed }) ?? '', /banned/);
  });

  test(name('2', 'an invite without signed is rejected'), () => {
    for (const value of [{}, null, 'x', { signed: 'x' }, { signed: null }]) {
      assert.match(invite(roomWith(version), value) ?? '', /not signed/, JSON.stringify(value));
    }
  });

  test(name('3', 'signed needs mxid and token'), () => {
    for (const key of ['mxid', 'token']) {
      const part = Object.fromEntries(Object.entries(signed).filter(([other]) => other !== key));
      assert.match(invite(roomWith(version), { signed: part }) ?? '', /mxid or token/);
    }
  });

  test(name('4', 'mxid is the invited user'), () => {
    const other = signJson({ mxid: BOB, token: 'token' }, IDENTITY, keyPair);
    assert.match(invite(roomWith(version), { signed: other }) ?? '', /another user/);
  });

  test(name('5', 'the room has an m.room.third_party_invite with the token'), () => {
    const other = signJson({ mxid: CAROL, token: 'unheard of' }, IDENTITY, keyPair);
    assert.match(invite(roomWith(version), { signed: other }) ?? '', /token/);
  });

  test(name('6', 'the sender is that of the m.room.third_party_invite'), () => {
    assert.match(invite(roomWith(version), { signed }, BOB) ?? '', /another user/);
  });

  test(name('7', 'a signature by public_key or by one of public_keys is allowed'), () => {
    assert.equal(invite(roomWith(version), { signed, display_name: 'c' }), undefined);
    const wrong = keyPairOf('wrong.test').publicKey;
    const inList = {
      ...KEYS,
      public_key: wrong,
      public_keys: [{ public_key: 'x' }, { public_key: keyPair.publicKey }],
    };
    assert.equal(invite(roomWith(version, inList), { signed }), undefined);
    assert.equal(invite(roomWith(version, { public_keys: inList.public_keys }), { signed }), undefined);
    assert.equal(invite(roomWith(version, { ...KEYS, public_key: urlSafe }), { signed }), undefined);
  });

  test(name('8', 'a signature by another key, or over another text, is rejected'), () => {
    const wrong = { ...KEYS, public_key: keyPairOf('wrong.test').publicKey };
    assert.match(invite(roomWith(version, wrong), { signed }) ?? '', /forged/);
    assert.match(invite(roomWith(version), { signed: { ...signed, extra: 1 } }) ?? '', /forged/);
    assert.match(invite(roomWith(version), { signed: { ...signed, signatures: {} } }) ?? '', /forged/);
    assert.match(invite(roomWith(version, {}), { signed }) ?? '', /forged/);
    const malformed = { ...signed, signatures: { [IDENTITY]: { 'ed25519:1': 5, 'rsa:1': 'x' }, x: 5 } };
    assert.match(invite(roomWith(version), { signed: malformed }) ?? '', /forged/);
  });
}

test('neither the membership nor the power of the sender counts once the invite is signed', () => {
  const room = roomWith('11');
  room.leave(ALICE);
  assert.equal(invite(room, { signed }), undefined);
});

test('signatures are tried with 128 keys in all, not with thousands', () => {
  const [genuine] = Object.values(signed.signatures[IDENTITY] as JsonObject);
  const forged = keyPairOf('wrong.test').sign('another text');
  const verdict = (wrongKeys: number) => {
    const wrong = Array.from({ length: wrongKeys }, (_, index) => ({
      public_key: keyPairOf(`wrong${index}.test`).publicKey,
    }));
    const public_keys = [...wrong, { public_key: keyPair.publicKey }];
    const signatures = { first: { 'ed25519:1': forged }, second: { 'ed25519:1': genuine ?? '' } };
    return invite(roomWith('11', { public_keys }), { signed: { ...signed, signatures } });
  };
  assert.equal(verdict(63), undefined);
  assert.match(verdict(64) ?? '', /forged/);
  assert.match(verdict(500) ?? '', /forged/);
});

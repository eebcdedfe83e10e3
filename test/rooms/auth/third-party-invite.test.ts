/** The bounds of third-party invites. Each rule by itself is in `numbered/third-party-invite.ts`. */
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

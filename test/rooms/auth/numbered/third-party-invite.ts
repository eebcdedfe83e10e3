/** Invites to a third-party identifier. */
import type { Json, JsonObject } from '#keys/json.ts';
import { signJson } from '#keys/sign-json.ts';
import { keyPairOf, type TestRoom } from '#test/harness/room-builder.ts';
import { rule } from './rule.ts';
import { ADMIN, allowed, membership, refused, roomWith, SENDER, TARGET } from './setting.ts';

const MEMBER = /^If type is `m.room.member`/;
const INVITE = /^If `membership` is `invite`/;
const THIRD_PARTY = /has (a )?`third_party_invite` property/;
const ANY_SIGNATURE = /^If any signature in `signed` matches any public key/;

const IDENTITY = 'id.test';
const keyPair = keyPairOf(IDENTITY);
const wrongKey = keyPairOf('wrong.test').publicKey;
const signed = signJson({ mxid: TARGET, token: 'token' }, IDENTITY, keyPair);

/** A room whose admin has sent an `m.room.third_party_invite` with these keys. */
function roomWithKeys(version: string, keys: JsonObject = { public_key: keyPair.publicKey }): TestRoom {
  const room = roomWith(version, { sender: 'join' });
  room.state(ADMIN, 'm.room.third_party_invite', 'token', keys);
  return room;
}

function invite(room: TestRoom, third_party_invite: Json, sender: typeof ADMIN | typeof SENDER = ADMIN) {
  return membership(room, [sender, TARGET], 'invite', { third_party_invite });
}

rule([MEMBER, INVITE, THIRD_PARTY, /is banned, reject/], (version) => {
  const room = roomWithKeys(version);
  allowed(invite(room, { signed }));
  room.ban(ADMIN, TARGET);
  refused(invite(room, { signed }), /banned/);
});

rule([MEMBER, INVITE, THIRD_PARTY, /does not have a `signed` property, reject/], (version) => {
  for (const value of [{}, null, 'x', { signed: 'x' }, { signed: null }]) {
    refused(invite(roomWithKeys(version), value), /not signed/, JSON.stringify(value));
  }
});

rule([MEMBER, INVITE, THIRD_PARTY, /does not have `mxid` and `token` properties, reject/], (version) => {
  for (const key of ['mxid', 'token']) {
    const part = Object.fromEntries(Object.entries(signed).filter(([other]) => other !== key));
    refused(invite(roomWithKeys(version), { signed: part }), /mxid or token/);
  }
});

rule([MEMBER, INVITE, THIRD_PARTY, /`mxid` does not match `state_key`, reject/], (version) => {
  const other = signJson({ mxid: SENDER, token: 'token' }, IDENTITY, keyPair);
  refused(invite(roomWithKeys(version), { signed: other }), /for another user/);
});

rule(
  [MEMBER, INVITE, THIRD_PARTY, /no `m.room.third_party_invite` event in the current room state/],
  (version) => {
    const other = signJson({ mxid: TARGET, token: 'unheard of' }, IDENTITY, keyPair);
    refused(invite(roomWithKeys(version), { signed: other }), /no third-party invite with this token/);
  },
);

rule(
  [MEMBER, INVITE, THIRD_PARTY, /does not match `sender` of the `m.room.third_party_invite`, reject/],
  (version) => {
    refused(invite(roomWithKeys(version), { signed }, SENDER), /sent by another user/);
  },
);

rule([MEMBER, INVITE, THIRD_PARTY, ANY_SIGNATURE], (version) => {
  const room = roomWithKeys(version);
  allowed(invite(room, { signed }));
  // Neither the membership nor the power of the sender counts.
  room.leave(ADMIN);
  allowed(invite(room, { signed }));
});

rule(
  [MEMBER, INVITE, THIRD_PARTY, ANY_SIGNATURE, /single public key in the `public_key` property/],
  (version) => {
    const urlSafe = keyPair.publicKey.replaceAll('+', '-').replaceAll('/', '_');
    allowed(invite(roomWithKeys(version, { public_key: urlSafe }), { signed }));
    refused(invite(roomWithKeys(version, { public_key: wrongKey }), { signed }), /forged/);
  },
);

rule(
  [MEMBER, INVITE, THIRD_PARTY, ANY_SIGNATURE, /list of public keys in the `public_keys` property/],
  (version) => {
    const keys = (...list: Json[]) => ({ public_key: wrongKey, public_keys: list });
    const right = { public_key: keyPair.publicKey };
    allowed(invite(roomWithKeys(version, keys({ public_key: 'x' }, 5, right)), { signed }));
    refused(invite(roomWithKeys(version, keys({ public_key: wrongKey })), { signed }), /forged/);
  },
);

rule([MEMBER, INVITE, THIRD_PARTY, /^Otherwise, reject/], (version) => {
  for (const forged of [
    { ...signed, extra: 1 },
    { ...signed, signatures: {} },
    { mxid: TARGET, token: 'token' },
  ]) {
    refused(invite(roomWithKeys(version), { signed: forged }), /forged/);
  }
  refused(invite(roomWithKeys(version, {}), { signed }), /forged/);
});

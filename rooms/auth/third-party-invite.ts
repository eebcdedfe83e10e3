/** Invites to a third-party identifier: https://spec.matrix.org/v1.19/server-server-api/#third-party-invites */
import { type PublicKey, publicKeyFrom, verifySync } from '#keys/ed25519.ts';
import { isObject, type Json, type JsonObject, objectAt, own, stringAt } from '#keys/json.ts';
import { signableBytes } from '#keys/sign-json.ts';
import type { Event } from '../event.ts';
import { type Refusal, refuse } from './refusal.ts';
import type { AuthState } from './state.ts';

/**
 * Signatures times keys that are tried. An identity server signs with one key and names at most a few; without a
 * bound one event could keep a server busy for a minute.
 */
const MOST_ATTEMPTS = 128;

/** v10 4.4.1: If `content` has a `third_party_invite` property. */
export function checkThirdPartyInvite(
  event: Event,
  state: AuthState,
  targetMembership: string | undefined,
): Refusal | undefined {
  // v10 4.4.1.1: If *target user* is banned, reject.
  if (targetMembership === 'ban') return refuse('v10 4.4.1.1', 'The user is banned from the room');
  // v10 4.4.1.2: If `content.third_party_invite` does not have a `signed` property, reject.
  const signed = objectAt(objectAt(event.content, 'third_party_invite') ?? {}, 'signed');
  if (signed === undefined) return refuse('v10 4.4.1.2', 'The third-party invite is not signed');
  // v10 4.4.1.3: If `signed` does not have `mxid` and `token` properties, reject.
  const mxid = stringAt(signed, 'mxid');
  const token = stringAt(signed, 'token');
  if (mxid === undefined || token === undefined) {
    return refuse('v10 4.4.1.3', 'The third-party invite lacks mxid or token');
  }
  // v10 4.4.1.4: If `mxid` does not match `state_key`, reject.
  if (mxid !== event.stateKey) return refuse('v10 4.4.1.4', 'The third-party invite is for another user');
  // v10 4.4.1.5: If there is no `m.room.third_party_invite` event in the current room state with `state_key`
  // matching `token`, reject.
  const invite = state.get('m.room.third_party_invite', token);
  if (invite === undefined) return refuse('v10 4.4.1.5', 'There is no third-party invite with this token');
  // v10 4.4.1.6: If `sender` does not match `sender` of the `m.room.third_party_invite`, reject.
  if (event.sender !== invite.sender) {
    return refuse('v10 4.4.1.6', 'The third-party invite was sent by another user');
  }
  // v10 4.4.1.7: If any signature in `signed` matches any public key in the `m.room.third_party_invite` event,
  // allow.
  // v10 4.4.1.8: Otherwise, reject.
  const key = thirdPartyKeyOf(signed, invite.content);
  return key === undefined ? refuse('v10 4.4.1.8', 'The third-party invite is forged') : undefined;
}

/** A key that an `m.room.third_party_invite` names. */
export interface ThirdPartyKey {
  /** As the event has it. */
  readonly publicKey: string;
  /** `key_validity_url`: where to ask whether the key is still good; undefined for one that is good for ever. */
  readonly validityUrl: string | undefined;
}

/** The key, of those in the content of an `m.room.third_party_invite`, that `signed` is signed with, if any. */
export function thirdPartyKeyOf(signed: JsonObject, content: JsonObject): ThirdPartyKey | undefined {
  const bytes = signableBytes(signed);
  const named = keysIn(content).map((key) => ({ key, publicKey: publicKeyOf(key) }));
  let attempts = 0;
  for (const signature of ed25519SignaturesOf(signed)) {
    for (const { key, publicKey } of named) {
      if (publicKey === undefined) continue;
      attempts += 1;
      if (attempts > MOST_ATTEMPTS) return undefined;
      if (verifySync(publicKey, bytes, signature)) return key;
    }
  }
  return undefined;
}

function* ed25519SignaturesOf(signed: JsonObject): Generator<string> {
  for (const keys of Object.values(objectAt(signed, 'signatures') ?? {})) {
    if (!isObject(keys)) continue;
    for (const [keyId, signature] of Object.entries(keys)) {
      if (keyId.startsWith('ed25519:') && typeof signature === 'string') yield signature;
    }
  }
}

/**
 * v10 4.4.1.7.1: "A single public key in the `public_key` property."
 * v10 4.4.1.7.2: "A list of public keys in the `public_keys` property."
 */
function keysIn(content: JsonObject): ThirdPartyKey[] {
  const listed: Json = own(content, 'public_keys') ?? [];
  const among = (Array.isArray(listed) ? listed : []).slice(0, MOST_ATTEMPTS).filter(isObject);
  return [content, ...among].flatMap((named) => {
    const publicKey = stringAt(named, 'public_key');
    return publicKey === undefined ? [] : [{ publicKey, validityUrl: stringAt(named, 'key_validity_url') }];
  });
}

/** "The key is encoded using Unpadded Base64, using the standard or URL-safe alphabets." */
function publicKeyOf({ publicKey }: ThirdPartyKey): PublicKey | undefined {
  return publicKeyFrom(publicKey.replaceAll('-', '+').replaceAll('_', '/'));
}

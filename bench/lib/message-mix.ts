/**
 * What people in an encrypted room do, of 100 events: 94 encrypted messages of 1.0 to 1.3 KB, 4 reactions, 1 redaction
 * and 1 change of a member's profile.
 */

import { randomBytes, randomInt } from 'node:crypto';
import type { EventId, RoomId, UserId } from '#keys/ids.ts';
import type { JsonObject } from '#keys/json.ts';
import type { Draft } from '#rooms/send.ts';

export const MIX =
  '94 encrypted messages of 1.0 to 1.3 KB, 4 reactions, 1 redaction, 1 profile change of 100 events';

/** The bytes of messages of 1 to 200 letters, as Megolm pads and signs them. */
const CIPHERTEXT_BYTES = { least: 176, most: 376 };

/** The number of an event decides what it is. */
export function draftOf(
  number: number,
  who: { readonly roomId: RoomId; readonly sender: UserId; readonly moderator: UserId },
): Draft {
  const { roomId, sender, moderator } = who;
  const target: EventId = `$${randomBytes(32).toString('base64url')}`;
  switch (number % 100) {
    case 7:
    case 32:
    case 57:
    case 82: {
      const content = { 'm.relates_to': { rel_type: 'm.annotation', event_id: target, key: '👍' } };
      return { roomId, sender, type: 'm.reaction', content };
    }
    case 42:
      // Of what is not there yet: it waits for it.
      return {
        roomId,
        sender: moderator,
        type: 'm.room.redaction',
        redacts: target,
        content: { reason: 'Mistake' },
      };
    case 99: {
      const content = { membership: 'join', displayname: `Somebody, ${number}` };
      return { roomId, sender, type: 'm.room.member', stateKey: sender, content };
    }
    default: {
      const txn = { deviceId: 'ABCDEFGHIJ', txnId: `m${1_700_000_000_000 + number}.${number}` };
      return { roomId, sender, type: 'm.room.encrypted', content: encryptedContent(), txn };
    }
  }
}

/** The content of an encrypted message. */
export function encryptedContent(): JsonObject {
  return {
    algorithm: 'm.megolm.v1.aes-sha2',
    ciphertext: randomBytes(randomInt(CIPHERTEXT_BYTES.least, CIPHERTEXT_BYTES.most))
      .toString('base64')
      .replaceAll('=', ''),
    device_id: 'ABCDEFGHIJ',
    sender_key: randomBytes(32).toString('base64').replaceAll('=', ''),
    session_id: randomBytes(32).toString('base64').replaceAll('=', ''),
  };
}

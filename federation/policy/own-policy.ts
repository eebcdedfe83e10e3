/**
 * This server as the policy server of rooms: https://spec.matrix.org/v1.19/server-server-api/#policy-servers
 *
 * It keeps nothing: the same event gets the same answer as long as the rules stay, and the same signature always.
 */

import type { SigningKeyPair } from '#keys/ed25519.ts';
import type { ServerName } from '#keys/ids.ts';
import type { JsonObject } from '#keys/json.ts';
import type { Event } from '#rooms/event.ts';
import { hasContentHash, referencedText } from '#rooms/hashes.ts';
import { POLICY_KEY_ID, type PolicyAnswer } from '#rooms/policy.ts';
import type { OwnPolicy } from './asker.ts';
import type { PolicyRules } from './rules.ts';

interface Given {
  readonly serverName: ServerName;
  /** Another one than events and requests are signed with, so that a room can take back its trust by itself. */
  readonly key: SigningKeyPair;
  readonly rules: PolicyRules;
}

export class OwnPolicyServer implements OwnPolicy {
  readonly #given: Given;

  constructor(given: Given) {
    this.#given = given;
  }

  /** `content` of `m.room.policy` for rooms that want to use this server. */
  get state(): JsonObject {
    return { via: this.#given.serverName, ...this.publicKeys };
  }

  /** The answer of `GET /.well-known/matrix/policy_server`. */
  get publicKeys(): JsonObject {
    return { public_keys: { ed25519: this.#given.key.publicKey } };
  }

  get rules(): PolicyRules {
    return this.#given.rules;
  }

  async judge(event: Event): Promise<PolicyAnswer> {
    const { rules, key } = this.#given;
    if (!rules.serves(event.roomId))
      return refused(404, 'M_NOT_FOUND', 'This server has nothing to do with the room');
    // What is signed is the hash of the content: a content that does not fit it has not been judged.
    if (!hasContentHash(event.pdu))
      return refused(400, 'M_BAD_JSON', 'The content hash of the event is wrong');
    const refusal = rules.refusalOf(event);
    if (refusal !== undefined) return refused(400, 'M_FORBIDDEN', refusal);
    return { kind: 'signed', signature: key.sign(referencedText(event.pdu, event.rules)) };
  }

  /** The answer of `POST /_matrix/policy/v1/sign` with a signature. */
  answer(signature: string): JsonObject {
    return { [this.#given.serverName]: { [POLICY_KEY_ID]: signature } };
  }
}

function refused(status: number, errcode: string, error: string): PolicyAnswer {
  return { kind: 'refused', status, body: { errcode, error } };
}

/** https://spec.matrix.org/v1.19/client-server-api/#user-interactive-authentication-api */

import { MatrixError, missingParam } from '#federation/errors.ts';
import { type Json, type JsonObject, objectAt, own, stringAt } from '#keys/json.ts';
import { newToken } from '#keys/tokens.ts';
import type { Clock } from '#rooms/context.ts';
import { Lru } from '#storage/lru.ts';
import { optionalObject } from '../body.ts';

/** Stage types that this server knows. */
export type Stage = 'm.login.dummy' | 'm.login.password' | 'm.login.registration_token';

/** What must be done, and how it is checked. */
export interface Challenge {
  /** Who does what: a session is good for nothing else, such as `register` or `deactivate @a:b`. */
  readonly scope: string;
  /** The stages in their order. */
  readonly stages: readonly Stage[];
  /** Checks what the client says for a stage; answers nothing if it is right, else the refusal. */
  readonly check: (stage: Stage, auth: JsonObject) => Promise<MatrixError | undefined>;
}

interface AuthSession {
  readonly scope: string;
  readonly completed: Map<Stage, JsonObject>;
  readonly expiresTs: number;
}

const MOST_SESSIONS = 10_000;
const SESSION_MS = 15 * 60_000;

/** 401 with what is to be done. Without an `errcode`, which would say that an attempt has failed. */
class AuthenticationRequired extends MatrixError {
  constructor(extras: JsonObject) {
    super(401, 'M_FORBIDDEN', 'Authentication required', { extras });
  }

  override get body(): JsonObject {
    return this.extras;
  }
}

/** Sessions of user-interactive authentication, in memory: a restart makes clients begin again. */
export class InteractiveAuth {
  readonly #clock: Clock;
  readonly #sessions = new Lru<string, AuthSession>({ maxEntries: MOST_SESSIONS });

  constructor(clock: Clock) {
    this.#clock = clock;
  }

  /**
   * Answers what the client said for each stage once all are done; until then throws the 401 that says what is
   * left. The session stays until `finish`, so that a request which fails after this can be repeated.
   */
  async require(
    body: JsonObject,
    challenge: Challenge,
  ): Promise<{ session: string; completed: ReadonlyMap<Stage, JsonObject> }> {
    const auth = optionalObject(body, 'auth');
    const { id, session } = this.#sessionFor(auth, challenge.scope);
    if (auth !== undefined) await this.#attempt(session, auth, { id, challenge });
    if (challenge.stages.every((stage) => session.completed.has(stage))) {
      return { session: id, completed: session.completed };
    }
    throw new AuthenticationRequired(this.#extras(id, session, challenge));
  }

  /** Ends a session whose request has succeeded. */
  finish(session: string): void {
    this.#sessions.delete(session);
  }

  #sessionFor(auth: JsonObject | undefined, scope: string): { id: string; session: AuthSession } {
    const given = auth && stringAt(auth, 'session');
    const known = given === undefined ? undefined : this.#sessions.get(given);
    const now = this.#clock.now();
    if (given !== undefined && known !== undefined && known.scope === scope && known.expiresTs > now) {
      return { id: given, session: known };
    }
    const id = newToken('kis');
    const session = { scope, completed: new Map<Stage, JsonObject>(), expiresTs: now + SESSION_MS };
    this.#sessions.set(id, session);
    return { id, session };
  }

  async #attempt(
    session: AuthSession,
    auth: JsonObject,
    { id, challenge }: { id: string; challenge: Challenge },
  ): Promise<void> {
    const type = own(auth, 'type');
    // Only the session: the client asks whether a stage done elsewhere is complete.
    if (type === undefined) return;
    const stage = challenge.stages.find((known) => known === type);
    const refusal =
      stage === undefined
        ? new MatrixError(401, 'M_UNRECOGNIZED', `Stage ${String(type)} is not part of this flow`)
        : await challenge.check(stage, auth);
    if (refusal !== undefined) {
      throw new MatrixError(401, refusal.errcode, refusal.message, {
        extras: this.#extras(id, session, challenge),
      });
    }
    if (stage !== undefined) session.completed.set(stage, auth);
  }

  #extras(id: string, session: AuthSession, { stages }: Challenge): { readonly [key: string]: Json } {
    return {
      session: id,
      flows: [{ stages }],
      params: {},
      completed: [...session.completed.keys()],
    };
  }
}

/** The user that a password stage names: `identifier` of the type `m.id.user`, or `user` as older clients say. */
export function userNamed(auth: JsonObject): string {
  const identifier = objectAt(auth, 'identifier');
  const user =
    identifier !== undefined && stringAt(identifier, 'type') === 'm.id.user'
      ? stringAt(identifier, 'user')
      : stringAt(auth, 'user');
  if (user === undefined) throw missingParam('identifier');
  return user;
}

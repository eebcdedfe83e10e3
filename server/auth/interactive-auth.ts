/** https://spec.matrix.org/v1.19/client-server-api/#user-interactive-authentication-api */

import { MatrixError } from '#federation/errors.ts';
import { encodeCanonical } from '#keys/canonical-json.ts';
import { sha256Base64Url } from '#keys/hash.ts';
import type { UserId } from '#keys/ids.ts';
import { type JsonObject, own, stringAt } from '#keys/json.ts';
import { newToken } from '#keys/tokens.ts';
import type { Clock } from '#rooms/context.ts';
import type { Purpose } from '#storage/email-validations.ts';
import { Lru } from '#storage/lru.ts';
import { optionalObject } from '../body.ts';

/** Stage types that this server knows. */
export const stages = [
  'm.login.dummy',
  'm.login.password',
  'm.login.registration_token',
  'm.login.terms',
  'm.login.email.identity',
  'm.login.sso',
  'm.oauth',
  'org.matrix.cross_signing_reset',
] as const;

export type Stage = (typeof stages)[number];

/** What must be done, and how it is checked. */
export interface Challenge {
  /** Who does what: a session is good for nothing else, such as `register` or `deactivate @a:b`. */
  readonly scope: string;
  /** The ways that lead there, each with its stages in their order. */
  readonly flows: readonly (readonly Stage[])[];
  /** What clients need to know for a stage. */
  readonly params?: JsonObject;
  /** Whose confirmation it needs, where it is that of one user. */
  readonly userId?: UserId;
  /** What an e-mail address is confirmed for, where that is a stage. */
  readonly email?: Purpose;
  /** Checks what the client says for a stage; answers nothing if it is right, else the refusal. */
  readonly check: (stage: Stage, auth: JsonObject) => Promise<MatrixError | undefined>;
  /** Called before a session is begun; may refuse it. */
  readonly onBegin?: () => void;
}

interface AuthSession {
  readonly scope: string;
  /** The hash of the request's body: what was confirmed for one request is not confirmed for another. */
  bodyHash: string;
  challenge: Challenge;
  /** By stage what of it is needed later. */
  readonly completed: Map<Stage, JsonObject>;
  readonly expiresTs: number;
}

const MOST_SESSIONS = 10_000;
const SESSION_MS = 15 * 60_000;
/** What the request itself needs of a stage. A password is not kept. */
const KEPT: ReadonlyMap<Stage, string> = new Map([
  ['m.login.registration_token', 'token'],
  ['m.login.email.identity', 'threepid_creds'],
]);

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
   * Answers what the client said for each stage once all of a flow are done; until then throws the 401 that says what
   * is left. The session stays until `finish`, so that a request which fails after this can be repeated.
   */
  async require(
    body: JsonObject,
    challenge: Challenge,
  ): Promise<{ session: string; completed: ReadonlyMap<Stage, JsonObject> }> {
    const auth = optionalObject(body, 'auth');
    const { id, session } = this.#sessionFor(auth, challenge, hashOf(body));
    if (auth !== undefined) {
      const refusal = await attempt(session, auth);
      if (refusal !== undefined) throw refused(id, session, refusal);
    }
    const isDone = challenge.flows.some((flow) => flow.every((stage) => session.completed.has(stage)));
    if (isDone) return { session: id, completed: session.completed };
    throw new AuthenticationRequired(extrasOf(id, session));
  }

  /** When a session was begun; undefined where it is none, or over. */
  begunTs(session: string): number | undefined {
    const current = this.#current(session);
    return current && current.expiresTs - SESSION_MS;
  }

  /** Ends a session whose request has succeeded. */
  finish(session: string): void {
    this.#sessions.delete(session);
  }

  /** The refusal of a request whose stage turned out not to hold after all: it must be done again. */
  undo(id: string, stage: Stage, refusal: MatrixError): MatrixError {
    const session = this.#current(id);
    if (session === undefined) return refusal;
    session.completed.delete(stage);
    return refused(id, session, refusal);
  }

  /** What a page that takes the place of a client needs to know of a session; undefined where it has ended. */
  challengeOf(id: string): Challenge | undefined {
    return this.#current(id)?.challenge;
  }

  /** Tries a stage for such a page; answers nothing if it is done, else the refusal. */
  async attemptStage(id: string, stage: Stage, auth: JsonObject): Promise<MatrixError | undefined> {
    const session = this.#current(id);
    if (session === undefined) return new MatrixError(401, 'M_FORBIDDEN', 'The session has ended');
    return await attempt(session, { ...auth, type: stage });
  }

  /** Completes a stage for a user who has shown elsewhere who they are; false where it is not theirs to complete. */
  complete(id: string, stage: Stage, userId: UserId): boolean {
    const session = this.#current(id);
    if (session?.challenge.userId !== userId || !isNext(session, stage)) return false;
    session.completed.set(stage, {});
    return true;
  }

  #current(id: string): AuthSession | undefined {
    const session = this.#sessions.get(id);
    return session !== undefined && session.expiresTs > this.#clock.now() ? session : undefined;
  }

  /** The session that the client names, if it is one for this request; else a new one. */
  #sessionFor(
    auth: JsonObject | undefined,
    challenge: Challenge,
    bodyHash: string,
  ): { id: string; session: AuthSession } {
    const given = auth && stringAt(auth, 'session');
    const known = given === undefined ? undefined : this.#current(given);
    if (given !== undefined && known !== undefined && known.scope === challenge.scope) {
      // Some clients ask for the flows by an empty request, and go on with the true one.
      const isSame = known.bodyHash === bodyHash || known.completed.size === 0;
      if (isSame) {
        Object.assign(known, { bodyHash, challenge });
        return { id: given, session: known };
      }
    }
    challenge.onBegin?.();
    const id = newToken('kis');
    const { scope } = challenge;
    const expiresTs = this.#clock.now() + SESSION_MS;
    const session = { scope, bodyHash, challenge, completed: new Map<Stage, JsonObject>(), expiresTs };
    this.#sessions.set(id, session);
    return { id, session };
  }
}

/** "the flow's stages must be completed in order. Failing to follow the flows in order must result in an HTTP 401" */
async function attempt(session: AuthSession, auth: JsonObject): Promise<MatrixError | undefined> {
  const type = own(auth, 'type');
  const { challenge, completed } = session;
  // Only the session: the client asks whether a stage done elsewhere is complete.
  if (type === undefined || type === null) return undefined;
  const stage = stages.find((known) => known === type);
  if (stage === undefined || !challenge.flows.some((flow) => flow.includes(stage))) {
    return new MatrixError(401, 'M_UNRECOGNIZED', `Stage ${String(type)} is not part of this flow`);
  }
  // "Completed stages cannot be retried by clients".
  if (completed.has(stage)) return undefined;
  if (!isNext(session, stage))
    return new MatrixError(401, 'M_FORBIDDEN', `Stage ${stage} is not the next of a flow`);
  const refusal = await challenge.check(stage, auth);
  if (refusal !== undefined) return refusal;
  const kept = KEPT.get(stage);
  const value = kept === undefined ? undefined : own(auth, kept);
  completed.set(stage, kept === undefined || value === undefined ? {} : { [kept]: value });
  return undefined;
}

function isNext({ challenge, completed }: AuthSession, stage: Stage): boolean {
  return challenge.flows.some(
    (flow) => flow.find((one) => !completed.has(one)) === stage && isOfOneFlow(flow, completed),
  );
}

function isOfOneFlow(flow: readonly Stage[], completed: ReadonlyMap<Stage, JsonObject>): boolean {
  return [...completed.keys()].every((stage) => flow.includes(stage));
}

function refused(id: string, session: AuthSession, refusal: MatrixError): MatrixError {
  const extras = { ...refusal.extras, ...extrasOf(id, session) };
  return new MatrixError(401, refusal.errcode, refusal.message, { extras });
}

function extrasOf(id: string, { challenge, completed }: AuthSession): JsonObject {
  return {
    session: id,
    flows: challenge.flows.map((flow) => ({ stages: flow })),
    params: challenge.params ?? {},
    completed: [...completed.keys()],
  };
}

function hashOf(body: JsonObject): string {
  const { auth: _, ...rest } = body;
  return sha256Base64Url(encodeCanonical(rest));
}

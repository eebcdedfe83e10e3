/**
 * A room as a graph of events, plainly: checks 4 and 5 of
 * https://spec.matrix.org/v1.19/server-server-api/#checks-performed-on-receipt-of-a-pdu, and the state at each event.
 */
import type { JsonObject } from '#keys/json.ts';
import { type PlainKeys, type PlainKnowledge, refusalByItself, refusalByState } from './plain-auth.ts';
import { keyOf, type PlainEvent, type PlainState, plainEvent, stateOf } from './plain-event.ts';
import { plainResolve } from './plain-state-res.ts';

/** `unknown`: it cites, or what it cites does, an event that is not there. */
export type PlainVerdict =
  | { readonly kind: 'accepted' }
  | { readonly kind: 'rejected'; readonly by: 'auth events' | 'state before'; readonly reason: string }
  | { readonly kind: 'unknown' };

/** A room that takes events one after the other, each after those that it cites. */
export class PlainRoom implements PlainKnowledge {
  readonly version: number;
  readonly events = new Map<string, PlainEvent>();
  readonly verdicts = new Map<string, PlainVerdict>();
  readonly #statesAfter = new Map<string, PlainState>();
  readonly #statesBefore = new Map<string, PlainState>();
  readonly #keys: PlainKeys;

  constructor(version: number, keys: PlainKeys) {
    this.version = version;
    this.#keys = keys;
  }

  event(id: string): PlainEvent | undefined {
    return this.events.get(id);
  }

  isRejected(id: string): boolean {
    return this.verdicts.get(id)?.kind === 'rejected';
  }

  isAccepted(id: string): boolean {
    return this.verdicts.get(id)?.kind === 'accepted';
  }

  /** Takes an event and says what becomes of it. */
  add(pdu: JsonObject): PlainEvent {
    const event = plainEvent(this.version, pdu);
    if (this.events.has(event.id)) throw new Error(`${event.id} is there`);
    const verdict = this.#judge(event);
    this.events.set(event.id, event);
    this.verdicts.set(event.id, verdict);
    const before = this.#statesBefore.get(event.id);
    if (before === undefined) return event;
    // "If E is a message event, then S'(E) = S(E). If E is a state event, then S'(E) is S(E), except that its entry [...]
    // is replaced". And of a rejected one: "except not updating with the rejected event where it is a state event".
    const after = new Map(before);
    if (event.stateKey !== undefined && verdict.kind === 'accepted')
      after.set(keyOf(event.type, event.stateKey), event);
    this.#statesAfter.set(event.id, after);
    return event;
  }

  /** S(E), and undefined where it cannot be known. */
  stateBefore(id: string): PlainState | undefined {
    return this.#statesBefore.get(id);
  }

  /** S'(E). */
  stateAfter(id: string): PlainState | undefined {
    return this.#statesAfter.get(id);
  }

  /** The resolution of the states after some events. */
  resolve(ids: readonly string[]): PlainState | undefined {
    const states = ids.map((id) => this.#statesAfter.get(id)).filter((state) => state !== undefined);
    return states.length === ids.length ? this.resolveStates(states) : undefined;
  }

  /** The resolution of a set of states. */
  resolveStates(states: readonly PlainState[], toTheLetter = false): PlainState {
    const [first, ...others] = states;
    const create = this.create;
    if (create === undefined) return first ?? new Map();
    if (others.length === 0 && first !== undefined) return first;
    return plainResolve(
      { version: this.version, create, known: this, keys: this.#keys, toTheLetter },
      states,
    );
  }

  /** The room's create event, which comes before all others, unless it was rejected. */
  get create(): PlainEvent | undefined {
    const [first] = this.events.values();
    return first !== undefined && this.isAccepted(first.id) ? first : undefined;
  }

  /** Whether the event would be allowed in a state: rules 4 and on. */
  refusalIn(event: PlainEvent, state: PlainState): string | undefined {
    return refusalByState(event, state, this.#keys);
  }

  /** The accepted events that no accepted event follows. */
  extremities(): string[] {
    const cited = new Set<string>();
    const [first] = this.events.values();
    const accepted = [...this.events.values()].filter(
      ({ id, roomId }) => roomId === first?.roomId && this.isAccepted(id),
    );
    for (const event of accepted) {
      const behind = [...event.prevEvents];
      for (const id of behind) {
        cited.add(id);
        // One that is not accepted passes on what it cites.
        if (!this.isAccepted(id)) behind.push(...(this.events.get(id)?.prevEvents ?? []));
      }
    }
    return accepted.map(({ id }) => id).filter((id) => !cited.has(id));
  }

  #judge(event: PlainEvent): PlainVerdict {
    const cited = [...event.prevEvents, ...event.authEvents];
    if (cited.some((id) => !this.events.has(id) || this.verdicts.get(id)?.kind === 'unknown'))
      return { kind: 'unknown' };
    const before = event.prevEvents.length === 0 ? new Map() : this.resolve(event.prevEvents);
    if (before === undefined) return { kind: 'unknown' };
    this.#statesBefore.set(event.id, before);
    // "4. Passes authorisation rules based on the event's auth events, otherwise it is rejected."
    const byItself = refusalByItself(event, this) ?? this.refusalIn(event, this.#authState(event));
    if (byItself !== undefined) return { kind: 'rejected', by: 'auth events', reason: byItself };
    // "5. Passes authorisation rules based on the state before the event, otherwise it is rejected."
    const byState = this.refusalIn(event, before);
    if (byState !== undefined) return { kind: 'rejected', by: 'state before', reason: byState };
    return { kind: 'accepted' };
  }

  /** The state that the auth events make; v12: and the create event that the room id implies. */
  #authState(event: PlainEvent): PlainState {
    const cited = event.authEvents.map((id) => this.events.get(id)).filter((found) => found !== undefined);
    const create = this.version >= 12 ? this.events.get(`$${event.roomId.slice(1)}`) : undefined;
    return stateOf(create === undefined ? cited : [create, ...cited]);
  }
}

import type { UserId } from '#keys/ids.ts';

/** Positions of the stream, the first exclusive and the last inclusive. */
export interface AnnouncedRange {
  readonly since: number;
  readonly upto: number;
}

const MOST = 2_000;

/** Of whom it was announced, at which positions, that their presence has changed. */
export class AnnouncedPresence {
  /** In order: all after `#after`. */
  readonly #announced: { readonly position: number; readonly users: readonly UserId[] }[] = [];
  #after: number;
  /** What earlier processes announced, the last first; undefined once not all is known that was announced since. */
  #recalled: { readonly position: number; readonly userId: UserId }[] | undefined = [];

  /** `after`: all later announcements will be added. */
  constructor(after: number) {
    this.#after = after;
  }

  /** What was written down of earlier announcements, the last of each user. */
  recall(recalled: readonly { readonly position: number; readonly userId: UserId }[]): void {
    this.#recalled = recalled.toSorted((a, b) => b.position - a.position);
  }

  add(position: number, users: readonly UserId[]): void {
    this.#announced.push({ position, users });
    const dropped = this.#announced.length > MOST ? this.#announced.shift() : undefined;
    if (dropped === undefined) return;
    this.#after = dropped.position;
    this.#recalled = undefined;
  }

  /** The users of a range, the last first; undefined at the end where not all of them are known any more. */
  *lastFirst({ since, upto }: AnnouncedRange): Generator<UserId | undefined, void, void> {
    for (let index = this.#announced.length - 1; index >= 0; index--) {
      const announced = this.#announced[index];
      if (announced === undefined || announced.position <= since) return;
      if (announced.position <= upto) yield* announced.users;
    }
    if (since >= this.#after) return;
    if (this.#recalled === undefined) yield undefined;
    for (const { position, userId } of this.#recalled ?? []) {
      if (position <= since) return;
      yield userId;
    }
  }
}

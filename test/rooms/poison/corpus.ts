/** All shapes of poison: see `shape.ts`. */

import { type RoomVersionRules, rulesOf, SUPPORTED_VERSIONS } from '#rooms/versions.ts';
import { isLongRun } from '#test/harness/long-run.ts';
import { seed } from '#test/harness/rounds.ts';
import { CONTENT_SHAPES } from './contents.ts';
import { FIELD_SHAPES } from './fields.ts';
import { REFERENCE_SHAPES } from './references.ts';
import { SEAL_SHAPES } from './seals.ts';
import { outcomeIn, type Shape } from './shape.ts';
import { SIZE_SHAPES } from './sizes.ts';
import { TEXT_SHAPES } from './texts.ts';

/** Those that change what others may do come last, so that the others are judged by the room as it was. */
export const CORPUS: readonly Shape[] = [
  ...FIELD_SHAPES,
  ...SIZE_SHAPES,
  ...REFERENCE_SHAPES,
  ...SEAL_SHAPES,
  ...TEXT_SHAPES,
  ...CONTENT_SHAPES,
].toSorted((a, b) => Number(a.changesRules === true) - Number(b.changesRules === true));

/**
 * The shapes to make in a room version: in a long run all that make sense there. Else each shape is made in one
 * version, in another for another seed.
 */
export function shapesFor(rules: RoomVersionRules): Shape[] {
  return CORPUS.filter((shape, index) => {
    const versions = versionsOf(shape);
    return isLongRun
      ? versions.includes(rules.version)
      : versions[(seed + index) % versions.length] === rules.version;
  });
}

function versionsOf({ outcome }: Shape): string[] {
  return SUPPORTED_VERSIONS.filter((version) => {
    const rules = rulesOf(version);
    return rules !== undefined && outcomeIn(outcome, rules) !== undefined;
  });
}

/** What the bytes of a body say. */

import { badJson, notJson } from '#federation/errors.ts';
import { type LooseOptions, parseLoose } from '#keys/canonical-json.ts';
import type { Json } from '#keys/json.ts';

/** Half a surrogate pair is in no canonical JSON: a client is told at once. */
export const OF_CLIENTS: LooseOptions = { refuseLoneSurrogates: true };

/** Throws `M_NOT_JSON` or `M_BAD_JSON`. */
export function parseBody(bytes: Buffer, limits: LooseOptions): Json {
  const parsed = parseLoose(bytes, limits);
  if (parsed.kind === 'ok') return parsed.value;
  throw /deep|many|surrogate/.test(parsed.reason) ? badJson(parsed.reason) : notJson(parsed.reason);
}

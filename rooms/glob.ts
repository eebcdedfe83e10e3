/**
 * Glob-style matching: https://spec.matrix.org/v1.19/appendices/#glob-style-matching
 *
 * `*` matches any run of characters, `?` exactly one. Takes at most pattern length times text length steps,
 * whatever the pattern: it goes back to the last `*` only, since what stood before it has matched already.
 */
export function matchesGlob(pattern: string, text: string): boolean {
  let p = 0;
  let t = 0;
  let afterStar = -1;
  let retryFrom = 0;
  while (t < text.length) {
    if (pattern[p] === '*') {
      afterStar = ++p;
      retryFrom = t;
    } else if (pattern[p] === '?') {
      p += 1;
      t += characterLength(text, t);
    } else if (p < pattern.length && pattern[p] === text[t]) {
      p += 1;
      t += 1;
    } else if (afterStar >= 0) {
      p = afterStar;
      retryFrom += characterLength(text, retryFrom);
      t = retryFrom;
    } else {
      return false;
    }
  }
  while (pattern[p] === '*') p += 1;
  return p === pattern.length;
}

/** A character outside the basic plane is two units of a JavaScript string, but one character. */
function characterLength(text: string, at: number): number {
  return (text.codePointAt(at) ?? 0) > 0xffff ? 2 : 1;
}

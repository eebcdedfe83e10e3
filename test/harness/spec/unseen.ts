/** Operations that are served and that no test of the suite gets an answer of, each with the reason. */

export const UNSEEN: ReadonlyMap<string, string> = new Map([]);

/** Lines of a server's log, as `logTo` of a test server gets them. */

/** These come because the machine was busy with something else, however many. */
const OF_THE_MACHINE = /"msg":"(a slow statement held the loop|slow request)"/;

/** True for a warning and for what is worse, but not where the machine is only slow. */
export function isWarning(line: string): boolean {
  return /"level":"(warn|error|fatal)"/.test(line) && !OF_THE_MACHINE.test(line);
}

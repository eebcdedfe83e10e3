import type { Clearance } from '#federation/media/scanner.ts';
import type { ScanOutcome } from './scan-queue.ts';

/** What may be done with a file by what became of its scan. `failsOpen`: what was not looked at is let through. */
export function clearanceOf({ kind }: Pick<ScanOutcome, 'kind'>, failsOpen: boolean): Clearance {
  switch (kind) {
    case 'clean':
    // Whoever serves it will not find it either, and sees to it.
    case 'missing':
      return 'clear';
    case 'infected':
    case 'busy':
      return kind;
    case 'too_large':
      return failsOpen ? 'clear' : 'too_large';
    case 'failed':
    case 'unavailable':
      return failsOpen ? 'clear' : 'unavailable';
  }
}

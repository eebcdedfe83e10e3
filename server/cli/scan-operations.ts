/** What the operator's command asks of the scanner for malware: by the running server, or on its database and files. */

import type { CacheContext } from '#federation/media/cache.ts';
import { type JsonObject, own, stringAt } from '#keys/json.ts';
import { mxcOf, parseMxc } from '#keys/mxc.ts';
import type { Database } from '#storage/database.ts';
import * as media from '#storage/media.ts';
import * as mediaScans from '#storage/media-scans.ts';
import type { BacklogRun, ScanBacklog } from '../scanning/backlog.ts';
import type { Scanning } from '../scanning/open.ts';
import type { Outcome } from './operations.ts';

export interface ScanOperationContext extends CacheContext {
  readonly db: Database;
  /** Undefined where no scanner is configured. */
  readonly scanning: (Scanning & { readonly backlog: ScanBacklog }) | undefined;
  /** `running` for what goes on for long. */
  readonly inTime: <T>(work: Promise<T>) => Promise<T | 'running'>;
}

type Configured = ScanOperationContext & { readonly scanning: Scanning & { readonly backlog: ScanBacklog } };

/** Does one thing: `{"operation": "media.scanning"}`; undefined for what is none of these. */
export async function performOnScans(
  ctx: ScanOperationContext,
  operation: JsonObject,
): Promise<Outcome | undefined> {
  const name = own(operation, 'operation');
  if (name !== 'media.scanning' && name !== 'media.rescan') return undefined;
  const { scanning } = ctx;
  if (scanning === undefined) return refused('no scanner is configured: see the option "scanner"');
  if (name === 'media.scanning') return status({ ...ctx, scanning });
  const word = stringAt(operation, 'media');
  return word === undefined ? rescan({ ...ctx, scanning }) : rescanOne({ ...ctx, scanning }, word);
}

async function status({ db, scanning }: Configured): Promise<Outcome> {
  const { queue, address } = scanning;
  const version = await queue.version();
  const files = await mediaScans.count({ all: (statement, ...params) => db.scan(statement, ...params) });
  const verdicts = mediaScans.scanVerdicts.map((verdict) => `${files.get(verdict) ?? 0} ${verdict}`);
  const ended = Object.entries(queue.counts).map(([kind, count]) => `${count} ${kind}`);
  return {
    kind: 'done',
    isWrong: version === undefined,
    lines: [
      `scanner:   ${address}`,
      `answers:   ${version ?? `no: ${queue.lastFailure ?? 'it is being stopped'}`}`,
      `files:     ${verdicts.join(', ')}`,
      `scans:     ${ended.join(', ')} (since the start)`,
    ],
  };
}

async function rescan({ scanning, inTime }: Configured): Promise<Outcome> {
  const run = await inTime(scanning.backlog.rescan());
  if (run === 'running') return done('The files are being scanned; "media scanning" says how far it is.');
  const line = `Files scanned: ${counted(run)}.`;
  if (run.isWhole) return done(line);
  return refused(
    `the scanner does not answer (${scanning.queue.lastFailure ?? 'it is being stopped'}). ${line}`,
  );
}

function counted({ clean, infected, unscanned }: BacklogRun): string {
  return `${clean} clean, ${infected} infected, ${unscanned} that the scanner could not deal with`;
}

async function rescanOne({ db, scanning, media: { blobs } }: Configured, word: string): Promise<Outcome> {
  const mxc = parseMxc(word);
  if (mxc === undefined) return refused(`"${word}" is not the address of a media (mxc://server/id)`);
  const known = await media.of(db, mxc);
  const sha256 = known?.sha256;
  if (known === undefined || sha256 === undefined) return refused(`there is no file of ${mxcOf(mxc)} here`);
  const outcome = await scanning.files.look({ sha256, size: known.size }, () => blobs.read(sha256));
  switch (outcome.kind) {
    case 'clean': {
      const more = known.isQuarantined ? ' It stays in quarantine until "media release".' : '';
      return done(`${mxcOf(mxc)} is clean.${more}`);
    }
    case 'infected':
      return done(`${mxcOf(mxc)} is infected (${outcome.signature}): it is in quarantine.`);
    case 'too_large':
      return refused(`${mxcOf(mxc)} is larger than the scanner takes`);
    case 'missing':
      return refused(`the file of ${mxcOf(mxc)} is missing`);
    case 'busy':
      return refused('too many files wait for the scanner');
    case 'failed':
    case 'unavailable':
      return refused(`the scanner has failed: ${scanning.queue.lastFailure ?? 'it is being stopped'}`);
  }
}

function done(line: string): Outcome {
  return { kind: 'done', lines: [line] };
}

function refused(problem: string): Outcome {
  return { kind: 'refused', problem };
}

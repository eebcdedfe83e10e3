import { type ChildProcess, spawn } from 'node:child_process';
import { fileURLToPath } from 'node:url';
import { Lanes } from '#keys/lanes.ts';
import { imageTypes } from './image-type.ts';
import type { ImageSize, MeasureJob, ThumbnailJob, ThumbnailOutcome } from './thumbnail-program.ts';

const PROGRAM = fileURLToPath(new URL('./thumbnail-program.ts', import.meta.url));
/** What the process may have of its own, in KiB: the pixels of the largest image, decoded, and the program itself. */
const MEMORY_KIB = 1_200_000;
const HEAP_MIB = 64;
const JOB_TIMEOUT_MS = 20_000;
const IDLE_MS = 60_000;
const MOST_WAITING = 200;
type Failed = { readonly kind: 'failed' };
type Outcome = ThumbnailOutcome | ImageSize | Failed;

const OTHERS: ReadonlySet<unknown> = new Set(['original', 'too_large', 'unsupported']);

/**
 * Makes thumbnails in a process of its own, one at a time. It is started when it is needed, ended when it was not for
 * a while, and ended with the job that takes too long or too much memory.
 */
export class ThumbnailMaker {
  readonly #program: string;
  readonly #timeoutMs: number;
  readonly #lanes = new Lanes(1, MOST_WAITING);
  #process: ChildProcess | undefined;
  #idle: NodeJS.Timeout | undefined;
  #isClosed = false;

  /** `program` and `timeoutMs` (for a job) are others in tests only. */
  constructor(options: { readonly program?: string; readonly timeoutMs?: number } = {}) {
    this.#program = options.program ?? PROGRAM;
    this.#timeoutMs = options.timeoutMs ?? JOB_TIMEOUT_MS;
  }

  /** The id of the process, while there is one. */
  get pid(): number | undefined {
    return this.#process?.pid;
  }

  /**
   * Does a job; `failed` where the process died of it, or took too long.
   *
   * @throws LanesFull if too many wait
   */
  async make(job: ThumbnailJob): Promise<ThumbnailOutcome | Failed> {
    const outcome = await this.#run(job);
    return outcome.kind === 'measured' ? { kind: 'failed' } : outcome;
  }

  /**
   * How large an image is, in pixels; undefined for what cannot be decoded.
   *
   * @throws LanesFull if too many wait
   */
  async measure(job: MeasureJob): Promise<ImageSize | undefined> {
    const outcome = await this.#run(job);
    return outcome.kind === 'measured' ? outcome : undefined;
  }

  async #run(job: ThumbnailJob | MeasureJob): Promise<Outcome> {
    return this.#lanes.run(async () => {
      if (this.#isClosed) return { kind: 'failed' };
      clearTimeout(this.#idle);
      const program = this.#process ?? this.#start();
      const outcome = await ask(program, job, this.#timeoutMs);
      if (outcome.kind === 'failed') this.#stop();
      else this.#idle = setTimeout(() => this.#stop(), IDLE_MS).unref();
      return outcome;
    });
  }

  [Symbol.dispose](): void {
    this.#isClosed = true;
    this.#stop();
  }

  #start(): ChildProcess {
    const node = [
      process.execPath,
      `--max-old-space-size=${HEAP_MIB}`,
      '--disable-warning=ExperimentalWarning',
    ];
    // The kernel holds the limit where it can; the shell only sets it, and becomes the program.
    const limited = `ulimit -d ${MEMORY_KIB} 2>/dev/null; exec "$0" "$@"`;
    const program = spawn('/bin/sh', ['-c', limited, ...node, this.#program], {
      stdio: ['ignore', 'ignore', 'ignore', 'ipc'],
      serialization: 'advanced',
      // Nothing else of the server's own: its environment may hold secrets. Compiled code halves time and memory.
      env: { PATH: process.env.PATH, NODE_COMPILE_CACHE: process.env.NODE_COMPILE_CACHE },
    });
    // It does not keep the server alive.
    program.unref();
    program.channel?.unref();
    program.once('exit', () => {
      if (this.#process === program) this.#process = undefined;
    });
    // Whoever waits for an answer hears of it too; a message to a process that is gone is no reason to end.
    program.on('error', () => undefined);
    this.#process = program;
    return program;
  }

  #stop(): void {
    clearTimeout(this.#idle);
    this.#process?.kill('SIGKILL');
    this.#process = undefined;
  }
}

/** Hands a job over, and waits for the answer, the end of the process, or the end of the time. */
function ask(program: ChildProcess, job: ThumbnailJob | MeasureJob, timeoutMs: number): Promise<Outcome> {
  return new Promise((resolve) => {
    const end = (outcome: Outcome): void => {
      clearTimeout(timer);
      program.off('message', answered).off('exit', failed).off('error', failed);
      resolve(outcome);
    };
    const answered = (answer: unknown): void => end(isOutcome(answer) ? answer : { kind: 'failed' });
    const failed = (): void => end({ kind: 'failed' });
    const timer = setTimeout(failed, timeoutMs);
    program.on('message', answered).once('exit', failed).once('error', failed);
    program.send(job, (error) => {
      if (error !== null) failed();
    });
  });
}

/** A process that a hostile image took over might answer anything. */
function isOutcome(answer: unknown): answer is ThumbnailOutcome | ImageSize {
  if (typeof answer !== 'object' || answer === null || !('kind' in answer)) return false;
  if (answer.kind === 'measured') {
    const { width, height } = { width: 0, height: 0, ...answer };
    return [width, height].every((side) => Number.isSafeInteger(side) && side > 0);
  }
  if (answer.kind !== 'made') return OTHERS.has(answer.kind);
  const { bytes, contentType } = { bytes: undefined, contentType: undefined, ...answer };
  return ArrayBuffer.isView(bytes) && imageTypes.some((type) => type === contentType);
}

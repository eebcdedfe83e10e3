/** An oracle as a program that runs: asked in batches, started again where it dies, never waited for without end. */

import { type ChildProcessByStdio, spawn } from 'node:child_process';
import { once } from 'node:events';
import type { Readable, Writable } from 'node:stream';
import type { CanonicalAnswer, Failure, OracleRequest, RoomAnswer } from './protocol.ts';

/** A batch is at most this many requests: it fits into the pipes and is answered in seconds. */
const BATCH = 32;
/** How long there may be no answer at all. A room takes some milliseconds; starting, a second or two. */
const SILENCE_MS = 120_000;

/** How many times the program may end without any answer. */
const MOST_BARREN = 3;

type AnswerTo<T extends OracleRequest> = (T extends { op: 'room' } ? RoomAnswer : CanonicalAnswer) | Failure;

export interface OracleProgram {
  /** As in the names of tests and of disagreements. */
  readonly name: OracleName;
  readonly command: string;
  readonly args: readonly string[];
}

export type OracleName = 'ruma' | 'synapse';

type Child = ChildProcessByStdio<Writable, Readable, null>;

export class Oracle implements AsyncDisposable {
  readonly name: OracleName;
  readonly #program: OracleProgram;
  #child: Child | undefined;
  #waiting: ((line: string | undefined) => void) | undefined;
  #lines: string[] = [];
  /** How many times in a row the program has ended without any answer. */
  #barren = 0;

  constructor(program: OracleProgram) {
    this.name = program.name;
    this.#program = program;
  }

  /** The answers in the order of the requests. A request that ends the program is answered with a failure. */
  async ask<T extends OracleRequest>(requests: readonly T[]): Promise<AnswerTo<T>[]> {
    const answers: AnswerTo<T>[] = [];
    while (answers.length < requests.length) {
      const batch = requests.slice(answers.length, answers.length + BATCH);
      this.#send(batch, answers.length);
      const before = answers.length;
      while (answers.length < before + batch.length) {
        // One by one: the answers are lines of one stream.
        const line = await this.#line();
        if (line === undefined) break;
        answers.push(this.#answer(line, answers.length));
      }
      if (answers.length === before + batch.length) continue;
      await this.#end();
      // One that cannot even start is not to be started for every request.
      this.#barren = answers.length === before ? this.#barren + 1 : 0;
      if (this.#barren > MOST_BARREN) throw new Error(`${this.name} ends again and again, without an answer`);
      answers.push({
        error: `crashed: the program ended, or was silent for ${SILENCE_MS} ms`,
      } as AnswerTo<T>);
    }
    return answers;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.#end();
  }

  #answer<T extends OracleRequest>(line: string, id: number): AnswerTo<T> {
    const answer = JSON.parse(line) as AnswerTo<T> & { id?: number };
    if (answer.id !== id) throw new Error(`${this.name} answered request ${answer.id} instead of ${id}`);
    return answer;
  }

  #send(requests: readonly OracleRequest[], firstId: number): void {
    const child = this.#started();
    for (const [at, request] of requests.entries()) {
      child.stdin.write(`${JSON.stringify({ ...request, id: firstId + at })}\n`);
    }
  }

  #started(): Child {
    if (this.#child !== undefined) return this.#child;
    const { command, args } = this.#program;
    const child = spawn(command, args, { stdio: ['pipe', 'pipe', 'inherit'] });
    this.#child = child;
    this.#lines = [];
    const gone = () => {
      if (this.#child === child) this.#child = undefined;
      this.#waiting?.(undefined);
    };
    child.on('error', gone);
    // A write to a program that has just ended: its end is told by `close`.
    child.stdin.on('error', () => {});
    // Not by `readline`: to that, U+2028 ends a line, which canonical JSON writes as it is.
    let rest = '';
    child.stdout
      .setEncoding('utf8')
      .on('data', (text: string) => {
        const lines = (rest + text).split('\n');
        rest = lines.pop() ?? '';
        if (this.#child === child) for (const line of lines) this.#take(line);
      })
      .on('close', gone);
    return child;
  }

  #take(line: string): void {
    if (this.#waiting === undefined) this.#lines.push(line);
    else this.#waiting(line);
  }

  /** The next line of the program; undefined where it has ended or says nothing. */
  #line(): Promise<string | undefined> {
    const line = this.#lines.shift();
    if (line !== undefined) return Promise.resolve(line);
    if (this.#child === undefined) return Promise.resolve(undefined);
    return new Promise((resolve) => {
      const answer = (next: string | undefined) => {
        clearTimeout(timer);
        this.#waiting = undefined;
        resolve(next);
      };
      const timer = setTimeout(answer, SILENCE_MS, undefined);
      this.#waiting = answer;
    });
  }

  async #end(): Promise<void> {
    const child = this.#child;
    this.#child = undefined;
    if (child === undefined || child.exitCode !== null || child.signalCode !== null) return;
    const exited = once(child, 'exit');
    child.kill('SIGKILL');
    await exited;
  }
}

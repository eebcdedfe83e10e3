/**
 * Requests to an application service: https://spec.matrix.org/v1.19/application-service-api/#homeserver---application-service-api
 *
 * Each service has connections of its own, so that one that hangs holds nobody else up. What it answers is read up to a
 * bound, for as long as a deadline allows.
 */

import { LazyAgent } from '#federation/network/lazy-agent.ts';
import { parseLoose } from '#keys/canonical-json.ts';
import type { Json } from '#keys/json.ts';
import type { Registration } from './registration.ts';

export interface Call {
  readonly method: 'GET' | 'POST' | 'PUT';
  /** After `/_matrix/app`. */
  readonly path: string;
  /** What the path was before Matrix 1.0, from the root on; undefined where there was none. */
  readonly formerPath?: string;
  readonly query?: URLSearchParams;
  /** JSON. */
  readonly body?: string;
  readonly timeoutMs: number;
  /** Of the answer; 1 MiB where it is not given. */
  readonly mostBytes?: number;
  readonly signal?: AbortSignal;
}

export type Answered =
  | {
      readonly kind: 'answered';
      readonly status: number;
      /** Undefined where it is no JSON, or too large. */
      readonly json: Json | undefined;
      /** Its beginning. */
      readonly text: string;
    }
  | { readonly kind: 'no_answer' | 'timeout'; readonly reason: string };

const CONNECTIONS = 8;
const MOST_BYTES = 1024 * 1024;
const MOST_TEXT = 1_000;
/** "Homeservers should periodically try again for the newer endpoints". */
const FORMER_MS = 60 * 60_000;

/** How one service is asked. */
export class Caller {
  readonly #registration: Pick<Registration, 'url' | 'hsToken'>;
  readonly #tokenInQuery: boolean;
  readonly #agent: LazyAgent;
  /** Until when, by the process's own clock, the service is asked by the older paths. */
  #formerUntil = 0;

  constructor(
    registration: Pick<Registration, 'url' | 'hsToken'>,
    options: { readonly tokenInQuery: boolean },
  ) {
    this.#registration = registration;
    this.#tokenInQuery = options.tokenInQuery;
    this.#agent = new LazyAgent({ connections: CONNECTIONS, pipelining: 1, connect: { timeout: 10_000 } });
  }

  /** Asks; by the older path too, where the service does not know the newer one. */
  async call(call: Call): Promise<Answered> {
    const { path, formerPath } = call;
    const current = `/_matrix/app${path}`;
    const asksFormer = formerPath !== undefined && performance.now() < this.#formerUntil;
    const first = await this.#ask(call, asksFormer ? formerPath : current);
    if (asksFormer || formerPath === undefined || !isUnknownPath(first)) return first;
    const second = await this.#ask(call, formerPath);
    if (second.kind !== 'answered' || isUnknownPath(second)) return first;
    if (second.status < 400) this.#formerUntil = performance.now() + FORMER_MS;
    return second;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.#agent[Symbol.asyncDispose]();
  }

  async #ask(call: Call, path: string): Promise<Answered> {
    const { method, query, body, timeoutMs, signal, mostBytes = MOST_BYTES } = call;
    const { url = '', hsToken } = this.#registration;
    const parameters = new URLSearchParams(query);
    if (this.#tokenInQuery) parameters.set('access_token', hsToken);
    const search = parameters.size === 0 ? '' : `?${parameters}`;
    const deadline = AbortSignal.timeout(timeoutMs);
    const headers = {
      authorization: `Bearer ${hsToken}`,
      ...(body !== undefined && { 'content-type': 'application/json' }),
    };
    try {
      const { agent, request } = await this.#agent.open();
      const answer = await request(`${url}${path}${search}`, {
        ...{ method, headers, dispatcher: agent },
        ...(body !== undefined && { body }),
        signal: signal === undefined ? deadline : AbortSignal.any([deadline, signal]),
      });
      const text = await textOf(answer.body, mostBytes);
      const parsed = text === undefined ? undefined : parseLoose(Buffer.from(text));
      return {
        kind: 'answered',
        status: answer.statusCode,
        json: parsed?.kind === 'ok' ? parsed.value : undefined,
        text: (text ?? '').slice(0, MOST_TEXT),
      };
    } catch (error) {
      if (deadline.aborted) return { kind: 'timeout', reason: `no answer within ${timeoutMs / 1_000} s` };
      return { kind: 'no_answer', reason: reasonOf(error) };
    }
  }
}

/** The whole of a body; undefined for one that is too large, of which no more is read. */
async function textOf(body: AsyncIterable<Buffer>, mostBytes: number): Promise<string | undefined> {
  const chunks: Buffer[] = [];
  let size = 0;
  for await (const chunk of body) {
    size += chunk.length;
    if (size > mostBytes) return undefined;
    chunks.push(chunk);
  }
  return Buffer.concat(chunks).toString();
}

/** True for what a program says that does not know the path: not for its word on what was asked for. */
export function isUnknownPath(answer: Answered): boolean {
  if (answer.kind !== 'answered') return false;
  const { status, json } = answer;
  if (status === 405 || status === 501) return true;
  if (status !== 404) return false;
  const isWord = typeof json === 'object' && json !== null && 'errcode' in json;
  return !isWord || json.errcode === 'M_UNRECOGNIZED';
}

function reasonOf(error: unknown): string {
  if (!(error instanceof Error)) return String(error);
  const { code } = error as NodeJS.ErrnoException;
  return code === undefined || error.message.includes(code) ? error.message : `${error.message} (${code})`;
}

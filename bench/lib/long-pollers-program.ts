/** The process of `long-pollers.ts`. */

import { Connection, lengthOf } from '#bench/lib/connection.ts';
import type { Deliveries, ToProgram } from '#bench/lib/long-pollers.ts';

interface Round {
  readonly mark: string;
  readonly started: number;
  missing: number;
  done: () => void;
}

const CONNECTING_AT_ONCE = 50;
const WAIT_MS = 60_000;
const SLIDING = '/_matrix/client/unstable/org.matrix.simplified_msc3575/sync';

const latencies: number[] = [];
/** Before the token of an answer. */
let tokenMember = '';
let url = '';
let clients = 0;
let wrong = 0;
let round: Round | undefined;

process.on('message', (message: ToProgram) => {
  answer(message).then(
    (answered) => process.send?.(answered),
    (error: unknown) => {
      console.error(error);
      process.exit(1);
    },
  );
});
// Connections are still open.
process.on('disconnect', () => process.exit(0));

function answer(message: ToProgram): Promise<object> {
  return message.kind === 'start' ? start(message) : send(message);
}

async function start({
  url: base,
  tokens,
  filter,
  sliding = false,
}: ToProgram & { kind: 'start' }): Promise<object> {
  url = base;
  clients = tokens.length;
  // Nobody is told that others are there: of so many who come at once that would be most of the news.
  const path = sliding
    ? `${SLIDING}?set_presence=offline`
    : `/_matrix/client/v3/sync?filter=${encodeURIComponent(filter)}&set_presence=offline`;
  const method = sliding ? 'POST' : 'GET';
  const body = sliding ? filter : '';
  const ending = sliding ? lengthOf(body) : '\r\n';
  tokenMember = sliding ? '"pos":"' : '"next_batch":"';
  for (let from = 0; from < tokens.length; from += CONNECTING_AT_ONCE) {
    const some = tokens.slice(from, from + CONNECTING_AT_ONCE);
    await Promise.all(
      some.map(async (token) => {
        const connection = await Connection.open(url);
        const first = await connection.send(connection.head(method, path, token) + ending, body);
        if (first.status !== 200) throw new Error(`/sync answered ${first.status}: ${first.body}`);
        const [before = '', after = ''] = connection
          .head(method, `${path}&timeout=${WAIT_MS}&${sliding ? 'pos' : 'since'}=\0`, token)
          .split('\0');
        const rest = { before, after: after + ending, body };
        poll(connection, rest, nextBatchOf(first.body)).catch((error) => {
          console.error(error);
          process.exit(1);
        });
      }),
    );
  }
  return {};
}

async function poll(
  connection: Connection,
  request: { readonly before: string; readonly after: string; readonly body: string },
  first: string,
): Promise<void> {
  for (let since = first; ; ) {
    const { status, body } = await connection.send(request.before + since + request.after, request.body);
    if (status !== 200) throw new Error(`/sync answered ${status}: ${body}`);
    since = nextBatchOf(body);
    note(body);
  }
}

function note(body: string): void {
  if (round === undefined) return;
  if (!body.includes(round.mark)) {
    wrong += 1;
    return;
  }
  latencies.push(performance.now() - round.started);
  round.missing -= 1;
  if (round.missing === 0) round.done();
}

async function send({ roomId, token, seconds }: ToProgram & { kind: 'send' }): Promise<Deliveries> {
  const sender = await Connection.open(url);
  const path = `/_matrix/client/v3/rooms/${encodeURIComponent(roomId)}/send/m.room.encrypted/`;
  latencies.length = 0;
  wrong = 0;
  const ciphertext = 'AwgAEnACgAkLmt6qF84IK'.repeat(40);
  const before = process.cpuUsage();
  const started = performance.now();
  let sends = 0;
  for (; performance.now() - started < seconds * 1_000; sends++) {
    const mark = `mark-${started}-${sends}.`;
    const body = JSON.stringify({ algorithm: 'm.megolm.v1.aes-sha2', mark, ciphertext });
    const { promise, resolve } = Promise.withResolvers<void>();
    round = { mark, started: performance.now(), missing: clients, done: resolve };
    const { status } = await sender.send(sender.head('PUT', path + mark, token) + lengthOf(body), body);
    if (status !== 200) throw new Error(`a send answered ${status}`);
    // The next one when all have it.
    await promise;
  }
  const elapsedMs = performance.now() - started;
  const { user, system } = process.cpuUsage(before);
  round = undefined;
  sender.close();
  const cpuMs = (user + system) / 1_000;
  return { sends, deliveries: latencies.length, wrong, elapsedMs, latencies: [...latencies], cpuMs };
}

function nextBatchOf(body: string): string {
  const from = body.indexOf(tokenMember) + tokenMember.length;
  return body.slice(from, body.indexOf('"', from));
}

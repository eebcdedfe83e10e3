/** Published attacks on the log: who reads it must be able to trust its lines. */

import assert from 'node:assert/strict';
import { request as httpRequest } from 'node:http';
import { test } from 'node:test';
import { readableLine } from '#server/log.ts';
import { register } from '#test/harness/client.ts';
import { startServer } from '#test/harness/server.ts';

const FORGED = '\r\n{"level":"warn","msg":"forged"}\n\u001b[2J\u001b]0;title\u0007\u009b31m\u007f';

/** Signs that a terminal or a reader of lines would obey. */
function controlsIn(text: string): string[] {
  return text.replaceAll('\n', '').match(/\p{Cc}/gu) ?? [];
}

test('row 172: what users say makes no line of the log and no sign that a terminal obeys', async () => {
  const lines: string[] = [];
  await using server = await startServer({ logTo: (line) => lines.push(line), registration: 'open' });
  const alice = await register(server, 'alice');
  const odd = encodeURIComponent(FORGED);
  const roomId = await alice.createRoom({ name: FORGED, topic: FORGED });
  const attempts: [string, string, object?][] = [
    ['PUT', `/profile/${alice.userId}/displayname`, { displayname: FORGED }],
    ['PUT', `/devices/${alice.deviceId}`, { display_name: FORGED }],
    ['PUT', `/rooms/${roomId}/send/${odd}/${odd}`, { body: FORGED }],
    ['PUT', `/rooms/${roomId}/state/m.room.topic/${odd}`, { topic: FORGED }],
    ['POST', `/rooms/${roomId}/report`, { reason: FORGED }],
    ['POST', `/rooms/${roomId}/invite`, { user_id: `@${FORGED}:kurir.test` }],
    ['POST', '/login', { type: 'm.login.password', user: FORGED, password: FORGED }],
    ['POST', '/register', { username: FORGED, password: FORGED }],
    ['POST', `/join/${odd}?via=${odd}`],
    ['GET', `/profile/${odd}`],
    ['GET', `/${odd}`],
  ];
  for (const [method, path, body] of attempts) await alice.try(method, path, body);
  // In a header no other sign of control can come.
  const headers = {
    'user-agent': 'a\u009b31m',
    'x-request-id': '\u009b',
    'x-forwarded-for': '1.2.3.4\u009b',
  };
  await new Promise((resolve, reject) => {
    const outgoing = httpRequest(`${server.clientUrl}/_matrix/client/v3/sync`, { headers });
    outgoing.once('response', (answer) => answer.resume().once('end', resolve)).once('error', reject);
    outgoing.end();
  });
  server.ctx.log.error({ err: new Error(FORGED), name: FORGED, [FORGED]: 1 }, 'something');
  assert.ok(lines.length > attempts.length);
  for (const line of lines) {
    assert.equal(line.indexOf('\n'), line.length - 1, line);
    assert.deepEqual(controlsIn(line), [], line);
    assert.notEqual(JSON.parse(line).msg, 'forged');
  }
});

test('row 172: on a terminal a line that goes on is indented, and has no sign that the terminal obeys', () => {
  const line = JSON.stringify({
    ...{ time: '2026-01-01T12:00:01.000Z', level: 'error', msg: 'something', name: FORGED },
    err: { stack: `Error: ${FORGED}\n12:00:01 warn  forged\n    at x.ts:1:1` },
  });
  const text = readableLine(line);
  assert.deepEqual(controlsIn(text), []);
  const [first = '', ...rest] = text.trimEnd().split('\n');
  assert.match(first, /^12:00:01 error something {2}name=/);
  for (const more of rest) assert.match(more, /^ {4}/);
  assert.match(text, /at x\.ts:1:1/);
});

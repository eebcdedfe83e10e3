/**
 * Every operation of the specification is either served or stands in `not-served.json`. That list may only shrink:
 * whoever serves an operation takes it off.
 */

import assert from 'node:assert/strict';
import fs from 'node:fs';
import path from 'node:path';
import { test } from 'node:test';
import { Agent, request } from 'undici';
import { startServer } from '#test/harness/server.ts';
import { type Operation, specBundle } from '#test/harness/spec/bundle.ts';
import { nameOf } from '#test/harness/spec/operations.ts';

/** A value of the right form for each parameter, so that no route refuses the path itself. */
const PARAMETERS: ReadonlyMap<string, string> = new Map([
  ['eventId', '$event'],
  ['keyId', 'ed25519:1'],
  ['kind', 'override'],
  ['queryType', 'directory'],
  ['receiptType', 'm.read'],
  ['relType', 'm.annotation'],
  ['roomAlias', '#alias:localhost'],
  ['roomId', '!room:localhost'],
  ['roomIdOrAlias', '!room:localhost'],
  ['serverName', 'localhost'],
  ['userId', '@user:localhost'],
  ['keyName', 'displayname'],
  ['type', 'm.direct'],
  ['eventType', 'm.room.message'],
  ['version', '1'],
]);

function readJson(name: string): Record<string, unknown> {
  return JSON.parse(fs.readFileSync(path.join(import.meta.dirname, name), 'utf8'));
}

test('spec 1.19: every operation is served, or in the list of those that are not yet', async () => {
  const { operations } = await specBundle();
  const listed = readJson('not-served.json').operations as readonly string[];
  await using server = await startServer({ publicBaseurl: 'https://matrix.kurir.test' });
  const agent = new Agent({ connect: { rejectUnauthorized: false } });
  const base = new Map([
    ['client-server', server.clientUrl],
    ['server-server', server.federationUrl],
  ]);
  const unserved: string[] = [];
  // One after the other: 200 short requests, and a failure names its operation.
  for (const operation of operations) {
    const url = base.get(operation.api);
    if (url !== undefined && !(await isServed(operation, url, agent))) unserved.push(nameOf(operation));
  }
  await agent.close();

  const known = new Set(operations.map(nameOf));
  assert.deepEqual(
    listed.filter((name) => !known.has(name)),
    [],
    'listed, but not an operation of the specification',
  );
  const notListed = unserved.filter((name) => !listed.includes(name));
  assert.deepEqual(notListed, [], 'neither served nor listed in not-served.json: serve them');
  const served = listed.filter((name) => !unserved.includes(name));
  assert.deepEqual(served, [], 'listed in not-served.json, but served: take them off the list');
});

/** An operation that no route answers is refused with M_UNRECOGNIZED, 404 or 405, before anything else is asked. */
async function isServed({ method, path }: Operation, base: string, dispatcher: Agent): Promise<boolean> {
  const filled = path.replace(/\{(\w+)\}/g, (_, name) => encodeURIComponent(PARAMETERS.get(name) ?? name));
  const { body } = await request(base + filled, {
    method: method as 'GET' | 'PUT' | 'POST' | 'DELETE',
    dispatcher,
    ...(method === 'GET' ? {} : { headers: { 'content-type': 'application/json' }, body: '{}' }),
  });
  return !/"errcode": *"M_UNRECOGNIZED"/.test(await body.text());
}

/** What is wrong with the answers of a server that is reached, and with how it sees this one. */

import assert from 'node:assert/strict';
import { test } from 'node:test';
import { Callers } from '#federation/doctor/callers.ts';
import { diagnose } from '#federation/doctor/diagnose.ts';
import { reportOf } from '#federation/doctor/report.ts';
import { ServerResolver } from '#federation/network/resolve.ts';
import { generateSeed, keyPairFromSeed } from '#keys/ed25519.ts';
import type { KeyId } from '#keys/ids.ts';
import type { JsonObject } from '#keys/json.ts';
import { buildServerKeyDocument } from '#keys/server-key-document.ts';
import type { Database } from '#storage/database.ts';
import * as serverKeys from '#storage/server-keys.ts';
import { everybody } from '#test/harness/connect.ts';
import { freePort } from '#test/harness/free-port.ts';
import { keyDocumentOf, type Peer, type PeerAnswer, startPeer } from '#test/harness/peer.ts';
import {
  authority,
  factsIn,
  faultsOf,
  honest,
  html,
  of,
  refusal,
  startHonest,
  stepsIn,
  type World,
} from './world.ts';

const KEY = '/key/v2/server';
const PROFILE = '/query/profile';
const DIRECTORY = '/query/directory';
const HOUR = 3_600_000;

/** A server whose key document the test makes. */
function startWithKeys(document: (peer: Peer) => PeerAnswer): Promise<Peer> {
  return startPeer({
    authority,
    answer: (request, peer) =>
      request.url.endsWith(KEY) ? document(peer) : honest(peer.name)(request, peer),
  });
}

const answers: readonly (readonly [string, PeerAnswer, cause: string, words: RegExp])[] = [
  ['a proxy whose server is down', html(502), 'gateway_error', /^answers 502: status 502$/],
  [
    'a server that asks to be left alone',
    refusal(429, 'M_LIMIT_EXCEEDED', { retry_after_ms: 90_000 }),
    'rate_limited',
    /^asks to be left alone for 2 minutes$/,
  ],
  ['a web page', html(), 'not_matrix', /gives no key document/],
  ['a redirect', { status: 302, json: {}, headers: { location: '/' } }, 'not_matrix', /status 302/],
  ['a server that fails', refusal(500, 'M_UNKNOWN'), 'server_error', /^answers 500: refused with 500$/],
  ['a server without the endpoint', html(404), 'key_missing', /^does not give its key: answers 404/],
  ['a server that gives nobody its key', refusal(403, 'M_FORBIDDEN'), 'refuses_us', /^answers 403/],
  ['a connection that is cut', (response) => response.destroy(), 'connection_cut', /closed|other side/],
];

for (const [what, answer, cause, words] of answers) {
  test(`${what}: ${cause}, and nothing more is asked`, async () => {
    await using peer = await startHonest({ [KEY]: answer });
    const steps = await stepsIn({}, peer.name);
    assert.deepEqual(faultsOf(steps), [cause]);
    assert.match(of(steps, 'key')[0]?.words ?? '', words);
    assert.ok(peer.requests.every(({ url }) => url.endsWith(KEY)));
  });
}

test('a key document: of another server, not signed by itself, out of date, none', async () => {
  const other = keyPairFromSeed('other', generateSeed());
  const cases: readonly (readonly [(peer: Peer) => JsonObject, cause: string, words: RegExp])[] = [
    [
      ({ signingKey }) => keyDocumentOf({ name: 'b.test', signingKey }),
      'name_differs',
      /is the server b\.test$/,
    ],
    [
      (peer) => ({ ...keyDocumentOf(peer), verify_keys: { 'ed25519:peer': { key: other.publicKey } } }),
      'key_unsigned',
      /is not signed by a key of its own$/,
    ],
    [
      ({ name, signingKey }) =>
        buildServerKeyDocument({ serverName: name, signingKey, validUntilTs: Date.now() - 48 * HOUR }),
      'key_expired',
      /^its key document ended on \d{4}-\d\d-\d\d$/,
    ],
    [() => ({ hello: 'world' }), 'not_matrix', /gives no key document$/],
  ];
  for (const [document, cause, words] of cases) {
    await using peer = await startWithKeys((self) => ({ json: document(self) }));
    const steps = await stepsIn({}, peer.name);
    assert.deepEqual(faultsOf(steps), [cause]);
    assert.match(of(steps, 'key')[0]?.words ?? '', words);
  }
});

/** The keys that are known of a server before the check. */
function knowing(name: () => string, keys: Readonly<Record<KeyId, string>>): World {
  const published = new Map(
    Object.entries(keys).map(([keyId, publicKey]) => [keyId as KeyId, { publicKey }]),
  );
  const known = () => ({
    serverName: name(),
    validUntilTs: Date.now() + HOUR,
    keys: published,
    document: {},
  });
  return { prepare: (db: Database) => db.write('test', (tx) => serverKeys.set(tx, known())) };
}

test('a key that changed and kept its id is a fault; one that is published no more is noted; a rotation is fine', async () => {
  const { publicKey } = keyPairFromSeed('x', generateSeed());
  await using peer = await startHonest();
  const name = () => peer.name;
  const changed = await stepsIn(knowing(name, { 'ed25519:peer': publicKey }), peer.name);
  assert.deepEqual(faultsOf(changed), ['key_changed']);
  assert.equal(of(changed, 'key')[0]?.words, 'its signing key ed25519:peer changed and kept its id');
  const unlisted = await stepsIn(knowing(name, { 'ed25519:before': publicKey }), peer.name);
  assert.deepEqual([faultsOf(unlisted), of(unlisted, 'key')[1]?.fault?.cause], [[], 'key_unlisted']);
  const same = await stepsIn(knowing(name, { 'ed25519:peer': peer.signingKey.keyPair.publicKey }), peer.name);
  assert.match(of(same, 'key')[0]?.words ?? '', /as it was known before$/);
  await using rotated = await startWithKeys(({ name: serverName, signingKey: { keyPair } }) => {
    const oldKeys = [{ keyId: 'ed25519:before' as KeyId, publicKey, expiredTs: Date.now() }];
    const signingKey = { keyPair, oldKeys };
    return { json: buildServerKeyDocument({ serverName, signingKey, validUntilTs: Date.now() + HOUR }) };
  });
  const listed = await stepsIn(
    knowing(() => rotated.name, { 'ed25519:before': publicKey }),
    rotated.name,
  );
  assert.deepEqual([faultsOf(listed), of(listed, 'key').length], [[], 1]);
});

test('a clock that is five minutes off, by the Date of its answers', async () => {
  for (const [ms, words] of [
    [300_000, 'its clock is off by 5 minutes (ahead of ours)'],
    [-300_000, 'its clock is off by 5 minutes (behind ours)'],
  ] as const) {
    await using peer = await startWithKeys((self) => ({
      json: keyDocumentOf(self),
      headers: { date: new Date(Date.now() + ms).toUTCString() },
    }));
    const steps = await stepsIn({}, peer.name);
    assert.deepEqual([faultsOf(steps), of(steps, 'clock')[0]?.words], [['clock_off'], words]);
  }
});

const verdicts: readonly (readonly [string, Record<string, PeerAnswer>, faults: string[], words: RegExp])[] =
  [
    ['a server that gives the profile', { [PROFILE]: { json: {} } }, [], /^it verifies ours/],
    [
      'a server that cannot verify us',
      { [PROFILE]: refusal(401, 'M_UNAUTHORIZED') },
      ['signature_refused'],
      /^answers 401: refused with 401$/,
    ],
    [
      'a list of permitted servers that lacks us',
      { [PROFILE]: refusal(403, 'M_FORBIDDEN'), [DIRECTORY]: refusal(403, 'M_FORBIDDEN') },
      ['refuses_us'],
      /^answers 403: refused with 403$/,
    ],
    [
      'a server that gives no profiles to anybody',
      { [PROFILE]: refusal(403, 'M_FORBIDDEN') },
      [],
      /^it verifies ours/,
    ],
    [
      'a server that knows no profiles',
      { [PROFILE]: refusal(404, 'M_UNRECOGNIZED') },
      [],
      /^it verifies ours/,
    ],
    [
      'a server that knows neither question',
      { [PROFILE]: refusal(404, 'M_UNRECOGNIZED'), [DIRECTORY]: html(404) },
      [],
      /^it knows none of the questions$/,
    ],
    [
      'a server that limits us',
      { [PROFILE]: refusal(429, 'M_LIMIT_EXCEEDED') },
      [],
      /^asks to be left alone$/,
    ],
    ['a server that fails at it', { [PROFILE]: refusal(500, 'M_UNKNOWN') }, ['server_error'], /^answers 500/],
  ];

for (const [what, changed, faults, words] of verdicts) {
  test(`a signed request to ${what}: ${faults[0] ?? 'no fault'}`, async () => {
    await using peer = await startHonest(changed);
    const steps = await stepsIn({}, peer.name);
    assert.deepEqual(faultsOf(steps), faults);
    assert.match(of(steps, 'signature')[0]?.words ?? '', words);
  });
}

test('a refused signature and a clock that is off: the clock is what is named', async () => {
  const date = new Date(Date.now() - 600_000).toUTCString();
  const json = { errcode: 'M_UNAUTHORIZED', error: 'no' };
  await using peer = await startHonest({ [PROFILE]: { status: 401, json, headers: { date } } });
  const steps = await stepsIn({}, peer.name);
  assert.deepEqual(faultsOf(steps), ['clock_off']);
});

test('a server without a version is noted, and talked to', async () => {
  await using peer = await startHonest({ '/v1/version': html(404) });
  const steps = await stepsIn({}, peer.name);
  assert.deepEqual([faultsOf(steps), of(steps, 'version')[0]?.state], [[], 'notice']);
});

test('what the other side says is shown on one line', async () => {
  const server = { name: 'Syn\u001b[31m\napse', version: '1'.repeat(5_000) };
  await using peer = await startHonest({ '/v1/version': { json: { server } } });
  const { lines } = reportOf(peer.name, await stepsIn({}, peer.name));
  for (const line of lines) assert.match(line, /^\P{Cc}{1,300}$/u);
});

/** Our own name, led by a .well-known to a port, in a world where the other server is sound or not. */
async function ownWorld(port: number, rest: World = {}): Promise<World & AsyncDisposable> {
  const web = await startPeer({
    authority,
    names: ['here.test'],
    answer: () => ({ json: { 'm.server': `here.test:${port}` } }),
  });
  return {
    names: { 'here.test': ['127.0.0.1'] },
    web: { 'here.test': web.port },
    ...rest,
    [Symbol.asyncDispose]: () => web[Symbol.asyncDispose](),
  };
}

test('this server by its own name: found with its key, with another, of another name, behind a closed port', async () => {
  const refuses = { [PROFILE]: refusal(401, 'M_UNAUTHORIZED') };
  await using peer = await startHonest(refuses);
  const signingKey = { keyPair: keyPairFromSeed('ours', generateSeed()), oldKeys: [] };
  const certificate = await authority.issue(['here.test'], { days: 90 });
  const own = (keys: typeof signingKey, name = 'here.test') =>
    startPeer({
      authority,
      certificate,
      answer: () => ({ json: keyDocumentOf({ name, signingKey: keys }) }),
    });
  const stranger = { keyPair: keyPairFromSeed('ours', generateSeed()), oldKeys: [] };
  await using ours = await own(signingKey);
  await using other = await own(stranger);
  await using misnamed = await own(signingKey, 'there.test');
  const cases = [
    [ours.port, undefined, /^is found at here\.test:\d+, with its present key$/],
    [other.port, 'own_key_differs', /what answers has the key ed25519:ours/],
    [misnamed.port, 'name_differs', /what answers is the server there\.test$/],
    [await freePort(), 'connection_refused', /^by its own name, here\.test: .* connection refused$/],
  ] as const;
  for (const [port, cause, words] of cases) {
    await using world = await ownWorld(port, { signingKey });
    const [step] = of(await stepsIn(world, peer.name), 'this server');
    assert.deepEqual([step?.fault?.cause, step?.state], [cause, cause === undefined ? 'fine' : 'fault']);
    assert.match(step?.words ?? '', words);
  }
});

test('a fault of this server by its own name is a note where the other has proved that it reaches it', async () => {
  await using peer = await startHonest();
  await using world = await ownWorld(await freePort());
  const [step] = of(await stepsIn(world, peer.name), 'this server');
  assert.deepEqual([step?.state, step?.fault?.cause], ['notice', 'connection_refused']);
});

test('of a running server: who has called, who was refused, who fetched the key, what is stale or left alone', async () => {
  await using peer = await startHonest({ [PROFILE]: refusal(401, 'M_UNAUTHORIZED') });
  const callers = new Callers(Date);
  const resolver = new ServerResolver({
    delegationOf: async () => undefined,
    partners: everybody,
    clock: Date,
  });
  const seen = async () => of(await stepsIn({ live: { callers, resolver } }, peer.name), 'calls us');
  assert.deepEqual(
    (await seen()).map(({ fault }) => fault?.cause),
    ['unproven'],
  );
  callers.fetchedKey('127.0.0.1');
  assert.match((await seen())[0]?.words ?? '', /^fetched our key \d seconds? ago$/);
  callers.refused(peer.name, 'The signature does not match');
  assert.equal((await seen())[1]?.fault?.cause, 'refused_here');
  assert.match((await seen())[1]?.words ?? '', /refused here \d seconds? ago: The signature does not match$/);
  callers.called(peer.name);
  const facts = await factsIn({ live: { callers, resolver } }, peer.name);
  assert.equal(of(diagnose(facts), 'calls us')[0]?.state, 'fine');
  const { live, reach } = facts;
  assert.ok(live !== undefined && reach.destination !== undefined);
  // Our own name leads nowhere here: that counts where nothing shows that the other server finds us.
  assert.equal(of(diagnose(facts), 'this server')[0]?.state, 'notice');
  const longAgo = { ...live, calls: { calledTs: Date.now() - 2 * HOUR } };
  assert.equal(of(diagnose({ ...facts, live: longAgo }), 'this server')[0]?.state, 'fault');
  const left = diagnose({ ...facts, live: { ...live, backoffMs: 120_000 } });
  assert.equal(of(left, 'delivery')[0]?.words, 'left alone for another 2 minutes');
  const moved = { ...reach.destination, host: 'old.test' };
  const stale = diagnose({ ...facts, live: { ...live, destination: moved } });
  assert.match(of(stale, 'delivery')[0]?.words ?? '', /^this server still goes to old\.test:\d+/);
});

test('a room whose access control list denies this server', async () => {
  await using peer = await startHonest();
  const facts = await factsIn({}, peer.name);
  assert.deepEqual(facts.rooms, { shared: 0, denyUs: [] });
  const [step] = of(diagnose({ ...facts, rooms: { shared: 3, denyUs: ['!a:b.test'] } }), 'rooms');
  assert.deepEqual([step?.state, step?.fault?.cause], ['fault', 'acl_denies_us']);
  assert.equal(step?.words, 'the access control list of 1 of 3 shared denies here.test: !a:b.test');
});

import assert from 'node:assert/strict';
import { test } from 'node:test';
import { generateSeed, keyPairFromSeed, type SigningKeyPair } from '#keys/ed25519.ts';
import type { KeyId, ServerName } from '#keys/ids.ts';
import { KeyRing, type KeySource } from '#keys/key-ring.ts';
import {
  buildServerKeyDocument,
  type ServerKeys,
  verifyServerKeyDocument,
} from '#keys/server-key-document.ts';
import type { OldKey } from '#keys/signing-key.ts';

const SECOND = 1_000;
const MINUTE = 60 * SECOND;
const HOUR = 60 * MINUTE;
const DAY = 24 * HOUR;
const START = 1_700_000_000_000;

const peer = 'peer.example';
const pair = keyPairFromSeed('a_1', generateSeed());
const nextPair = keyPairFromSeed('a_2', generateSeed());
const impostor = keyPairFromSeed('a_1', generateSeed());
const ownPair = keyPairFromSeed('own', generateSeed());
const ownOldPair = keyPairFromSeed('own_old', generateSeed());
const unknownKey: KeyId = 'ed25519:unknown';

/** A server that publishes one key, and old ones. */
async function published(
  keyPair: SigningKeyPair,
  validUntilTs: number,
  oldKeys: readonly OldKey[] = [],
  serverName = peer,
): Promise<ServerKeys> {
  const document = buildServerKeyDocument({ serverName, signingKey: { keyPair, oldKeys }, validUntilTs });
  const keys = await verifyServerKeyDocument(document, serverName);
  assert.ok(keys !== undefined);
  return keys;
}

type Answer = ServerKeys | undefined | (() => Promise<ServerKeys | undefined>);

/** A key ring with a clock to turn, storage in memory, and peers that answer what the test says. */
class Desk {
  now = START;
  readonly answers = new Map<ServerName, Answer>();
  readonly stored = new Map<ServerName, ServerKeys>();
  readonly fetched: ServerName[] = [];
  readonly errors: unknown[] = [];
  loads = 0;
  ring = this.open();

  open(): KeyRing {
    const oldKeys = [{ keyId: ownOldPair.keyId, publicKey: ownOldPair.publicKey, expiredTs: START - DAY }];
    const source: KeySource = {
      load: async (server) => {
        this.loads += 1;
        return this.stored.get(server);
      },
      store: async (keys) => {
        this.stored.set(keys.serverName, keys);
      },
      fetch: async (server) => {
        this.fetched.push(server);
        const answer = this.answers.get(server);
        return typeof answer === 'function' ? answer() : answer;
      },
      clock: { now: () => this.now },
      own: { serverName: 'us.example', signingKey: { keyPair: ownPair, oldKeys } },
      reportError: (error) => this.errors.push(error),
    };
    return new KeyRing(source);
  }

  async find(keyId: KeyId, atTs = this.now, strictValidity = true): Promise<string | undefined> {
    return (await this.ring.keyFor(peer, keyId, { atTs, strictValidity }))?.base64;
  }

  /** Lets look-ups that nobody waits for come to their end. */
  async settle(): Promise<void> {
    for (let turn = 0; turn < 5; turn += 1) await new Promise<void>((resolve) => setImmediate(resolve));
  }
}

test('a key is fetched once, stored, and then answered from memory', async () => {
  const desk = new Desk();
  desk.answers.set(peer, await published(pair, START + DAY));
  assert.equal(desk.ring.cachedKeyFor(peer, pair.keyId, { atTs: START, strictValidity: true }), undefined);
  assert.equal(await desk.find(pair.keyId), pair.publicKey);
  assert.equal(await desk.find(pair.keyId), pair.publicKey);
  const cached = desk.ring.cachedKeyFor(peer, pair.keyId, { atTs: START, strictValidity: true });
  assert.equal(cached?.base64, pair.publicKey);
  assert.deepEqual(desk.fetched, [peer]);
  assert.equal(desk.stored.get(peer)?.fetchedTs, START);
});

test('after a restart a stored key is answered without the network', async () => {
  const desk = new Desk();
  desk.answers.set(peer, await published(pair, START + DAY));
  await desk.find(pair.keyId);
  desk.ring = desk.open();
  desk.now += HOUR;
  assert.equal(await desk.find(pair.keyId), pair.publicKey);
  assert.deepEqual(desk.fetched, [peer]);
});

test('a key that is missing is told apart: nobody answered, or who answered does not have it', async () => {
  const desk = new Desk();
  assert.equal(desk.ring.isUnanswered(peer), false, 'nobody was asked');
  assert.equal(await desk.find(unknownKey), undefined);
  assert.equal(desk.ring.isUnanswered(peer), true);
  desk.answers.set(peer, await published(pair, START + DAY));
  desk.now += MINUTE;
  assert.equal(await desk.find(unknownKey), undefined);
  assert.equal(desk.ring.isUnanswered(peer), false);
});

test('our own keys are answered at once, old ones for events of their time', async () => {
  const { ring, fetched } = new Desk();
  const ask = async (keyId: KeyId, atTs: number, strictValidity = true) =>
    (await ring.keyFor('us.example', keyId, { atTs, strictValidity }))?.base64;
  assert.equal(await ask(ownPair.keyId, START), ownPair.publicKey);
  assert.equal(await ask(ownOldPair.keyId, START - DAY), ownOldPair.publicKey);
  assert.equal(await ask(ownOldPair.keyId, START), undefined);
  assert.equal(await ask(ownOldPair.keyId, START, false), ownOldPair.publicKey);
  assert.equal(await ask(unknownKey, START), undefined);
  assert.equal(
    ring.cachedKeyFor('us.example', ownPair.keyId, { atTs: START, strictValidity: true })?.base64,
    ownPair.publicKey,
  );
  assert.deepEqual(fetched, []);
});

test('v5: a key serves events to valid_until_ts and not beyond', async () => {
  const desk = new Desk();
  desk.answers.set(peer, await published(pair, START + HOUR));
  assert.equal(await desk.find(pair.keyId, START + HOUR), pair.publicKey);
  assert.equal(await desk.find(pair.keyId, START + HOUR + 1), undefined);
  assert.equal(await desk.find(pair.keyId, START - 365 * DAY), pair.publicKey);
});

test('v4: without strict validity an expired key will do', async () => {
  const desk = new Desk();
  desk.answers.set(peer, await published(pair, START - HOUR));
  assert.equal(await desk.find(pair.keyId, START + DAY, false), pair.publicKey);
  assert.equal(await desk.find(pair.keyId, START, true), undefined);
  assert.equal(await desk.find(pair.keyId, START - HOUR, true), pair.publicKey);
});

test('an old key serves events to its expired_ts, and no requests', async () => {
  const desk = new Desk();
  const old = { keyId: pair.keyId, publicKey: pair.publicKey, expiredTs: START - DAY };
  desk.answers.set(peer, await published(nextPair, START + DAY, [old]));
  assert.equal(await desk.find(pair.keyId, START - DAY), pair.publicKey);
  assert.equal(await desk.find(pair.keyId, START - DAY + 1), undefined);
  assert.equal(await desk.find(pair.keyId, START), undefined);
  assert.equal(await desk.find(nextPair.keyId, START), nextPair.publicKey);
});

test('valid_until_ts counts for 7 days from the fetch at most', async () => {
  const desk = new Desk();
  desk.answers.set(peer, await published(pair, START + 365 * DAY));
  assert.equal(await desk.find(pair.keyId, START + 7 * DAY), pair.publicKey);
  assert.equal(desk.stored.get(peer)?.validUntilTs, START + 7 * DAY);
  assert.equal(await desk.find(pair.keyId, START + 7 * DAY + 1), undefined);
  assert.equal(desk.fetched.length, 1, 'no document can hold that far, so none is fetched');
  desk.answers.delete(peer);
  desk.now = START + 7 * DAY + 1;
  assert.equal(await desk.find(pair.keyId), undefined);
});

test('past half of its life a document is fetched anew, while the known key is answered', async () => {
  const desk = new Desk();
  desk.answers.set(peer, await published(pair, START + DAY));
  await desk.find(pair.keyId);
  desk.answers.set(peer, await published(pair, START + 2 * DAY));
  desk.now = START + DAY / 2 - 1;
  await desk.find(pair.keyId);
  await desk.settle();
  assert.equal(desk.fetched.length, 1);
  desk.now = START + DAY / 2;
  assert.equal(await desk.find(pair.keyId), pair.publicKey);
  await desk.settle();
  assert.equal(desk.fetched.length, 2);
  assert.equal(desk.stored.get(peer)?.validUntilTs, START + 2 * DAY);
});

test('a refresh that fails is reported, and the known key stays', async () => {
  const desk = new Desk();
  desk.answers.set(peer, await published(pair, START + DAY));
  await desk.find(pair.keyId);
  const broken = new Error('broken');
  desk.answers.set(peer, () => Promise.reject(broken));
  desk.now = START + 20 * HOUR;
  assert.equal(await desk.find(pair.keyId), pair.publicKey);
  await desk.settle();
  assert.deepEqual(desk.errors, [broken]);
  assert.equal(await desk.find(pair.keyId), pair.publicKey);
});

test('a stored document whose age is unknown is answered and fetched anew', async () => {
  const desk = new Desk();
  desk.stored.set(peer, await published(pair, START + DAY));
  desk.answers.set(peer, await published(pair, START + 2 * DAY));
  assert.equal(await desk.find(pair.keyId), pair.publicKey);
  assert.deepEqual(desk.fetched, []);
  assert.equal(await desk.find(pair.keyId), pair.publicKey);
  await desk.settle();
  assert.deepEqual(desk.fetched, [peer]);
});

test('who asks while a look-up is under way waits for it', async () => {
  const desk = new Desk();
  const gate = Promise.withResolvers<void>();
  const keys = await published(pair, START + DAY);
  desk.answers.set(peer, () => gate.promise.then(() => keys));
  const asked = [...Array(20).fill(pair.keyId), unknownKey].map((keyId: KeyId) => desk.find(keyId));
  await desk.settle();
  gate.resolve();
  assert.deepEqual(await Promise.all(asked), [...Array(20).fill(pair.publicKey), undefined]);
  assert.deepEqual(desk.fetched, [peer]);
  assert.equal(desk.loads, 1);
});

test('who waits for a look-up that was content with the stored document gets one that fetches', async () => {
  const desk = new Desk();
  desk.stored.set(peer, { ...(await published(pair, START + DAY)), fetchedTs: START });
  const old = { keyId: pair.keyId, publicKey: pair.publicKey, expiredTs: START };
  desk.answers.set(peer, await published(nextPair, START + DAY, [old]));
  assert.deepEqual(await Promise.all([desk.find(pair.keyId), desk.find(nextPair.keyId)]), [
    pair.publicKey,
    nextPair.publicKey,
  ]);
  assert.deepEqual(desk.fetched, [peer]);
});

test('a server that does not answer is left alone for a minute, doubling up to an hour', async () => {
  const desk = new Desk();
  const pauses = [1, 2, 4, 8, 16, 32, 60, 60];
  await desk.find(pair.keyId);
  for (const [index, minutes] of pauses.entries()) {
    desk.now += minutes * MINUTE - 1;
    await desk.find(pair.keyId);
    assert.equal(desk.fetched.length, index + 1, `before the end of ${minutes} minutes`);
    desk.now += 1;
    await desk.find(pair.keyId);
    assert.equal(desk.fetched.length, index + 2, `after ${minutes} minutes`);
  }
  desk.answers.set(peer, await published(pair, desk.now + DAY));
  desk.now += HOUR;
  assert.equal(await desk.find(pair.keyId), pair.publicKey);
});

test('a server that calls us is asked again after a minute', async () => {
  const desk = new Desk();
  for (let round = 0; round < 8; round += 1) {
    await desk.find(pair.keyId);
    desk.now += HOUR;
  }
  await desk.find(pair.keyId);
  const before = desk.fetched.length;
  desk.answers.set(peer, await published(pair, desk.now + DAY));
  desk.now += MINUTE;
  assert.equal(await desk.find(pair.keyId), undefined);
  assert.equal(desk.fetched.length, before);
  const query = { atTs: desk.now, strictValidity: true, calledUs: true };
  assert.equal((await desk.ring.keyFor(peer, pair.keyId, query))?.base64, pair.publicKey);
});

test('key ids that somebody made up do not flood a server, nor hide its next key for long', async () => {
  const desk = new Desk();
  desk.answers.set(peer, await published(pair, START + DAY));
  for (let index = 0; index < 50; index += 1)
    assert.equal(await desk.find(`ed25519:made_up_${index}`), undefined);
  assert.equal(desk.fetched.length, 1);
  const old = { keyId: pair.keyId, publicKey: pair.publicKey, expiredTs: START + SECOND };
  desk.answers.set(peer, await published(nextPair, START + DAY, [old]));
  desk.now += 10 * SECOND;
  assert.equal(await desk.find(nextPair.keyId), nextPair.publicKey);
  assert.equal(desk.fetched.length, 2);
});

test('a fetch that throws is told to those who wait, and counts as a failure', async () => {
  const desk = new Desk();
  desk.answers.set(peer, () => Promise.reject(new Error('broken')));
  const outcomes = await Promise.allSettled([desk.find(pair.keyId), desk.find(pair.keyId)]);
  assert.deepEqual(
    outcomes.map(({ status }) => status),
    ['rejected', 'rejected'],
  );
  assert.equal(await desk.find(pair.keyId), undefined);
  assert.equal(desk.fetched.length, 1);
});

test('a spurious answer never replaces a key that is still valid', async () => {
  const desk = new Desk();
  const genuine = await published(pair, START + DAY);
  desk.answers.set(peer, genuine);
  await desk.find(pair.keyId);
  desk.answers.set(peer, await published(impostor, START + 30 * DAY));
  desk.now = START + 20 * HOUR;
  await desk.find(pair.keyId);
  await desk.find(unknownKey);
  await desk.settle();
  assert.equal(desk.fetched.length, 2);
  assert.equal(await desk.find(pair.keyId), pair.publicKey);
  assert.equal(desk.stored.get(peer)?.document, genuine.document);
  assert.equal(await desk.find(pair.keyId, START + DAY + 1), undefined, 'nor does it prolong its life');
  desk.now = START + 2 * DAY;
  assert.equal(await desk.find(pair.keyId), impostor.publicKey, 'after its time the id may be used anew');
});

test('an answer about another server is not believed', async () => {
  const desk = new Desk();
  desk.answers.set(peer, await published(pair, START + DAY, [], 'other.example'));
  assert.equal(await desk.find(pair.keyId), undefined);
  assert.equal(desk.stored.size, 0);
});

test('an answer that is out of date does not replace one that is not', async () => {
  const desk = new Desk();
  desk.answers.set(peer, await published(nextPair, START + DAY));
  await desk.find(nextPair.keyId);
  desk.answers.set(peer, await published(pair, START - DAY));
  desk.now += MINUTE;
  assert.equal(await desk.find(pair.keyId, START - DAY), undefined);
  assert.equal(await desk.find(nextPair.keyId), nextPair.publicKey);
});

test('a key that the server no longer names is kept for the events of its time', async () => {
  const desk = new Desk();
  desk.answers.set(peer, await published(pair, START + DAY));
  await desk.find(pair.keyId);
  desk.answers.set(peer, await published(nextPair, START + 2 * DAY));
  desk.now = START + HOUR;
  assert.equal(await desk.find(nextPair.keyId), nextPair.publicKey);
  assert.equal(await desk.find(pair.keyId, START + HOUR), pair.publicKey);
  assert.equal(await desk.find(pair.keyId, START + HOUR + 1), undefined);
  assert.equal(desk.stored.get(peer)?.keys.get(pair.keyId)?.expiredTs, START + HOUR);
});

test('ensure brings keys of many servers into memory and passes over those that do not answer', async () => {
  const desk = new Desk();
  const servers = Array.from({ length: 60 }, (_, index) => `s${index}.example`);
  for (const server of servers.slice(0, 50)) {
    desk.answers.set(server, await published(pair, START + DAY, [], server));
  }
  const requests = [...servers, ...servers].map((server) => ({ server, keyId: pair.keyId, atTs: START }));
  await desk.ring.ensure(requests, AbortSignal.timeout(60_000));
  const found = servers.map(
    (server) => desk.ring.cachedKeyFor(server, pair.keyId, { atTs: START, strictValidity: true })?.base64,
  );
  assert.deepEqual(
    found,
    servers.map((_, index) => (index < 50 ? pair.publicKey : undefined)),
  );
  assert.equal(desk.fetched.length, 60);
});

test('ensure brings a key for a time at which no key is valid yet: the key may serve other events', async () => {
  const desk = new Desk();
  desk.answers.set(peer, await published(pair, START + DAY));
  const request = { server: peer, keyId: pair.keyId, atTs: Number.MAX_SAFE_INTEGER };
  await desk.ring.ensure([request], AbortSignal.timeout(60_000));
  const find = (atTs: number, strictValidity: boolean) =>
    desk.ring.cachedKeyFor(peer, pair.keyId, { atTs, strictValidity })?.base64;
  assert.equal(find(START, true), pair.publicKey);
  assert.equal(find(request.atTs, false), pair.publicKey);
  assert.equal(find(request.atTs, true), undefined);
});

test('a caller who gives up does not end the look-up for others', async () => {
  const desk = new Desk();
  const gate = Promise.withResolvers<void>();
  const keys = await published(pair, START + DAY);
  desk.answers.set(peer, () => gate.promise.then(() => keys));
  const impatience = new AbortController();
  const query = { atTs: START, strictValidity: true };
  const impatient = desk.ring.keyFor(peer, pair.keyId, { ...query, signal: impatience.signal });
  const patient = desk.find(pair.keyId);
  impatience.abort(new Error('gave up'));
  await assert.rejects(impatient, /gave up/);
  await assert.rejects(
    desk.ring.keyFor(peer, pair.keyId, { ...query, signal: impatience.signal }),
    /gave up/,
  );
  gate.resolve();
  assert.equal(await patient, pair.publicKey);
});

test('disposing of the ring aborts the look-ups under way', async () => {
  let aborted = false;
  const desk = new Desk();
  await using ring = new KeyRing({
    load: async () => undefined,
    store: async () => {},
    fetch: (_server, _keyIds, signal) =>
      new Promise((resolve) => {
        signal?.addEventListener('abort', () => {
          aborted = true;
          resolve(undefined);
        });
      }),
    clock: { now: () => desk.now },
    own: { serverName: 'us.example', signingKey: { keyPair: ownPair, oldKeys: [] } },
  });
  const asked = ring.keyFor(peer, pair.keyId, { atTs: START, strictValidity: true });
  await desk.settle();
  await ring[Symbol.asyncDispose]();
  assert.equal(await asked, undefined);
  assert.equal(aborted, true);
});

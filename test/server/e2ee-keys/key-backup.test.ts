/** https://spec.matrix.org/v1.19/client-server-api/#server-side-key-backups */

import assert from 'node:assert/strict';
import { after, test } from 'node:test';
import { setTimeout as sleep } from 'node:timers/promises';
import { sql } from '#storage/sql.ts';
import { type Answer, register, request, type TestClient } from '#test/harness/client.ts';
import { startServer } from '#test/harness/server.ts';

const server = await startServer();
after(() => server[Symbol.asyncDispose]());

const ROOM = '!room:hs1';
const OTHER_ROOM = '!other:hs1';
const BACKUP = { algorithm: 'm.megolm_backup.v1.curve25519-aes-sha2', auth_data: { public_key: 'abc' } };
const KEYS_LEFT = sql<[], { total: number }>(
  'test.keysLeft',
  'SELECT count(*) AS total FROM backed_up_keys WHERE backup_nid IN (SELECT backup_nid FROM key_backups WHERE deleted = 1)',
);

interface Key {
  readonly first_message_index: number;
  readonly forwarded_count: number;
  readonly is_verified: boolean;
  readonly session_data: object;
}

function keyOf(ciphertext: string, rank: Partial<Key> = {}): Key {
  return {
    first_message_index: 10,
    forwarded_count: 5,
    is_verified: false,
    ...rank,
    session_data: { ciphertext },
  };
}

/** Where a key, the keys of a room, or all keys are. */
function path(version: string, ...names: readonly string[]): string {
  return ['/room_keys/keys', ...names.map(encodeURIComponent)].join('/').concat(`?version=${version}`);
}

async function withBackup(): Promise<{ alice: TestClient; version: string }> {
  const alice = await register(server);
  const { version } = await alice.post('/room_keys/version', BACKUP);
  return { alice, version };
}

function refusal({ status, body }: Answer): [number, string] {
  return [status, body.errcode];
}

test('the newest backup is the current one; each is found by its version, and none is numbered like another', async () => {
  const alice = await register(server);
  assert.deepEqual(refusal(await alice.try('GET', '/room_keys/version')), [404, 'M_NOT_FOUND']);
  const { version: first } = await alice.post('/room_keys/version', BACKUP);
  const { version: second } = await alice.post('/room_keys/version', { ...BACKUP, auth_data: { b: 2 } });
  assert.notEqual(first, second);
  const empty = { algorithm: BACKUP.algorithm, count: 0, etag: '0' };
  const current = { ...empty, auth_data: { b: 2 }, version: second };
  assert.deepEqual(await alice.get('/room_keys/version'), current);
  assert.deepEqual(await alice.get(`/room_keys/version/${second}`), current);
  const earlier = { ...empty, auth_data: BACKUP.auth_data, version: first };
  assert.deepEqual(await alice.get(`/room_keys/version/${first}`), earlier);

  assert.deepEqual(await alice.delete(`/room_keys/version/${second}`), {});
  assert.deepEqual(await alice.get('/room_keys/version'), earlier);
  assert.deepEqual(refusal(await alice.try('GET', `/room_keys/version/${second}`)), [404, 'M_NOT_FOUND']);
  const { version: third } = await alice.post('/room_keys/version', BACKUP);
  assert.equal(new Set([first, second, third]).size, 3);
});

test('a deleted backup may be deleted again; one that never was may not', async () => {
  const { alice, version } = await withBackup();
  await alice.put(path(version, ROOM, 's'), keyOf('secret'));
  assert.deepEqual(await alice.delete(`/room_keys/version/${version}`), {});
  assert.deepEqual(await alice.delete(`/room_keys/version/${version}`), {});
  for (const unknown of ['2', '0', '-1', 'bogus', '9'.repeat(30)]) {
    const answer = await alice.try('DELETE', `/room_keys/version/${unknown}`);
    assert.deepEqual(refusal(answer), [404, 'M_NOT_FOUND'], unknown);
  }
  assert.deepEqual(refusal(await alice.try('GET', path(version))), [404, 'M_NOT_FOUND']);
  // Its keys go at once, though not in the same write.
  while ((await server.ctx.db.get(KEYS_LEFT))?.total !== 0) await sleep(10);
});

test('of a backup only auth_data changes: another algorithm, or version, is refused', async () => {
  const { alice, version } = await withBackup();
  const change = { algorithm: BACKUP.algorithm, auth_data: { signatures: { [alice.userId]: {} } } };
  assert.deepEqual(await alice.put(`/room_keys/version/${version}`, change), {});
  assert.deepEqual(await alice.put(`/room_keys/version/${version}`, { ...change, version }), {});
  assert.deepEqual((await alice.get('/room_keys/version')).auth_data, change.auth_data);
  const bad: [object, number, string][] = [
    [{ ...change, algorithm: 'other' }, 400, 'M_INVALID_PARAM'],
    [{ ...change, version: '7' }, 400, 'M_INVALID_PARAM'],
    [{ algorithm: BACKUP.algorithm }, 400, 'M_MISSING_PARAM'],
    [{ auth_data: {} }, 400, 'M_MISSING_PARAM'],
    [{ algorithm: BACKUP.algorithm, auth_data: 'x' }, 400, 'M_BAD_JSON'],
    [{ algorithm: 5, auth_data: {} }, 400, 'M_BAD_JSON'],
    [{ ...change, auth_data: { a: 'x'.repeat(70_000) } }, 413, 'M_TOO_LARGE'],
  ];
  for (const [body, ...expected] of bad) {
    const answer = await alice.try('PUT', `/room_keys/version/${version}`, body);
    assert.deepEqual(refusal(answer), expected, JSON.stringify(body).slice(0, 100));
  }
  assert.deepEqual((await alice.get('/room_keys/version')).auth_data, change.auth_data);
  assert.deepEqual(refusal(await alice.try('PUT', '/room_keys/version/9', change)), [404, 'M_NOT_FOUND']);
});

test('keys are stored, fetched and deleted by session, by room, and all at once', async () => {
  const { alice, version } = await withBackup();
  const [a, b, c, d] = [keyOf('a'), keyOf('b'), keyOf('c'), keyOf('d')];
  // Session IDs are Base64, which may hold a slash.
  const slashed = 'se/ss+ion=';
  assert.equal((await alice.put(path(version, ROOM, slashed), a)).count, 1);
  assert.equal((await alice.put(path(version, ROOM), { sessions: { b } })).count, 2);
  const rooms = { [ROOM]: { sessions: { c } }, [OTHER_ROOM]: { sessions: { d } } };
  const stored = await alice.put(path(version), { rooms });
  assert.equal(stored.count, 4);
  assert.equal((await alice.get('/room_keys/version')).etag, stored.etag);

  assert.deepEqual(await alice.get(path(version, ROOM, slashed)), a);
  assert.deepEqual(await alice.get(path(version, ROOM)), { sessions: { b, c, [slashed]: a } });
  assert.deepEqual(await alice.get(path(version)), {
    rooms: { [ROOM]: { sessions: { b, c, [slashed]: a } }, [OTHER_ROOM]: { sessions: { d } } },
  });

  const one = await alice.delete(path(version, ROOM, slashed));
  assert.equal(one.count, 3);
  assert.notEqual(one.etag, stored.etag);
  assert.deepEqual(await alice.delete(path(version, ROOM, slashed)), one);
  assert.deepEqual(refusal(await alice.try('GET', path(version, ROOM, slashed))), [404, 'M_NOT_FOUND']);
  assert.equal((await alice.delete(path(version, ROOM))).count, 1);
  assert.deepEqual(await alice.get(path(version, ROOM)), { sessions: {} });
  assert.deepEqual(await alice.get(path(version)), { rooms: { [OTHER_ROOM]: { sessions: { d } } } });
  assert.equal((await alice.delete(path(version))).count, 0);
  assert.deepEqual(await alice.get(path(version)), { rooms: {} });
});

test('row 174: a key is replaced by a better one only: verified, then from an earlier message, then less forwarded', async () => {
  const { alice, version } = await withBackup();
  const ranks: [boolean, number, number][] = [];
  for (const isVerified of [false, true])
    for (const index of [9, 10, 11]) for (const count of [4, 5, 6]) ranks.push([isVerified, index, count]);
  const isBetter = (one: [boolean, number, number], other: [boolean, number, number]): boolean => {
    if (one[0] !== other[0]) return one[0];
    return one[1] === other[1] ? one[2] < other[2] : one[1] < other[1];
  };
  const nameOf = (rank: [boolean, number, number]): string => rank.join('-');
  const rankedKey = (rank: [boolean, number, number]): Key =>
    keyOf(nameOf(rank), { is_verified: rank[0], first_message_index: rank[1], forwarded_count: rank[2] });
  const pairs = ranks.flatMap((first) =>
    ranks.map((second) => ({ first, second, id: `${nameOf(first)}_${nameOf(second)}` })),
  );
  for (const which of ['first', 'second'] as const) {
    const sessions = Object.fromEntries(pairs.map((pair) => [pair.id, rankedKey(pair[which])]));
    assert.equal((await alice.put(path(version, ROOM), { sessions })).count, pairs.length);
  }
  const { sessions } = await alice.get(path(version, ROOM));
  for (const { first, second, id } of pairs) {
    assert.deepEqual(sessions[id], rankedKey(isBetter(second, first) ? second : first), id);
  }
});

test('the etag changes when keys change, and only then', async () => {
  const { alice, version } = await withBackup();
  const first = await alice.put(path(version, ROOM, 's'), keyOf('first'));
  const worse = await alice.put(path(version, ROOM, 's'), keyOf('worse', { first_message_index: 11 }));
  assert.deepEqual(worse, first);
  const better = await alice.put(path(version, ROOM, 's'), keyOf('better', { first_message_index: 0 }));
  assert.deepEqual([better.count, better.etag !== first.etag], [1, true]);
});

test('row 174: keys for another version than the current one are refused, and nothing of them is stored', async () => {
  const { alice, version: first } = await withBackup();
  const { version: second } = await alice.post('/room_keys/version', BACKUP);
  const body = { rooms: { [ROOM]: { sessions: { s: keyOf('a') } } } };
  for (const [target, content] of [
    [path(first), body],
    [path(first, ROOM), body.rooms[ROOM]],
    [path(first, ROOM, 's'), keyOf('a')],
  ] as const) {
    const answer = await alice.try('PUT', target, content);
    assert.deepEqual(refusal(answer), [403, 'M_WRONG_ROOM_KEYS_VERSION']);
    assert.equal(answer.body.current_version, second);
  }
  assert.deepEqual(await alice.get(path(first)), { rooms: {} });
  for (const unknown of ['99', 'bogus', '%00']) {
    assert.deepEqual(refusal(await alice.try('PUT', path(unknown), body)), [404, 'M_NOT_FOUND'], unknown);
    assert.deepEqual(refusal(await alice.try('GET', path(unknown))), [404, 'M_NOT_FOUND'], unknown);
    assert.deepEqual(refusal(await alice.try('DELETE', path(unknown))), [404, 'M_NOT_FOUND'], unknown);
  }
  for (const method of ['PUT', 'GET', 'DELETE']) {
    const answer = await alice.try(method, '/room_keys/keys', method === 'PUT' ? body : undefined);
    assert.deepEqual(refusal(answer), [400, 'M_MISSING_PARAM'], method);
  }
  // The deleted one was a version; without any there is none to name.
  await alice.delete(`/room_keys/version/${second}`);
  assert.equal((await alice.try('PUT', path(second), body)).body.current_version, first);
  await alice.delete(`/room_keys/version/${first}`);
  assert.deepEqual(refusal(await alice.try('PUT', path(second), body)), [404, 'M_NOT_FOUND']);
});

test('malformed keys are refused, with the sound ones beside them', async () => {
  const { alice, version } = await withBackup();
  const { is_verified: _, ...incomplete } = keyOf('a');
  const bad: [unknown, number, string][] = [
    [incomplete, 400, 'M_MISSING_PARAM'],
    ['key', 400, 'M_BAD_JSON'],
    [null, 400, 'M_BAD_JSON'],
    [{ ...keyOf('a'), is_verified: 1 }, 400, 'M_BAD_JSON'],
    [{ ...keyOf('a'), first_message_index: -1 }, 400, 'M_BAD_JSON'],
    [{ ...keyOf('a'), first_message_index: '1' }, 400, 'M_BAD_JSON'],
    [{ ...keyOf('a'), forwarded_count: 1.5 }, 400, 'M_BAD_JSON'],
    [{ ...keyOf('a'), forwarded_count: 1e300 }, 400, 'M_BAD_JSON'],
    [{ ...keyOf('a'), session_data: [] }, 400, 'M_BAD_JSON'],
    [keyOf('x'.repeat(20_000)), 413, 'M_TOO_LARGE'],
  ];
  for (const [key, ...expected] of bad) {
    const answer = await alice.try('PUT', path(version, ROOM), {
      sessions: { good: keyOf('good'), bad: key },
    });
    assert.deepEqual(refusal(answer), expected, JSON.stringify(key)?.slice(0, 100));
  }
  const shapes: [string, unknown, string][] = [
    [path(version), {}, 'M_MISSING_PARAM'],
    [path(version), { rooms: [] }, 'M_BAD_JSON'],
    [path(version), { rooms: { room: { sessions: {} } } }, 'M_INVALID_PARAM'],
    [path(version), { rooms: { [ROOM]: {} } }, 'M_MISSING_PARAM'],
    [path(version, ROOM), [], 'M_BAD_JSON'],
    [path(version, 'room'), { sessions: {} }, 'M_INVALID_PARAM'],
    [path(version, ROOM), { sessions: { '': keyOf('a') } }, 'M_INVALID_PARAM'],
    [path(version, ROOM, 'x'.repeat(256)), keyOf('a'), 'M_INVALID_PARAM'],
  ];
  for (const [target, body, errcode] of shapes) {
    const answer = await alice.try('PUT', target, body);
    assert.deepEqual(refusal(answer), [400, errcode], JSON.stringify(body).slice(0, 100));
  }
  assert.deepEqual(await alice.get(path(version)), { rooms: {} });
  // Whatever a session is called, it is a session.
  const odd = { __proto__x: keyOf('a'), constructor: keyOf('b'), 'nul\0': keyOf('c'), 'back\\0': keyOf('d') };
  assert.equal((await alice.put(path(version, ROOM), { sessions: odd })).count, 4);
  assert.deepEqual(await alice.get(path(version)), { rooms: { [ROOM]: { sessions: odd } } });
});

test('row 174: nobody else reads, changes or deletes a backup, and it outlives the devices of its owner', async () => {
  const { alice, version } = await withBackup();
  await alice.put(path(version, ROOM, 's'), keyOf('secret'));
  const { alice: mallory } = await withBackup();
  assert.deepEqual(await mallory.get(path(version)), { rooms: {} });
  await mallory.delete(path(version));
  await mallory.delete(`/room_keys/version/${version}`);
  assert.equal((await request(server, 'GET', `/_matrix/client/v3${path(version)}`)).status, 401);
  await alice.post('/logout');
  const body = { type: 'm.login.password', identifier: { type: 'm.id.user', user: alice.userId } };
  const again = await request(server, 'POST', '/_matrix/client/v3/login', {
    body: { ...body, password: alice.password },
  });
  const token = again.body.access_token;
  const found = await request(server, 'GET', `/_matrix/client/v3${path(version, ROOM, 's')}`, { token });
  assert.deepEqual(found.body, keyOf('secret'));
});

test('the backups of a deactivated account are deleted with it', async () => {
  const { alice, version } = await withBackup();
  await alice.put(path(version, ROOM, 's'), keyOf('secret'));
  const auth = {
    type: 'm.login.password',
    identifier: { type: 'm.id.user', user: alice.userId },
    password: alice.password,
  };
  await alice.post('/account/deactivate', { auth });
  assert.equal((await server.ctx.db.get(KEYS_LEFT))?.total, 1);
});

test('10,000 keys are backed up in portions, fetched in one answer, and deleted', async () => {
  const { alice, version } = await withBackup();
  const all: Record<string, Record<string, Key>> = {};
  for (let portion = 0; portion < 20; portion += 1) {
    const rooms: Record<string, { sessions: Record<string, Key> }> = {};
    for (let at = 0; at < 500; at += 1) {
      const number = portion * 500 + at;
      const room = `!room${number % 37}:hs1`;
      const id = `session${number}`;
      rooms[room] ??= { sessions: {} };
      rooms[room].sessions[id] = keyOf(`${number}`);
      all[room] ??= {};
      all[room][id] = keyOf(`${number}`);
    }
    // One after the other, as clients do.
    assert.equal((await alice.put(path(version), { rooms })).count, (portion + 1) * 500);
  }
  const { rooms } = await alice.get(path(version));
  assert.deepEqual(
    Object.fromEntries(
      Object.entries(rooms).map(([id, room]) => [id, (room as { sessions: object }).sessions]),
    ),
    all,
  );
  assert.equal((await alice.delete(path(version))).count, 0);
  assert.deepEqual(await alice.get(path(version)), { rooms: {} });
});

test('a user has at most 100 backups', async () => {
  const { alice } = await withBackup();
  for (let at = 1; at < 100; at += 1) await alice.post('/room_keys/version', BACKUP);
  const answer = await alice.try('POST', '/room_keys/version', BACKUP);
  assert.deepEqual(refusal(answer), [400, 'M_INVALID_PARAM']);
  await alice.delete('/room_keys/version/1');
  assert.equal((await alice.post('/room_keys/version', BACKUP)).version, '101');
});

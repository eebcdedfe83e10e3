import assert from 'node:assert/strict';
import { test } from 'node:test';
import fc from 'fast-check';
import {
  isEventId,
  isRoomAlias,
  isRoomId,
  isServerName,
  isUserId,
  localpartOf,
  parseServerName,
  serverNameOf,
} from '#keys/ids.ts';
import { tryOn } from '#test/harness/rounds.ts';

/** "IPv4address = 1*3DIGIT "." ...", "IPv6address", "dns-name = 1*255dns-char", and a port. */
const label = fc.string({ unit: fc.constantFrom(...'abzAZ09-'), minLength: 1, maxLength: 12 });
const host = fc.oneof(
  fc.array(label, { minLength: 1, maxLength: 4 }).map((labels) => labels.join('.')),
  fc.ipV4(),
  fc.ipV6().map((address) => `[${address}]`),
);
const serverName = fc
  .tuple(host, fc.option(fc.nat(65_535), { nil: undefined }))
  .map(([name, port]) => (port === undefined ? name : `${name}:${port}`));
/** "Any legal non-surrogate Unicode code points except for `:` and NUL". */
const localpart = fc.string({ unit: 'binary', maxLength: 40 }).filter((text) => !/[:\0]/.test(text));
const SIGILS = { '@': isUserId, '!': isRoomId, '#': isRoomAlias } as const;
const id = fc.record({ sigil: fc.constantFrom('@', '!', '#'), localpart, serverName });

test('3.22: what the grammar makes is an id, and is made again of its parts, within 255 bytes', async (t) => {
  await tryOn(t, id, { usual: 1_000, of: 'ids' }, ({ sigil, localpart, serverName }) => {
    const text = `${sigil}${localpart}:${serverName}`;
    const fits = Buffer.byteLength(text) <= 255;
    assert.equal(SIGILS[sigil as keyof typeof SIGILS](text), fits, JSON.stringify(text));
    assert.equal(serverNameOf(text), serverName);
    assert.equal(`${sigil}${localpartOf(text)}:${serverNameOf(text)}`, text);
    assert.ok(
      isEventId(`$${localpart}:${serverName}`) === Buffer.byteLength(`$${localpart}:${serverName}`) <= 255,
    );
  });
});

test('3.22: a server name is made again of its host and port', async (t) => {
  await tryOn(t, serverName, { usual: 1_000, of: 'names' }, (name) => {
    const parts = parseServerName(name);
    // Digits and dots that are no address are no name either.
    if (/^[0-9.]+(:\d+)?$/.test(name) && parts === undefined) return;
    assert.ok(parts && isServerName(name), name);
    assert.equal(parts.port === undefined ? parts.host : `${parts.host}:${parts.port}`, name);
  });
});

test('3.22: no text makes the parsers throw, and a change in an id is noticed where the grammar forbids it', async (t) => {
  const piece = fc.constantFrom(
    '@',
    '!',
    '#',
    '$',
    ':',
    '.',
    '[',
    ']',
    '::',
    '\0',
    ' ',
    '/',
    '\ud800',
    'é',
    '99999',
    'a',
    '1',
  );
  const mutated = fc
    .tuple(id, fc.array(fc.tuple(fc.nat(60), piece), { minLength: 1, maxLength: 3 }))
    .map(([{ sigil, localpart, serverName }, changes]) => {
      let text = `${sigil}${localpart}:${serverName}`;
      for (const [at, put] of changes) text = `${text.slice(0, at)}${put}${text.slice(at)}`;
      return text;
    });
  const texts = fc.oneof(
    mutated,
    fc.string({ unit: 'binary' }),
    fc.array(piece).map((parts) => parts.join('')),
  );
  await tryOn(t, texts, { usual: 2_000, of: 'texts' }, (text) => {
    for (const is of [isUserId, isRoomAlias, isRoomId, isEventId, isServerName])
      assert.equal(typeof is(text), 'boolean');
    const server = serverNameOf(text);
    const colon = text.indexOf(':');
    assert.equal(
      server,
      colon >= 0 && isServerName(text.slice(colon + 1)) ? text.slice(colon + 1) : undefined,
    );
    if (text.includes('\0') || !text.isWellFormed() || Buffer.byteLength(text) > 255) {
      for (const is of [isUserId, isRoomAlias, isRoomId, isEventId]) assert.equal(is(text), false);
    }
    if (isUserId(text) || isRoomAlias(text)) assert.ok(server !== undefined && colon > 0);
  });
});

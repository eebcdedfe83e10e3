/** https://www.rfc-editor.org/rfc/rfc6238 */

import assert from 'node:assert/strict';
import { randomBytes } from 'node:crypto';
import { test } from 'node:test';
import { Secret, TOTP, URI } from 'otpauth';
import {
  appAddress,
  codeAt,
  fromBase32,
  newSecret,
  stepOfCode,
  toBase32,
} from '#server/second-factor/totp.ts';

test('RFC 6238, appendix B: the codes of its times', () => {
  const secret = Buffer.from('12345678901234567890');
  for (const [seconds, code] of [
    [59, '94287082'],
    [1_111_111_109, '07081804'],
    [1_111_111_111, '14050471'],
    [1_234_567_890, '89005924'],
    [2_000_000_000, '69279037'],
    [20_000_000_000, '65353130'],
  ] as const) {
    assert.equal(codeAt(secret, Math.floor(seconds / 30), 8), code);
  }
});

test('another implementation shows the same codes for the address in the QR code', () => {
  for (let round = 0; round < 50; round++) {
    const secret = newSecret();
    const app = URI.parse(appAddress(secret, { issuer: 'kurir.test', account: '@a:kurir.test' }));
    assert.ok(app instanceof TOTP);
    assert.deepEqual([app.issuer, app.label, app.digits, app.period], ['kurir.test', '@a:kurir.test', 6, 30]);
    const timestamp = round * 86_400_000 * 365 + round * 7_777;
    const code = app.generate({ timestamp });
    assert.equal(stepOfCode(fromBase32(secret), code, timestamp), Math.floor(timestamp / 30_000));
  }
});

test('Base32 is read as it is written, and as others write it', () => {
  for (let length = 0; length < 40; length++) {
    const bytes = randomBytes(length);
    assert.deepEqual(fromBase32(toBase32(bytes)), bytes);
    if (length > 0)
      assert.equal(new Secret({ buffer: Uint8Array.from(bytes).buffer }).base32, toBase32(bytes));
  }
});

test('a code is good in its time step and the ones beside it; what is no code is none', () => {
  const secret = fromBase32(newSecret());
  const now = 50_000 * 30_000;
  for (const [apart, isGood] of [
    [-2, false],
    [-1, true],
    [0, true],
    [1, true],
    [2, false],
  ] as const) {
    const step = 50_000 + apart;
    assert.equal(stepOfCode(secret, codeAt(secret, step), now), isGood ? step : undefined);
  }
  const code = codeAt(secret, 50_000);
  assert.equal(stepOfCode(secret, ` ${code.slice(0, 3)} ${code.slice(3)}\n`, now), 50_000);
  for (const odd of ['', '12345', `${code}0`, 'abcdef', '１２３４５６', 'x'.repeat(10_000)]) {
    assert.equal(stepOfCode(secret, odd, now), undefined);
  }
});

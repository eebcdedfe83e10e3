import assert from 'node:assert/strict';
import { test } from 'node:test';
import { formatXMatrix, parseXMatrix } from '#federation/x-matrix.ts';
import type { KeyId } from '#keys/ids.ts';
import { fc } from '#test/harness/rounds.ts';

const auth = { origin: 'a.test', destination: 'b.test:8448', key: 'ed25519:k_1', sig: 'AB+/cd' } as const;

test('the header has quoted values, lower-case names, one space and no space around commas', () => {
  assert.equal(
    formatXMatrix(auth),
    'X-Matrix origin="a.test",destination="b.test:8448",key="ed25519:k_1",sig="AB+/cd"',
  );
});

test('what is written is read back', () => {
  const name = fc.constantFrom('a.test', '[::1]:1', '1.2.3.4', 'x-y.z:65535');
  const base64 = fc.stringMatching(/^[A-Za-z0-9+/]{1,86}$/);
  const version = fc.stringMatching(/^[A-Za-z0-9_]{1,20}$/);
  fc.assert(
    fc.property(name, name, version, base64, (origin, destination, id, sig) => {
      const key: KeyId = `ed25519:${id}`;
      const written = { origin, destination, key, sig };
      assert.deepEqual(parseXMatrix(formatXMatrix(written)), written);
    }),
  );
});

test('every form that RFC 9110 allows is read', () => {
  const forms = [
    'x-MATRIX   ORIGIN="a.test" ,\t Destination="b.test:8448",KEY="ed25519:k_1",sig="AB+/cd"',
    'X-Matrix origin=a.test,destination=b.test:8448,key=ed25519:k_1,sig="AB+/cd"',
    'X-Matrix origin=a.test,destination=b.test:8448,key=ed25519:k_1,sig=AB+/cd',
    'X-Matrix sig="AB+\\/c\\d",key="ed25519:k_1",extra="a,\\"b=",destination="b.test:8448",origin="a.test"',
    'X-Matrix ,,origin = "a.test", ,destination="b.test:8448",key="ed25519:k_1",sig="AB+/cd",',
  ];
  for (const form of forms) assert.deepEqual(parseXMatrix(form), auth, form);
});

test('a header without destination is read: servers before v1.3 do not send it', () => {
  const parsed = parseXMatrix('X-Matrix origin="a.test",key="ed25519:k",sig="AB"');
  assert.deepEqual(parsed, { origin: 'a.test', destination: undefined, key: 'ed25519:k', sig: 'AB' });
});

test('malformed headers are refused', () => {
  const malformed = [
    '',
    'X-Matrix',
    'X-Matrix ',
    'Bearer abc',
    'X-Matrixorigin="a.test",key="ed25519:k",sig="AB"',
    'X-Matrix origin="a.test",key="ed25519:k"',
    'X-Matrix origin="a.test",key="ed25519:k",sig=""',
    'X-Matrix origin="a.test",key="ed25519:k",sig="AB',
    'X-Matrix origin="a.test" key="ed25519:k" sig="AB"',
    'X-Matrix origin="a.test",origin="b.test",key="ed25519:k",sig="AB"',
    'X-Matrix origin="a test",key="ed25519:k",sig="AB"',
    'X-Matrix origin="a.test",key="k",sig="AB"',
    'X-Matrix origin="a.test",destination="no:port",key="ed25519:k",sig="AB"',
    'X-Matrix ="a.test",key="ed25519:k",sig="AB"',
    `X-Matrix origin="a.test",key="ed25519:k",sig="${'A'.repeat(5_000)}"`,
  ];
  for (const header of malformed) assert.equal(parseXMatrix(header), undefined, header);
});

test('any text whatever is read or refused, never thrown at', () => {
  const pieces = fc.constantFrom(
    'X-Matrix ',
    'origin',
    'key',
    'sig',
    '=',
    '"',
    '\\',
    ',',
    ' ',
    '\t',
    'a.test',
    'é',
    '\0',
  );
  fc.assert(
    fc.property(fc.array(pieces, { maxLength: 60 }), (parts) => {
      const parsed = parseXMatrix(`X-Matrix ${parts.join('')}`);
      assert.ok(parsed === undefined || parsed.origin !== '');
    }),
  );
});

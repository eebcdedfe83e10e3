/**
 * Every numbered authorisation rule of every room version, with its number and its sentence:
 * https://spec.matrix.org/v1.19/rooms/v12/#authorisation-rules and the same section of the other versions.
 */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { countOf, untested } from './numbered/rule.ts';
import './numbered/create.ts';
import './numbered/member.ts';
import './numbered/others.ts';
import './numbered/power-levels.ts';
import './numbered/third-party-invite.ts';

test('row 48: every numbered rule of every version has a test', () => {
  assert.deepEqual(untested(), []);
});

test('the rules are those that the pages of the room versions have', () => {
  const counts = Array.from({ length: 12 }, (_, index) => countOf(String(index + 1)));
  assert.deepEqual(counts, [78, 78, 74, 74, 74, 70, 75, 81, 81, 83, 82, 84]);
});

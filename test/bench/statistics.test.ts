import assert from 'node:assert/strict';
import { test } from 'node:test';
import { median, percentile, round } from '#bench/lib/statistics.ts';

test('percentile: the value under which the share lies, whatever the order of the samples', () => {
  const samples = Array.from({ length: 100 }, (_, index) => 100 - index);
  assert.equal(percentile(samples, 0.5), 51);
  assert.equal(percentile(samples, 0.99), 100);
  assert.equal(percentile(samples, 1), 100);
  assert.equal(median([10, 9, 2]), 9);
  assert.equal(percentile([], 0.5), undefined);
});

test('round: what is not a number becomes null, as JSON wants it', () => {
  assert.deepEqual(
    [round(1.23456), round(1.5, 0), round(undefined), round(Number.NaN)],
    [1.23, 2, null, null],
  );
});

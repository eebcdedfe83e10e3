import assert from 'node:assert/strict';
import { test } from 'node:test';
import { Flights } from '#federation/flights.ts';

function flightsOf(mostRemembered?: number) {
  const clock = { ts: 1_000, now: () => clock.ts };
  const flights = new Flights<string>({
    clock,
    isLasting: (result) => result === 'no',
    rememberedMs: 100,
    ...(mostRemembered !== undefined && { mostRemembered }),
  });
  return { clock, flights };
}

test('work for one key runs once at a time, however many ask; for two keys at once', async () => {
  const { flights } = flightsOf();
  const gate = Promise.withResolvers<string>();
  let begun = 0;
  const work = () => {
    begun += 1;
    return gate.promise;
  };
  const asked = [flights.run('a', work), flights.run('a', work), flights.run('b', work)];
  assert.equal(begun, 2);
  assert.equal(flights.running, 2);
  assert.equal(flights.isNew('a'), false);
  gate.resolve('yes');
  assert.deepEqual(await Promise.all(asked), ['yes', 'yes', 'yes']);
  assert.equal(flights.running, 0);
  assert.equal(flights.isNew('a'), true);
});

test('a result that lasts is answered again until its time is over, others are asked for anew', async () => {
  const { clock, flights } = flightsOf();
  assert.equal(await flights.run('a', async () => 'no'), 'no');
  clock.ts += 99;
  assert.equal(flights.isNew('a'), false);
  assert.equal(await flights.run('a', async () => 'yes'), 'no');
  clock.ts += 1;
  assert.equal(await flights.run('a', async () => 'yes'), 'yes');
  assert.equal(await flights.run('a', async () => 'later'), 'later');
});

test('work that throws is thrown to all who asked, and is not remembered', async () => {
  const { flights } = flightsOf();
  const fails = () => Promise.reject(new Error('it broke'));
  const asked = await Promise.allSettled([flights.run('a', fails), flights.run('a', fails)]);
  assert.deepEqual(
    asked.map(({ status }) => status),
    ['rejected', 'rejected'],
  );
  assert.equal(await flights.run('a', async () => 'yes'), 'yes');
});

test('of too many results those that were asked for last are remembered', async () => {
  const { flights } = flightsOf(2);
  for (const key of ['a', 'b', 'c']) await flights.run(key, async () => 'no');
  assert.deepEqual(
    ['a', 'b', 'c'].map((key) => flights.isNew(key)),
    [true, false, false],
  );
});

/** The known disagreements: we decide as the sentence of the specification says, and the oracles still differ as they did. */

import assert from 'node:assert/strict';
import { after, test } from 'node:test';
import { differencesOf } from './compare.ts';
import { disagreements, roomOfDisagreement, saidIn } from './disagreement.ts';
import { KNOWN, knownOf } from './known.ts';
import { Oracle } from './oracle.ts';
import { judgeRoom } from './ours.ts';
import { oracles } from './programs.ts';
import { isFailure } from './protocol.ts';

const fixtures = disagreements();
const { programs, missing } = await oracles();
const running = programs.map((program) => new Oracle(program));
after(() => Promise.all(running.map((oracle) => oracle[Symbol.asyncDispose]())));

test('every known disagreement has a fixture with the sentence that decides, and every fixture is known', () => {
  assert.deepEqual([...fixtures.keys()], KNOWN.map(({ name }) => name).sort());
  for (const [name, { title, sentence, from, ours, oracles: theirs }] of fixtures) {
    assert.ok(title.length > 0 && sentence.length > 0 && from.startsWith('https://spec.matrix.org/'), name);
    const known = KNOWN.find((item) => item.name === name);
    const differing = Object.entries(theirs).filter(([, said]) => said !== ours);
    assert.ok(differing.length > 0, name);
    for (const [oracle] of differing)
      assert.ok(
        known?.oracles.some((item) => item === oracle),
        `${name}: ${oracle}`,
      );
  }
});

for (const [name, fixture] of fixtures) {
  test(`${name}: "${fixture.sentence}" ${fixture.from}`, () => {
    assert.equal(saidIn(judgeRoom(roomOfDisagreement(fixture)).answer, fixture), fixture.ours);
  });
}

for (const { name, reason } of missing) {
  test(`${name} is not asked about the disagreements: ${reason.replaceAll('\n', ' ')}`, {
    skip: true,
  }, () => {});
}

for (const oracle of running) {
  test(`${oracle.name} differs in the known disagreements as they say, and in nothing else of them`, async () => {
    const rooms = [...fixtures].map(([name, fixture]) => {
      return { name, fixture, room: judgeRoom(roomOfDisagreement(fixture)) };
    });
    const answers = await oracle.ask(rooms.map(({ room }) => room.request));
    for (const [at, { name, fixture, room }] of rooms.entries()) {
      const answer = answers[at];
      assert.ok(answer !== undefined && !isFailure(answer), name);
      assert.equal(saidIn(answer, fixture), fixture.oracles[oracle.name], name);
      const explained = differencesOf(oracle.name, room, answer).map(
        (difference) => knownOf(difference, room)?.name,
      );
      assert.ok(!explained.includes(undefined), `${name}: a difference that no fixture explains`);
      const differs = fixture.oracles[oracle.name] !== fixture.ours;
      assert.equal(
        explained.includes(name),
        differs,
        `${name}: explained by ${explained.join(', ') || 'nothing'}`,
      );
    }
  });
}

/** The feature matrix of https://spec.matrix.org/v1.19/rooms/#feature-matrix and what each version changes. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { checkRedaction } from '#rooms/auth/legacy.ts';
import { eventFrom } from '#rooms/event.ts';
import { powerOf } from '#rooms/power.ts';
import {
  DEFAULT_ROOM_VERSION,
  type RoomVersionRules,
  rulesOf,
  SUPPORTED_VERSIONS,
  supportedRulesOf,
} from '#rooms/versions.ts';

const ALL = Array.from({ length: 12 }, (_, index) => String(index + 1));

function rules(version: string): RoomVersionRules {
  const found = rulesOf(version);
  assert.ok(found);
  return found;
}

/** The first version for which something holds; it must hold for all later ones. */
function since(holds: (of: RoomVersionRules) => boolean): string | undefined {
  const first = ALL.find((version) => holds(rules(version)));
  const later = ALL.filter((version) => Number(version) >= Number(first ?? 99));
  assert.ok(later.every((version) => holds(rules(version))));
  return first;
}

test('each rule begins with the version whose page says so', () => {
  assert.equal(
    since((of) => of.stateResolution !== 'v1'),
    '2',
  );
  assert.equal(
    since((of) => of.eventReferences === 'ids' && of.eventIds !== 'chosen'),
    '3',
  );
  assert.equal(
    since((of) => !of.redactionRule),
    '3',
  );
  assert.equal(
    since((of) => of.eventIds === 'urlSafeBase64'),
    '4',
  );
  assert.equal(
    since((of) => of.strictKeyValidity),
    '5',
  );
  assert.equal(
    since((of) => of.strictJson && of.notificationLevelsChecked && !of.aliasesRule),
    '6',
  );
  assert.equal(
    since((of) => of.powerLevels !== 'integersStringsAndFloats'),
    '6',
  );
  assert.equal(
    since((of) => of.knocking),
    '7',
  );
  assert.equal(
    since((of) => of.restrictedJoins),
    '8',
  );
  assert.equal(
    since((of) => of.knockRestrictedJoins && of.powerLevels === 'integers'),
    '10',
  );
  assert.equal(
    since((of) => !of.creatorInContent && of.redactsInContent),
    '11',
  );
  assert.equal(
    since((of) => of.roomIdIsCreateHash && of.privilegedCreators && !of.createInAuthEvents),
    '12',
  );
  assert.equal(
    since((of) => of.stateResolution === 'v2.1'),
    '12',
  );
});

test('the server takes part in versions 1 to 12, and makes rooms of version 12', () => {
  assert.deepEqual(SUPPORTED_VERSIONS, ALL);
  assert.equal(DEFAULT_ROOM_VERSION, '12');
  for (const version of SUPPORTED_VERSIONS) assert.equal(supportedRulesOf(version), rules(version));
  assert.equal(supportedRulesOf('13'), undefined);
});

test('what is no version has no rules', () => {
  for (const version of ['0', '13', '01', '10 ', '', 'org.example', '__proto__', 'constructor']) {
    assert.equal(rulesOf(version), undefined, version);
  }
});

test('the rules of a version cannot be changed', () => {
  assert.throws(() => Object.assign(rules('12'), { knocking: false }), TypeError);
});

test('v1 11: a redaction needs the redact level, or an event of the same server', () => {
  const redaction = (redacts: string) =>
    eventFrom(
      {
        type: 'm.room.redaction',
        event_id: '$new:a.test',
        room_id: '!r:a.test',
        sender: '@mod:a.test',
        content: {},
        redacts,
        depth: 2,
        origin_server_ts: 1,
        prev_events: [['$p:a.test', { sha256: 'x' }]],
        auth_events: [],
      },
      rules('1'),
    );
  const levels = (mod: number) =>
    eventFrom(
      {
        type: 'm.room.power_levels',
        event_id: '$power:a.test',
        room_id: '!r:a.test',
        sender: '@mod:a.test',
        state_key: '',
        content: { users: { '@mod:a.test': mod }, redact: '50' },
        depth: 1,
        origin_server_ts: 1,
        prev_events: [],
        auth_events: [],
      },
      rules('1'),
    );
  const verdict = (redacts: string, level: number) =>
    checkRedaction(redaction(redacts), powerOf(undefined, levels(level)))?.reason;
  assert.deepEqual(redaction('$x:a.test').prevEvents, ['$p:a.test']);
  assert.equal(verdict('$x:b.test', 50), undefined);
  assert.match(verdict('$x:b.test', 49) ?? '', /may not redact/);
  assert.equal(verdict('$x:a.test', 0), undefined);
});

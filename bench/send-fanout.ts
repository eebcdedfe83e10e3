/**
 * As `sync-wakeups`, where nobody has the push rules of everybody: each member has words of their own, a room that is
 * silent, one that is loud, and the rules of threads. What is unread is counted by them for each delivery.
 */

import type { Figures, Scenario, ScenarioOptions } from '#bench/lib/scenario.ts';
import { ELEMENT_FILTER, measureWakeups } from '#bench/sync-wakeups.ts';
import type { UserId } from '#keys/ids.ts';
import type { RoomsContext } from '#rooms/context.ts';
import * as pushRules from '#storage/push-rules.ts';

const WORDS = 10;
const AT_ONCE = 500;

export const sendFanout: Scenario = {
  name: 'send-fanout',
  about: '1000 long polls that events end, of users with push rules of their own (--size: fewer)',
  ratios: [],
  limits: {
    deliveries_per_s: { atLeast: 12_000 },
    cpu_us_per_delivery: { atMost: 80 },
    wrong_answers: { atMost: 0 },
  },
  run,
};

function run(_: unknown, options: ScenarioOptions): Promise<Figures> {
  return measureWakeups({ filter: ELEMENT_FILTER, sliding: false, prepare: writeRules }, options);
}

async function writeRules({ db, streams }: RoomsContext, members: readonly UserId[]): Promise<void> {
  for (let from = 0; from < members.length; from += AT_ONCE) {
    await db.write('bench.rules', async (tx) => {
      for (const userId of members.slice(from, from + AT_ONCE))
        await pushRules.set(tx, streams, userId, rulesOf(userId));
    });
  }
}

function rulesOf(userId: UserId): pushRules.OwnRules {
  const rule = (rule_id: string, actions: readonly string[], more: object = {}) => ({
    ...{ rule_id, enabled: true, actions },
    ...more,
  });
  const words = Array.from({ length: WORDS }, (_, word) =>
    rule(`word${word}`, ['notify'], { pattern: `${userId.slice(1, 20)} word ${word}` }),
  );
  const silent = { kind: 'event_match', key: 'room_id', pattern: '!silent:bench.example.org' };
  return {
    rules: {
      override: [rule('!silent:bench.example.org', [], { conditions: [silent] })],
      content: words,
      room: [rule('!loud:bench.example.org', ['notify'])],
      sender: [],
      underride: [],
    },
    defaults: ['unsubscribed_thread', 'subscribed_thread'].map((name) => ({
      ...{ kind: 'postcontent' as const, rule_id: `.io.element.msc4306.rule.${name}`, enabled: true },
    })),
  };
}

/** `npm run bench -- NAME [--server kurir|synapse|both] [--seconds 15] [--size N]`: one scenario, JSON on the last line. */

import { parseArgs } from 'node:util';
import { appservice } from '#bench/appservice.ts';
import { catchUp } from '#bench/catch-up.ts';
import { coldStart } from '#bench/cold-start.ts';
import { directory } from '#bench/directory.ts';
import { e2eeKeys } from '#bench/e2ee-keys.ts';
import { fedIn } from '#bench/fed-in.ts';
import { fedOut } from '#bench/fed-out.ts';
import { idle } from '#bench/idle.ts';
import { idlePolls } from '#bench/idle-polls.ts';
import { joinLargeRoom } from '#bench/join-large-room.ts';
import { calibrate } from '#bench/lib/calibration.ts';
import type { Figures, Limit, Scenario, ScenarioOptions } from '#bench/lib/scenario.ts';
import { round } from '#bench/lib/statistics.ts';
import { loginStorm } from '#bench/login-storm.ts';
import { longRoom } from '#bench/long-room.ts';
import { media } from '#bench/media.ts';
import { oauthStorm } from '#bench/oauth-storm.ts';
import { persistScenario } from '#bench/persist.ts';
import { push } from '#bench/push.ts';
import { sendFanout } from '#bench/send-fanout.ts';
import { sendLocal } from '#bench/send-local.ts';
import { kurir } from '#bench/servers/kurir.ts';
import type { ServerKind } from '#bench/servers/server.ts';
import { synapse } from '#bench/servers/synapse.ts';
import { slidingInitial } from '#bench/sliding-initial.ts';
import { slidingWakeups } from '#bench/sliding-wakeups.ts';
import { stateGrowth } from '#bench/state-growth.ts';
import { stateRes } from '#bench/state-res.ts';
import { syncHerd } from '#bench/sync-herd.ts';
import { syncInitial } from '#bench/sync-initial.ts';
import { syncRooms } from '#bench/sync-rooms.ts';
import { syncWakeups } from '#bench/sync-wakeups.ts';

const scenarios: readonly Scenario[] = [
  sendLocal,
  persistScenario,
  joinLargeRoom,
  stateRes,
  stateGrowth,
  longRoom,
  syncRooms,
  syncInitial,
  syncHerd,
  syncWakeups,
  sendFanout,
  slidingInitial,
  slidingWakeups,
  loginStorm,
  oauthStorm,
  idle,
  idlePolls,
  coldStart,
  fedIn,
  fedOut,
  catchUp,
  appservice,
  push,
  media,
  e2eeKeys,
  directory,
];
const servers = new Map<string, readonly ServerKind[]>([
  ['kurir', [kurir]],
  ['synapse', [synapse]],
  ['both', [synapse, kurir]],
]);

const { values, positionals } = parseArgs({
  allowPositionals: true,
  options: {
    server: { type: 'string', default: 'kurir' },
    seconds: { type: 'string', default: '15' },
    size: { type: 'string' },
    help: { type: 'boolean', default: false },
  },
});
const scenario = scenarios.find(({ name }) => name === positionals[0]);
const kinds = servers.get(values.server);
const seconds = Number(values.seconds);
const size = values.size === undefined ? undefined : Number(values.size);

if (
  scenario === undefined ||
  kinds === undefined ||
  !(seconds > 0) ||
  size === 0 ||
  Number.isNaN(size) ||
  values.help
) {
  const list = scenarios.map(({ name, about }) => `  ${name.padEnd(16)} ${about}`);
  console.log(
    `npm run bench -- NAME [--server ${[...servers.keys()].join('|')}] [--seconds 15] [--size N]\n${list.join('\n')}`,
  );
  process.exitCode = values.help ? 0 : 2;
} else {
  await measure(scenario, scenario.ratios.length > 0 ? kinds : [kurir], { seconds, size });
}

async function measure(
  { name, about, ratios, limits = {}, run }: Scenario,
  kinds: readonly ServerKind[],
  options: ScenarioOptions,
) {
  console.log(`${name}: ${about}`);
  const calibration = calibrate();
  const { fdatasync_p50_ms, sha256_per_s, ed25519_verify_per_s, cores } = calibration;
  console.log(
    `  this machine: ${cores} cores, fdatasync ${fdatasync_p50_ms} ms, SHA-256 of 1 KB ${sha256_per_s}/s,`,
  );
  console.log(`  Ed25519 verification ${ed25519_verify_per_s}/s`);
  const results: Record<string, Figures> = {};
  for (const kind of kinds) {
    await kind.prepare();
    results[kind.name] = await run(kind, options);
  }
  const compared = ratioOf(ratios, results);
  for (const [figure, ratio] of Object.entries(compared))
    console.log(`  kurir / synapse, ${figure}: ${ratio}`);
  const held = heldLimits(limits, results.kurir ?? {});
  for (const [figure, { value, verdict, ...limit }] of Object.entries(held)) {
    const bound = 'atMost' in limit ? `at most ${limit.atMost}` : `at least ${limit.atLeast}`;
    console.log(`  limit of ${figure}: ${value} of ${bound}: ${verdict}`);
  }
  const { seconds } = options;
  console.log(
    JSON.stringify({
      scenario: name,
      seconds,
      servers: results,
      ratios: compared,
      limits: held,
      calibration,
    }),
  );
}

type Held = Limit & {
  readonly value: number;
  readonly verdict: 'ok' | 'over' | 'under';
};

/** The limits of those figures that were measured. */
function heldLimits(limits: Readonly<Record<string, Limit>>, figures: Figures): Record<string, Held> {
  const held: Record<string, Held> = {};
  for (const [name, limit] of Object.entries(limits)) {
    const value = figures[name];
    if (typeof value === 'number') held[name] = { value, ...limit, verdict: verdictOn(value, limit) };
  }
  return held;
}

function verdictOn(value: number, limit: Limit): Held['verdict'] {
  if ('atMost' in limit) return value <= limit.atMost ? 'ok' : 'over';
  return value >= limit.atLeast ? 'ok' : 'under';
}

function ratioOf(names: readonly string[], results: Readonly<Record<string, Figures>>): Figures {
  const { kurir: ours, synapse: theirs } = results;
  if (ours === undefined || theirs === undefined) return {};
  return Object.fromEntries(
    names.map((name) => [name, round((ours[name] ?? Number.NaN) / (theirs[name] ?? Number.NaN), 4)]),
  );
}

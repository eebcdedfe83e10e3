import { spawn } from 'node:child_process';
import { setTimeout as sleep } from 'node:timers/promises';
import { LongPollers } from '#bench/lib/long-pollers.ts';
import { cpuMs } from '#bench/lib/process-tree.ts';

const mode = process.argv[2] ?? 'http';
const child = spawn(
  process.execPath,
  [...process.execArgv, '/tmp/wake-prof/fake/server.mjs', mode, '18999'],
  { stdio: 'inherit' },
);
await sleep(500);
const tokens = Array.from({ length: 1000 }, (_, i) => `syt_token_of_bench_${i}`);
{
  await using clients = await LongPollers.start({
    url: 'http://127.0.0.1:18999',
    tokens,
    filter: '{"room":{"timeline":{"limit":20},"state":{"lazy_load_members":true}}}',
    sliding: false,
  });
  const a = { roomId: '!room:bench', token: 'x' };
  await clients.send({ ...a, seconds: 2 });
  const before = cpuMs(child.pid ?? 0) ?? 0;
  const d = await clients.send({ ...a, seconds: 5 });
  const used = (cpuMs(child.pid ?? 0) ?? 0) - before;
  console.log(
    mode,
    Math.round((d.deliveries / d.elapsedMs) * 1000),
    '/s',
    ((used / d.deliveries) * 1000).toFixed(1),
    'us server',
    ((d.cpuMs / d.deliveries) * 1000).toFixed(1),
    'us client',
  );
}
child.kill();

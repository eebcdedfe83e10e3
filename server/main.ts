/** The server's program: reads its configuration, and serves. */

import { loadConfig } from './config.ts';
import { run, stopWith } from './run.ts';

await run(await loadConfig(process.argv.slice(2), process.env).catch(stopWith));

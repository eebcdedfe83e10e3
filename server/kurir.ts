/** The operator's command: `npm run kurir -- WORD`. Says `--help` for what there is. */

import { readArguments } from './cli/arguments.ts';
import { configPage } from './cli/config-commands.ts';
import type { Outcome } from './cli/operations.ts';
import { run } from './cli/run.ts';
import { commandOf, helpOf, notACommand, UsageError, usage } from './cli/usage.ts';
import { loadConfig } from './config.ts';
import { explain } from './start-errors.ts';

process.exitCode = await main(process.argv.slice(2)).catch(report);

async function main(argv: readonly string[]): Promise<number> {
  const { values, positionals } = readArguments(argv);
  const found = commandOf(positionals);
  if (found === undefined) {
    if (positionals.length > 0 && values.help !== true) throw new UsageError(notACommand(positionals));
    print(usage);
    return values.help === true ? 0 : 2;
  }
  const { command, rest } = found;
  if (values.help === true) {
    print(helpOf(command));
    return 0;
  }
  if (command === 'config docs') {
    print(configPage());
    return 0;
  }
  const config = await loadConfig(
    values.config === undefined ? [] : ['--config', values.config],
    process.env,
  );
  return show(await run(command, { config, rest, values }));
}

function show(outcome: Outcome): number {
  if (outcome.kind === 'done') {
    print(outcome.lines.join('\n'));
    return outcome.isWrong === true ? 1 : 0;
  }
  process.stderr.write(`kurir: ${outcome.problem}\n`);
  return 1;
}

function print(text: string): void {
  process.stdout.write(`${text}\n`);
}

function report(error: unknown): number {
  const line = error instanceof UsageError ? error.message : explain(error);
  process.stderr.write(`kurir: ${line ?? (error instanceof Error ? error.stack : String(error))}\n`);
  return error instanceof UsageError ? 2 : 1;
}

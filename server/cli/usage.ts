/** The operator's commands and what `--help` says of each. */

/** The command line cannot be carried out as it stands. The message is for the operator. */
export class UsageError extends Error {
  override readonly name = 'UsageError';
}

export const usage = `The operator's command of Kurir:

  user add NAME      make an account
  user list          list all accounts
  user deactivate NAME
                     end an account for good
  config check       check the configuration, without starting
  config docs        print the reference page of all options
  db check           check the database, without changing it

Each has --help, and takes --config FILE where the server takes it.`;

const commands = {
  'user add': `user add NAME [--password-stdin | --password PASSWORD] [--admin]

Makes an account NAME (alice, or @alice:example.org), whether the server runs or not.

  --password-stdin     reads the password from standard input
  --password PASSWORD  takes it from the command line, where other users of this machine may see it
  --admin              makes the account an administrator

Without either a password is made up and printed.`,
  'user list': `user list

Lists all accounts: user id, day of creation, and whether it is an administrator or deactivated.`,
  'user deactivate': `user deactivate NAME

Ends the account NAME for good: it is signed out everywhere, leaves all rooms, and its name stays taken.`,
  'config check': `config check

Reads the configuration as the server would, and prints it without secrets.`,
  'config docs': `config docs

Prints the reference page of all options, docs/configuration.md.`,
  'db check': `db check

Checks the database in data_dir: the file itself, references between tables, and that rooms make sense. Reads
only, and works while the server runs. Exits with 1 if anything is wrong.`,
} as const;

export type Command = keyof typeof commands;

/** The command that the words begin with, and what follows it. */
export function commandOf(
  words: readonly string[],
): { command: Command; rest: readonly string[] } | undefined {
  const name = words.slice(0, 2).join(' ');
  const command = commandNames().find((known) => known === name);
  return command === undefined ? undefined : { command, rest: words.slice(2) };
}

/** The text of `COMMAND --help`. */
export function helpOf(command: Command): string {
  return `Usage: npm run kurir -- ${commands[command]}`;
}

/** What to say to words that are no command. */
export function notACommand(words: readonly string[]): string {
  const [first = ''] = words;
  const close = commandNames().filter((command) => command.startsWith(`${first} `));
  const list = (close.length > 0 ? close : commandNames()).map((command) => `"${command}"`).join(', ');
  return `"${words.slice(0, 2).join(' ')}" is not a command: use ${list}, or --help`;
}

function commandNames(): Command[] {
  return Object.keys(commands).filter((name): name is Command => Object.hasOwn(commands, name));
}

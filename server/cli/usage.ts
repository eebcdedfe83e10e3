/** The operator's commands and what `--help` says of each. */

import { mediaUsage } from './media-usage.ts';
import { partnerUsage } from './partner-usage.ts';
import { userUsage } from './user-usage.ts';

/** The command line cannot be carried out as it stands. The message is for the operator. */
export class UsageError extends Error {
  override readonly name = 'UsageError';
}

export const usage = `The operator's command of Kurir:

  user add NAME      make an account
  user list          list all accounts
  user terms NAME    list the policies that a user has accepted
  user deactivate NAME
                     end an account for good
  user lock NAME     let nobody do anything with an account
  user unlock NAME   give a locked account back
  user suspend NAME  let an account only read
  user unsuspend NAME
                     give a suspended account back
  user remove-second-factor NAME
                     let somebody in who has lost their second factor
  user rate-limit NAME on|off
                     spare a user the rate limits, or do not
  user link NAME [PROVIDER ID]
                     let somebody at an identity provider sign in to an account
  user unlink NAME PROVIDER ID
                     end that
  provider list      list who else signs people in
  provider check [PROVIDER]
                     ask identity providers whether all is well
  room list          list all rooms
  room purge ROOM    delete the older history of a room
  room shutdown ROOM close a room for all users of this server
  room unblock ROOM  let users into a room again that was shut down
  token new          make a token by which people register
  token list         list the tokens that admit somebody
  token revoke TOKEN end a token
  appservice add FILE
                     add an application service, such as a bridge
  appservice remove ID
                     end an application service
  appservice list    list the application services
  appservice status [ID]
                     whether they take what they are told
  media quarantine MXC
                     withhold a media from everybody
  media release MXC  serve a media again that was withheld
  media protect MXC  keep a media for good
  media unprotect MXC
                     end that
  media delete MXC   delete a media
  media move disk|bucket
                     move all files to the disk, or to the bucket
  media purge-remote delete what is kept of other servers
  media scanning     whether the scanner for malware answers, and what it found
  media rescan [MXC] have files scanned again
  notice send USER TEXT
                     tell a user something, or --all
  search rebuild     build the index of the search anew
  config check       check the configuration, without starting
  config docs        print the reference page of all options
  db check           check the database, without changing it
  room check ROOM    check a room, or --all, event by event
  room circle ROOM CIRCLE
                     let only the servers of a circle take part in a room
  partner list       list the servers that there are agreements with
  partner show SERVER
                     what is agreed with a server, and what it can do
  partner add SERVER make a server a partner
  partner set SERVER change what is agreed with a partner
  partner remove SERVER
                     end a partnership
  circle list        list the circles of servers
  circle create NAME SERVER...
                     make a circle
  circle add NAME SERVER...
                     take servers into a circle
  circle remove NAME SERVER...
                     take servers out of a circle
  policy show        show what this server refuses as a policy server
  policy test FILE   say whether it would sign an event
  group list         list the groups of the directory, and their rooms
  group bind GROUP ROOM
                     bring the members of a group into a room
  group unbind GROUP ROOM
                     let a room go
  group status       what groups have yet to come, and where they cannot
  keys check         check how the signing key is kept and published
  keys list          list the signing key of this server and its old ones
  keys rotate        sign with a new key from now on
  federation check SERVER
                     go the way to another server, and say what is wrong with it
  federation status [SERVER]
                     what other servers have got, and why some do not answer
  federation resend SERVER
                     send again what was set aside for a server
  report list        list what users have reported
  report show REPORT say what is reported, and by whom
  report resolve REPORT
                     note that a report is dealt with
  event explain EVENT
                     say what the server made of an event, and why

Each has --help, and takes --config FILE where the server takes it.`;

const commands = {
  ...userUsage,
  'room list': `room list

Lists all rooms: room id, room version, how many of their members are of this server, the name, and whether a room is
published, blocked, or being purged.`,
  'room purge': `room purge ROOM --before WHEN

Deletes the history of ROOM (a room id, or an alias of this server) before WHEN, which is a day (2026-01-31), a time
(2026-01-31T12:00Z) or the id of an event. Messages go for good. State events (names, members, settings) leave the
timeline, and stay in the database, as states of the room name them. Other servers keep what they have.`,
  'room shutdown': `room shutdown ROOM [--purge] [--move-to ROOM]

Closes ROOM (a room id, or an alias of this server) while the server runs: its users of this server leave, its aliases
and its entry in the directory go, and nobody of this server can join it or be invited again. Users of other servers
stay among themselves.

  --purge         deletes all that the server has of the room
  --move-to ROOM  brings the users who were in it to another room`,
  'room unblock': `room unblock ROOM

Lets users join ROOM again, and be invited to it, after "room shutdown".`,
  'appservice add': `appservice add FILE [--no-federation] [--no-public-rooms] [--max-members N]

Adds the application service of a registration file (YAML, as bridges generate it), at once, whether the server runs or
not. Its users and aliases are reserved from then on, and it is told what happens from now on.

  --no-federation    the rooms that its users make are for users of this server alone
  --no-public-rooms  its users make no room that everybody may enter, read or find
  --max-members N    how many may be in a room that its users make, or into which they invite`,
  'appservice remove': `appservice remove ID

Ends the application service ID: its tokens are good for nothing any more, and nothing is sent to it. Its users and
rooms stay. Services of app_service_config_files are taken out there.`,
  'appservice list': `appservice list

Lists the application services: id, address, own user, where the registration is from, and what it may not do.`,
  'appservice status': `appservice status [ID]

Says for each application service whether it takes what it is told, or since when it does not, and why. Exits with 1
where one does not.`,
  ...mediaUsage,
  'notice send': `notice send USER TEXT
notice send --all TEXT

Sends a text to one user of this server, or to all. It comes as a message in a room of their own, to which they are
invited and which they cannot decline. The server must be running.`,
  'search rebuild': `search rebuild

Builds the index in which users search messages anew, from all events that are stored: after a backup was restored in
part, or when searches do not find what is there. It goes on in the background while the server runs.`,
  'config check': `config check

Reads the configuration as the server would, and prints it without secrets.`,
  'config docs': `config docs

Prints the reference page of all options, docs/configuration.md.`,
  'db check': `db check

Checks the database in data_dir: the file itself, references between tables, that the files of media are there, and
that rooms make sense. Reads only, and works while the server runs. Exits with 1 if anything is wrong.`,
  'room check': `room check ROOM | --all [--whole]

Checks ROOM (a room id, or an alias of this server), or all rooms, as its events make it: each event by its hash, its signature and what it
cites, the states before and after it, the current state, who is a member, and the newest events. Reads only, and
works while the server runs. Says what is wrong, one line each, and exits with 1 then.

  --all    checks every room
  --whole  resolves every fork of a room again, not only some: this may take long`,
  'keys check': `keys check

Checks the file of the signing key and its rights, how many old keys there are, the clock of this machine by those of
other servers, and whether this server is found by its own name with that key: its address, its certificate, and what
answers there. Works while the server runs and while it does not. Exits with 1 where something is wrong.`,
  'keys list': `keys list

Lists the key that the server signs with, and those that it signed with before and until when: key id, public key.`,
  'keys rotate': `keys rotate

Makes a new signing key, which the server signs with from now on, whether it runs or not. The key before is published
as an old one: what it signed stays valid, and its secret is deleted. Do it when somebody may have read signing.key, or
when your rules ask for it. Rocket.Chat servers do not read old keys: they cannot verify earlier events any more.`,
  ...partnerUsage,
  'group list': `group list

Lists the groups that the directory keeps by SCIM: id, members, name, and the rooms that each is bound to.`,
  'group bind': `group bind GROUP ROOM [--power N] [--children]

Brings the members of GROUP (its name, or its id in "group list") into ROOM (!id, or #alias of this server), and from
then on everybody who comes into the group; who leaves it is put out, unless another group holds them there. Works by
the running server, or else when the server starts.

  --power N   gives the members a power level of N at least, 100 at most
  --children  where ROOM is a space: brings them into its rooms, too, now and later`,
  'group unbind': `group unbind GROUP ROOM

Lets ROOM go: who is in it stays, and changes of GROUP do not matter to it any more.`,
  'group status': `group status

Says how many rooms are not yet as their groups are, and where something cannot be done, as where no user of this server
has the power for it. Those are tried again, later and later. Ends with 1 where there are any.`,
  'report list': `report list [--all]

Lists what users have reported to the administrators and nobody has dealt with: number, time, who reports, and what.

  --all  lists those too that are dealt with`,
  'report show': `report show REPORT

Shows the report with the number REPORT: who reports what, when and why, and of an event who sent it and what it says.`,
  'report resolve': `report resolve REPORT [--note TEXT]

Notes that the report with the number REPORT is dealt with.

  --note  what was done, for you`,
  'event explain': `event explain EVENT

Says what the server made of the event EVENT ($id, in quotes: the shell takes $ for itself): accepted, rejected,
soft-failed or an outlier; by which rule and which other events; and what state resolution did to it. Reads only, and
works while the server runs.`,
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

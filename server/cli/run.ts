/** From the operator's commands, with their words and flags, to what is done. */

import type { Config } from '../config-options.ts';
import { addAppservice, appserviceStatus, listAppservices, removeAppservice } from './appservice-commands.ts';
import type { Arguments } from './arguments.ts';
import { bindRoom, changeCircle, listCircles } from './circle-commands.ts';
import { checkConfig } from './config-commands.ts';
import { checkDatabase } from './db-commands.ts';
import { explainEventOf } from './event-explain-command.ts';
import { checkFederation, checkKeys } from './federation-check-command.ts';
import { resendTo } from './federation-resend-command.ts';
import { federationStatus } from './federation-status-command.ts';
import { bindGroup, groupStatus, listGroups, unbindGroup } from './group-commands.ts';
import { listKeys, rotateKeys } from './keys-commands.ts';
import { isMediaCommand, runOnMedia } from './media-commands.ts';
import { noticeCommand } from './notice-operations.ts';
import type { Outcome } from './operations.ts';
import {
  addPartner,
  listPartners,
  type PartnerFlags,
  removePartner,
  setPartner,
  showPartner,
} from './partner-commands.ts';
import { showPolicy, tryPolicy } from './policy-commands.ts';
import { changeLink, checkProviders, listProviders } from './provider-commands.ts';
import { listReports, resolveReport, showReport } from './report-commands.ts';
import { checkRoomsOf } from './room-check-command.ts';
import { listRooms, purgeRoom, shutDownRoom, unblockRoom } from './room-commands.ts';
import { rebuildSearch } from './search-commands.ts';
import { listRegistrationTokens, newRegistrationToken, revokeRegistrationToken } from './token-commands.ts';
import { type Command, UsageError } from './usage.ts';
import { addUser, changeUser, deactivateUser, limitUser, listTerms, listUsers } from './user-commands.ts';
import { none, one } from './words.ts';

const PROGRESS_WIDTH = 79;

export interface Given {
  readonly config: Config;
  readonly rest: readonly string[];
  readonly values: Arguments['values'];
}

/** Does what a command says. @throws UsageError */
export async function run(command: Exclude<Command, 'config docs'>, given: Given): Promise<Outcome> {
  const { config, rest, values } = given;
  if (isAppserviceCommand(command)) return runOnAppservices(command, given);
  if (isMediaCommand(command)) return runOnMedia(command, given);
  if (isTokenCommand(command)) return runOnTokens(command, given);
  if (isGroupCommand(command)) return runOnGroups(command, given);
  switch (command) {
    case 'provider list':
      none(rest);
      return listProviders(config);
    case 'provider check':
      return checkProviders(config, rest.length === 0 ? undefined : one(rest, 'the provider'));
    case 'room list':
      none(rest);
      return listRooms(config);
    case 'room purge':
      return purgeRoom(config, one(rest, 'the room'), values.before);
    case 'room shutdown':
      return shutDownRoom(config, one(rest, 'the room'), {
        purge: values.purge === true,
        moveTo: values['move-to'],
      });
    case 'room unblock':
      return unblockRoom(config, one(rest, 'the room'));
    case 'notice send': {
      const isAll = values.all === true;
      const [user, ...words] = isAll ? [undefined, ...rest] : rest;
      if (!isAll && user === undefined) throw new UsageError('the user, or --all, is missing: see --help');
      return noticeCommand(config, { user, text: words.join(' ') });
    }
    case 'search rebuild':
      none(rest);
      return rebuildSearch(config);
    case 'config check':
      none(rest);
      return checkConfig(config);
    case 'db check':
      none(rest);
      return checkDatabase(config);
    case 'keys check':
      none(rest);
      return checkKeys(config);
    case 'keys list':
      none(rest);
      return listKeys(config);
    case 'keys rotate':
      none(rest);
      return rotateKeys(config);
    case 'federation check':
      return checkFederation(config, one(rest, 'the server'));
    case 'federation status':
      return federationStatus(config, rest.length === 0 ? undefined : one(rest, 'the server'));
    case 'federation resend':
      return resendTo(config, one(rest, 'the server'));
    case 'event explain':
      return explainEventOf(config, one(rest, 'the id of the event'));
    case 'report list':
      none(rest);
      return listReports(config, values.all === true);
    case 'report show':
      return showReport(config, one(rest, 'the number of the report'));
    case 'report resolve':
      return resolveReport(config, one(rest, 'the number of the report'), values.note);
    case 'room check':
      if (values.all === true) none(rest);
      return checkRoomsOf(config, {
        room: values.all === true ? undefined : one(rest, 'the room, or --all,'),
        isWhole: values.whole === true,
        onProgress: process.stderr.isTTY ? showProgress : undefined,
      });
    default:
      return isOnUsers(command) ? runOnUsers(command, given) : runOnPartners(command, given);
  }
}

type UserCommand = Extract<Command, `user ${string}`>;

function isOnUsers(command: Command): command is UserCommand {
  return command.startsWith('user ');
}

async function runOnUsers(command: UserCommand, { config, rest, values }: Given): Promise<Outcome> {
  switch (command) {
    case 'user add':
      return addUser(config, one(rest, 'the name of the user'), {
        password: values.password,
        passwordStdin: values['password-stdin'] === true,
        admin: values.admin === true,
      });
    case 'user list':
      none(rest);
      return listUsers(config);
    case 'user terms':
      return listTerms(config, one(rest, 'the name of the user'));
    case 'user deactivate':
      return deactivateUser(config, one(rest, 'the name of the user'), values.erase === true);
    case 'user lock':
      return changeUser(config, one(rest, 'the name of the user'), 'lock');
    case 'user unlock':
      return changeUser(config, one(rest, 'the name of the user'), 'unlock');
    case 'user suspend':
      return changeUser(config, one(rest, 'the name of the user'), 'suspend');
    case 'user unsuspend':
      return changeUser(config, one(rest, 'the name of the user'), 'unsuspend');
    case 'user remove-second-factor':
      return changeUser(config, one(rest, 'the name of the user'), 'remove-second-factor');
    case 'user link':
    case 'user unlink': {
      const [, provider, subject] = rest;
      none(rest.slice(3));
      const change = command === 'user link' ? 'link' : 'unlink';
      if (change === 'unlink') one(rest.slice(1, 2), 'the provider');
      const user = one(rest.slice(0, 1), 'the name of the user');
      return changeLink(config, change, { user, provider, subject, sub: values.sub });
    }
    case 'user rate-limit':
      return limitUser(
        config,
        one(rest.slice(0, 1), 'the name of the user'),
        one(rest.slice(1), 'on, or off,'),
      );
  }
}

type AppserviceCommand = Extract<Command, `appservice ${string}`>;

function isAppserviceCommand(command: Command): command is AppserviceCommand {
  return command.startsWith('appservice ');
}

async function runOnAppservices(
  command: AppserviceCommand,
  { config, rest, values }: Given,
): Promise<Outcome> {
  switch (command) {
    case 'appservice add':
      return addAppservice(config, one(rest, 'the registration file'), {
        noFederation: values['no-federation'] === true,
        noPublicRooms: values['no-public-rooms'] === true,
        maxMembers: values['max-members'],
      });
    case 'appservice remove':
      return removeAppservice(config, one(rest, 'the id of the service'));
    case 'appservice list':
      none(rest);
      return listAppservices(config);
    case 'appservice status':
      return appserviceStatus(config, rest.length === 0 ? undefined : one(rest, 'the id of the service'));
  }
}

type TokenCommand = Extract<Command, `token ${string}`>;

function isTokenCommand(command: Command): command is TokenCommand {
  return command.startsWith('token ');
}

async function runOnTokens(command: TokenCommand, { config, rest, values }: Given): Promise<Outcome> {
  switch (command) {
    case 'token new': {
      none(rest);
      const { uses, expires, note } = values;
      return newRegistrationToken(config, { uses, expires, note });
    }
    case 'token list':
      none(rest);
      return listRegistrationTokens(config);
    case 'token revoke':
      return revokeRegistrationToken(config, one(rest, 'the token'));
  }
}

type GroupCommand = Extract<Command, `group ${string}`>;

function isGroupCommand(command: Command): command is GroupCommand {
  return command.startsWith('group ');
}

async function runOnGroups(command: GroupCommand, { config, rest, values }: Given): Promise<Outcome> {
  const names = () => ({
    group: one(rest.slice(0, 1), 'the group'),
    room: one(rest.slice(1), 'the room'),
  });
  switch (command) {
    case 'group list':
      none(rest);
      return listGroups(config);
    case 'group bind':
      return bindGroup(config, names(), { power: values.power, children: values.children === true });
    case 'group unbind':
      return unbindGroup(config, names());
    case 'group status':
      none(rest);
      return groupStatus(config);
  }
}

type PartnerCommand = Extract<
  Command,
  `partner ${string}` | `circle ${string}` | `policy ${string}` | 'room circle'
>;

async function runOnPartners(command: PartnerCommand, { config, rest, values }: Given): Promise<Outcome> {
  switch (command) {
    case 'partner list':
      none(rest);
      return listPartners(config);
    case 'partner show':
      return showPartner(config, one(rest, 'the name of the server'));
    case 'partner add':
      return addPartner(config, one(rest, 'the name of the server'), partnerFlags(values));
    case 'partner set':
      return setPartner(config, one(rest, 'the name of the partner'), partnerFlags(values));
    case 'partner remove':
      return removePartner(config, one(rest, 'the name of the partner'));
    case 'circle list':
      none(rest);
      return listCircles(config);
    case 'circle create':
      return changeCircle(config, 'create', circleOf(rest));
    case 'circle add':
      return changeCircle(config, 'add', circleOf(rest));
    case 'circle remove':
      return changeCircle(config, 'remove', circleOf(rest));
    case 'policy show':
      none(rest);
      return showPolicy(config);
    case 'policy test':
      return tryPolicy(config, one(rest, 'the file with the event'));
    case 'room circle':
      return values.none === true
        ? bindRoom(config, one(rest, 'the room'), undefined)
        : bindRoom(config, one(rest.slice(0, 1), 'the room'), one(rest.slice(1), 'the circle, or --none,'));
  }
}

function partnerFlags({ direction, profile, key, ca, note }: Given['values']): PartnerFlags {
  return { direction, profile, key, ca, note };
}

function circleOf([name, ...servers]: readonly string[]): { name: string; servers: readonly string[] } {
  return { name: one(name === undefined ? [] : [name], 'the name of the circle'), servers };
}

/** Written over by the next one, and by what is printed in the end. */
function showProgress(text: string): void {
  process.stderr.write(`\r${text.padEnd(PROGRESS_WIDTH).slice(0, PROGRESS_WIDTH)}\r`);
}

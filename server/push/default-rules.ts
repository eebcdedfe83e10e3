/**
 * The server-default push rules, as data:
 * https://spec.matrix.org/v1.19/client-server-api/#predefined-rules
 */

import { localpartOf, type UserId } from '#keys/ids.ts';
import type { Json, JsonObject } from '#keys/json.ts';
import { THREAD_SUBSCRIPTION } from './conditions.ts';
import type { PushRule, PushRuleset } from './ruleset.ts';

/** MSC3381, as all clients send it. */
const POLL = 'org.matrix.msc3381.poll';
/** MSC4062. */
export const DONT_EMAIL = 'org.matrix.msc4062.dont_email';
const NOTIFY = 'notify';
const HIGHLIGHT = { set_tweak: 'highlight' };
const SOUND = { set_tweak: 'sound', value: 'default' };
const RING = { set_tweak: 'sound', value: 'ring' };

/** What the operator chooses of the server's rules: members of the configuration. */
export interface DefaultRuleOptions {
  /** The rules of before Matrix 1.17 are among them. */
  readonly legacyMentions: boolean;
  /** MSC4028: apps are woken for all that is encrypted. */
  readonly pushAllEncrypted: boolean;
  /** MSC4306: its rules are enabled from the beginning. */
  readonly followedThreads: boolean;
}

export const NO_OPTIONS: DefaultRuleOptions = {
  legacyMentions: false,
  pushAllEncrypted: false,
  followedThreads: false,
};

/** The rules that every user has before changing any. */
export function defaultRules(
  userId: UserId,
  { legacyMentions, pushAllEncrypted, followedThreads }: DefaultRuleOptions,
): PushRuleset {
  return {
    override: [
      { ...rule('.m.rule.master', [], []), enabled: false },
      // "Just after the `.m.rule.master` push rule", but for the user's own.
      ...(pushAllEncrypted ? [encryptedEventRule()] : []),
      rule('.m.rule.suppress_notices', [matches('content.msgtype', 'm.notice')], []),
      rule(
        '.m.rule.invite_for_me',
        [
          matches('type', 'm.room.member'),
          matches('content.membership', 'invite'),
          matches('state_key', userId),
        ],
        [NOTIFY, SOUND],
      ),
      rule('.m.rule.member_event', [matches('type', 'm.room.member')], []),
      rule(
        '.m.rule.is_user_mention',
        [{ kind: 'event_property_contains', key: 'content.m\\.mentions.user_ids', value: userId }],
        [NOTIFY, SOUND, HIGHLIGHT],
      ),
      rule(
        '.m.rule.is_room_mention',
        [is('content.m\\.mentions.room', true), { kind: 'sender_notification_permission', key: 'room' }],
        [NOTIFY, HIGHLIGHT],
      ),
      rule(
        '.m.rule.tombstone',
        [matches('type', 'm.room.tombstone'), matches('state_key', '')],
        [NOTIFY, HIGHLIGHT],
      ),
      ...(legacyMentions ? legacyOverrides() : []),
      rule('.m.rule.reaction', [matches('type', 'm.reaction')], []),
      rule('.m.rule.room.server_acl', [matches('type', 'm.room.server_acl'), matches('state_key', '')], []),
      rule('.m.rule.suppress_edits', [is('content.m\\.relates_to.rel_type', 'm.replace')], []),
      rule('.org.matrix.msc3930.rule.poll_response', [matches('type', `${POLL}.response`)], []),
    ],
    content: legacyMentions
      ? [
          {
            ...{ rule_id: '.m.rule.contains_user_name', default: true, enabled: true },
            pattern: localpartOf(userId),
            actions: [NOTIFY, SOUND, HIGHLIGHT],
          },
        ]
      : [],
    postcontent: threadRules(followedThreads),
    room: [],
    sender: [],
    underride: [
      rule('.m.rule.call', [matches('type', 'm.call.invite')], [NOTIFY, RING]),
      rule(
        '.m.rule.encrypted_room_one_to_one',
        [{ kind: 'room_member_count', is: '2' }, matches('type', 'm.room.encrypted')],
        [NOTIFY, SOUND],
      ),
      rule(
        '.m.rule.room_one_to_one',
        [{ kind: 'room_member_count', is: '2' }, matches('type', 'm.room.message')],
        [NOTIFY, SOUND],
      ),
      rule('.m.rule.message', [matches('type', 'm.room.message')], [NOTIFY]),
      rule('.m.rule.encrypted', [matches('type', 'm.room.encrypted')], [NOTIFY]),
      ...pollRules(),
    ],
  };
}

/** MSC4028. "Servers [...] should ignore in the email notifications the events pushed because of the new push rule". */
function encryptedEventRule(): PushRule {
  return rule(
    '.org.matrix.msc4028.encrypted_event',
    [is('type', 'm.room.encrypted')],
    [NOTIFY, { set_tweak: DONT_EMAIL }],
  );
}

/**
 * MSC4306. Disabled unless the operator says otherwise: to those whose clients follow no threads they would keep
 * silent about all of them.
 */
function threadRules(enabled: boolean): PushRule[] {
  const follows = (subscribed: boolean) => ({ kind: THREAD_SUBSCRIPTION, subscribed });
  const id = '.io.element.msc4306.rule';
  return [
    { ...rule(`${id}.unsubscribed_thread`, [follows(false)], []), enabled },
    { ...rule(`${id}.subscribed_thread`, [follows(true)], [NOTIFY, SOUND]), enabled },
  ];
}

/** Of before Matrix 1.17, for clients that do not say whom a message mentions. */
function legacyOverrides(): PushRule[] {
  return [
    rule('.m.rule.contains_display_name', [{ kind: 'contains_display_name' }], [NOTIFY, SOUND, HIGHLIGHT]),
    rule(
      '.m.rule.roomnotif',
      [matches('content.body', '@room'), { kind: 'sender_notification_permission', key: 'room' }],
      [NOTIFY, HIGHLIGHT],
    ),
  ];
}

/** Polls notify as messages do (MSC3930). */
function pollRules(): PushRule[] {
  const start = matches('type', `${POLL}.start`);
  const end = matches('type', `${POLL}.end`);
  const oneToOne = { kind: 'room_member_count', is: '2' };
  const id = '.org.matrix.msc3930.rule.poll';
  return [
    rule(`${id}_start_one_to_one`, [oneToOne, start], [NOTIFY, SOUND]),
    rule(`${id}_start`, [start], [NOTIFY]),
    rule(`${id}_end_one_to_one`, [oneToOne, end], [NOTIFY, SOUND]),
    rule(`${id}_end`, [end], [NOTIFY]),
  ];
}

function rule(ruleId: string, conditions: readonly JsonObject[], actions: readonly Json[]): PushRule {
  return { rule_id: ruleId, default: true, enabled: true, conditions, actions };
}

function matches(key: string, pattern: string): JsonObject {
  return { kind: 'event_match', key, pattern };
}

function is(key: string, value: Json): JsonObject {
  return { kind: 'event_property_is', key, value };
}

/**
 * The letter about unread messages. Names of rooms and people, and what they wrote, are chosen by others: each is put on
 * one line, without characters that are not seen, and cut short.
 */

import type { Speech } from '../languages/choose.ts';
import { fill } from '../languages/texts.ts';
import { type Html, html } from '../pages/html.ts';
import type { Letter } from './mailer.ts';

export interface UnreadMessage {
  readonly sender: string;
  readonly kind: 'text' | 'encrypted' | 'invitation' | 'other';
  /** Of the kind `text`. */
  readonly text?: string;
}

export interface UnreadRoom {
  readonly roomId: string;
  readonly name: string | undefined;
  /** The oldest first. */
  readonly messages: readonly UnreadMessage[];
}

export interface UnreadLetter {
  readonly userId: string;
  readonly serverName: string;
  readonly rooms: readonly UnreadRoom[];
  /** Where a room is opened, with `{room}` in it. */
  readonly roomLink: string;
  readonly unsubscribe: string;
  /** Whether it says who has written what. */
  readonly withText: boolean;
}

const MOST_ROOMS = 10;
const MOST_SHOWN = 5;
const LONGEST_NAME = 80;
const LONGEST_TEXT = 200;
/** Controls, and what turns the direction of writing or joins letters unseen. */
const UNSEEN = /[\p{Cc}\p{Cf}\p{Co}\p{Cs}\p{Zl}\p{Zp}]+/gu;

interface ShownRoom {
  readonly name: string;
  readonly count: string;
  readonly link: string;
  readonly lines: readonly string[];
}

/** The letter, in the language of its reader. */
export function unreadLetter(speech: Speech, letter: UnreadLetter): Omit<Letter, 'to'> {
  const { unread: words } = speech.texts;
  const { serverName, userId, unsubscribe } = letter;
  const intro = fill(words.intro, { userId, serverName });
  const rooms = letter.rooms.slice(0, MOST_ROOMS).map((room) => shown(speech, room, letter));
  const isMore = letter.rooms.length > MOST_ROOMS;
  return {
    subject: fill(words.subject, { serverName }),
    text: [
      intro,
      ...rooms.map(({ name, count, link, lines }) => [name, count, ...lines, link].join('\n')),
      ...(isMore ? [words.more] : []),
      `${words.unsubscribe}:\n${unsubscribe}\n`,
    ].join('\n\n'),
    html: page(speech, [
      html`<p>${intro}</p>`,
      ...rooms.map(
        ({ name, count, link, lines }) => html`<h2 style="font-size:1.1em;margin-bottom:0">${name}</h2>
<p style="margin-top:0">${count}</p>
${lines.map((line) => html`<p>${line}</p>`)}
<p><a href="${link}">${words.open}</a></p>`,
      ),
      ...(isMore ? [html`<p>${words.more}</p>`] : []),
      html`<hr><p><a href="${unsubscribe}">${words.unsubscribe}</a></p>`,
    ]).html,
    unsubscribe,
  };
}

function page({ language, texts }: Speech, parts: readonly Html[]): Html {
  return html`<!doctype html>
<html lang="${language}"><head><meta charset="utf-8"><title>${texts.unread.open}</title></head>
<body style="font-family:sans-serif;line-height:1.5;max-width:34rem">
${parts}
</body></html>`;
}

function shown({ texts }: Speech, room: UnreadRoom, { roomLink, withText }: UnreadLetter): ShownRoom {
  const { unread: words } = texts;
  const { roomId, messages } = room;
  const isInvitation = messages.every(({ kind }) => kind === 'invitation');
  const lines = withText
    ? messages.slice(-MOST_SHOWN).map((one) => `${oneLine(one.sender, LONGEST_NAME)}: ${said(words, one)}`)
    : isInvitation
      ? [words.invitation]
      : [];
  return {
    name: oneLine(room.name ?? '', LONGEST_NAME) || words.unnamedRoom,
    count: isInvitation ? '' : fill(words.count, { count: messages.length }),
    link: roomLink.replace('{room}', () => encodeURIComponent(roomId)),
    lines,
  };
}

function said(words: Speech['texts']['unread'], { kind, text = '' }: UnreadMessage): string {
  return kind === 'text' ? oneLine(text, LONGEST_TEXT) : words[kind];
}

function oneLine(text: string, longest: number): string {
  const plain = text
    .slice(0, 4 * longest)
    .replaceAll(UNSEEN, ' ')
    .replaceAll(/\s+/gu, ' ')
    .trim();
  const letters = Array.from(plain);
  return letters.length <= longest ? plain : `${letters.slice(0, longest - 1).join('')}…`;
}

/** What the letters say. Nothing that others chose is in them but the names of this server and of its user. */

import type { Purpose } from '#storage/email-validations.ts';
import { fill, type Texts } from '../languages/texts.ts';
import type { Letter } from './mailer.ts';

type Text = Omit<Letter, 'to'>;

interface Confirmation {
  readonly serverName: string;
  readonly link: string;
  readonly minutes: number;
}

/** The letter with the link by which an address is confirmed. */
export function confirmation(
  { letters }: Texts,
  purpose: Purpose,
  { serverName, link, minutes }: Confirmation,
): Text {
  const subject = purpose === 'password' ? letters.passwordSubject : letters.confirmSubject;
  return {
    subject: fill(subject, { serverName }),
    text: paragraphs(
      fill(letters[`${purpose}Asks`], { serverName }),
      fill(letters[`${purpose}Effect`], { minutes }),
      link,
      letters.ignore,
    ),
  };
}

/**
 * The letter to an address that cannot be confirmed, as it is, or is not, somebody's already. It goes to the address, so
 * that those who merely ask learn nothing of it.
 */
export function refusal({ letters }: Texts, purpose: Purpose, { serverName }: { serverName: string }): Text {
  const isUnknown = purpose === 'password';
  return {
    subject: fill(isUnknown ? letters.noAccountSubject : letters.takenSubject, { serverName }),
    text: paragraphs(
      fill(letters[`${purpose}Asks`], { serverName }),
      isUnknown ? letters.noAccount : letters.taken,
      letters.doNothing,
    ),
  };
}

function paragraphs(...texts: readonly string[]): string {
  return `${texts.join('\n\n')}\n`;
}

/** What the letters say. Nothing that others chose is in them but the names of this server and of its user. */

import type { Purpose } from '#storage/email-validations.ts';
import type { Letter } from './mailer.ts';

type Text = Omit<Letter, 'to'>;

interface Confirmation {
  readonly serverName: string;
  readonly link: string;
  readonly minutes: number;
}

const ACTIONS: Readonly<Record<Purpose, { subject: string; asks: string; effect: string }>> = {
  register: {
    subject: 'Confirm your e-mail address',
    asks: 'make an account with this e-mail address',
    effect: 'the account can be made',
  },
  password: {
    subject: 'Set a new password',
    asks: 'set a new password for the account with this e-mail address',
    effect: 'whoever asked for it can set a new password',
  },
  add: {
    subject: 'Confirm your e-mail address',
    asks: 'add this e-mail address to an account',
    effect: 'the address can be added',
  },
};

/** The letter with the link by which an address is confirmed. */
export function confirmation(purpose: Purpose, { serverName, link, minutes }: Confirmation): Text {
  const { subject, asks, effect } = ACTIONS[purpose];
  return {
    subject: `${subject} (${serverName})`,
    text: `Somebody wants to ${asks} on the Matrix server ${serverName}.

If it was you, open this link within ${minutes} minutes, and confirm there; ${effect} then:

${link}

If it was not you, do nothing: nothing happens without the link. Do not pass it on.
`,
  };
}

/**
 * The letter to an address that cannot be confirmed, as it is, or is not, somebody's already. It goes to the address, so
 * that those who merely ask learn nothing of it.
 */
export function refusal(purpose: Purpose, { serverName }: { serverName: string }): Text {
  if (purpose === 'password') {
    return {
      subject: `No account with this address (${serverName})`,
      text: `Somebody wants to set a new password for an account on the Matrix server ${serverName}, and gave this e-mail
address. No account there has this address. If it was you, try another address of yours, or ask the
administrator of the server.

If it was not you, do nothing.
`,
    };
  }
  return {
    subject: `This address belongs to an account (${serverName})`,
    text: `Somebody wants to ${ACTIONS[purpose].asks} on the Matrix server ${serverName}. But an account
there has this address already. If it is yours, sign in to it; if you forgot its password, set a new one by this
address.

If it was not you, do nothing.
`,
  };
}

/** What all pages of an account have in common. */

import type { FastifyReply } from 'fastify';
import { fill, type Texts } from '../languages/texts.ts';
import { doneBox, hiddenField, problemBox } from '../pages/fields.ts';
import { type Html, html, sendPage } from '../pages/html.ts';
import { queryString } from '../query.ts';
import { SIGN_OUT_PATH } from '../sign-in/next.ts';
import * as paths from './paths.ts';
import type { Visit } from './visit.ts';

export interface AccountPage {
  /** The address of the page. */
  readonly path: string;
  readonly title?: string;
  readonly body?: Html;
  readonly problem?: string | undefined;
  readonly status?: number;
  readonly script?: string;
}

/** Answers with a page of the account. */
export function sendAccountPage(visit: Visit, page: AccountPage): FastifyReply {
  const { reply, person, speech } = visit;
  const { texts } = speech;
  const { path, body, problem, script, title = texts.account.title } = page;
  const content = html`<p>${fill(texts.account.signedInAs, { userId: person.userId })}</p>
${problemBox(texts, problem)}
${doneBox(problem === undefined ? doneText(texts, queryString(visit.request.query, 'done')) : undefined)}
${body ?? html`<p><a href="${path}">${texts.page.back}</a></p>`}
${navigation(texts, path)}
<form method="post" action="${SIGN_OUT_PATH}">
${formToken(visit)}
<button class="second">${texts.account.signOut}</button>
</form>`;
  return sendPage(reply, {
    ...{ title, body: content, speech, address: path },
    status: page.status ?? (problem === undefined ? 200 : 400),
    ...(script !== undefined && { script }),
  });
}

/** Must stand in every form of the account. */
export function formToken({ person }: Visit): Html {
  return hiddenField('form_token', person.formToken);
}

function navigation({ account: words }: Texts, path: string): Html {
  const links: readonly (readonly [string, string])[] = [
    [paths.ACCOUNT, words.overview],
    [paths.PROFILE, words.profile],
    [paths.DEVICES, words.devices],
    [paths.PASSWORD, words.password],
    [paths.SECOND_STEP, words.factors],
    [paths.EMAILS, words.emails],
    [paths.LANGUAGE, words.language],
    [paths.DEACTIVATE, words.deactivate],
  ];
  const [here] = path.split('?', 1);
  const items = links.map(([to, label]) => {
    const current = to === here ? html` aria-current="page"` : html``;
    return html`<li><a href="${to}"${current}>${label}</a></li>`;
  });
  return html`<nav aria-label="${words.title}"><ul class="links">
${items}
</ul></nav>`;
}

/** What a page says that was come back to after something was done. */
function doneText(texts: Texts, done: string | undefined): string | undefined {
  switch (done) {
    case 'saved':
      return texts.account.saved;
    case 'signed_out':
      return texts.devices.signedOut;
    case 'password':
      return texts.passwordPage.changed;
    case 'email_added':
      return texts.emails.added;
    case 'email_removed':
      return texts.emails.removed;
    case 'factor_removed':
      return texts.factors.removed;
    default:
      return undefined;
  }
}

/** The page on which people sign in. */

import type { FastifyReply } from 'fastify';
import type { ServerContext } from '../context.ts';
import { fill } from '../languages/texts.ts';
import { hiddenField, inputField, problemBox } from '../pages/fields.ts';
import { type Html, html, sendPage } from '../pages/html.ts';
import { passkeyForm } from '../second-factor/passkey-form.ts';
import { PASSKEY_SCRIPT } from '../second-factor/passkey-script.ts';
import { passkeySite } from '../second-factor/passkey-site.ts';
import type { Person } from './browser-sessions.ts';
import { SIGN_IN_PATH, signInUrl } from './next.ts';
import type { SignInRequest } from './request.ts';
import type { Visitor } from './visitor.ts';
import { providerPath } from './ways.ts';

export const FORGOTTEN_PATH = `${SIGN_IN_PATH}/forgotten`;
export const PASSKEY_PATH = `${SIGN_IN_PATH}/passkey`;

export interface SignInForm {
  readonly asked: SignInRequest;
  readonly visitor: Visitor;
  /** Who is signed in already, and confirms that it is them. */
  readonly person?: Person;
  readonly name?: string;
  readonly problem?: string;
  readonly status?: number;
}

export function sendSignInForm(ctx: ServerContext, reply: FastifyReply, form: SignInForm): FastifyReply {
  const { asked, person, problem, status = 200 } = form;
  const { serverName, config } = ctx;
  const { speech, next } = asked;
  const { signIn: words } = speech.texts;
  const hasPasskeys = config.passwordLogin && passkeySite(config) !== undefined;
  const isClosed = !config.passwordLogin && ctx.providers.list().length === 0;
  const body = html`
${problemBox(speech.texts, problem)}
${person === undefined ? html`` : html`<p>${fill(words.againWhy, { userId: person.userId })}</p>`}
${config.passwordLogin ? passwordForm(ctx, form) : html``}
${otherWays(ctx, form, hasPasskeys)}
${isClosed ? html`<p>${words.noWay}</p>` : html``}
`;
  return sendPage(reply, {
    title: person === undefined ? fill(words.title, { serverName }) : words.again,
    body,
    speech,
    address: `${signInUrl(next)}${asked.prompt === undefined ? '' : `&prompt=${asked.prompt}`}`,
    status,
    ...(hasPasskeys && { script: PASSKEY_SCRIPT }),
  });
}

function passwordForm(ctx: ServerContext, form: SignInForm): Html {
  const { asked, visitor, person, problem } = form;
  const { fields, signIn: words } = asked.speech.texts;
  const name = form.name ?? person?.userId ?? asked.loginHint;
  const isKnown = name !== '';
  return html`<form method="post" action="${SIGN_IN_PATH}">
${hiddenField('form_token', visitor.formToken)}
${hiddenField('next', asked.next)}
${hiddenField('prompt', asked.prompt ?? '')}
${inputField({ name: 'name', label: words.name, value: name, autocomplete: 'username', isFirst: !isKnown }, problem)}
${inputField(
  {
    ...{ name: 'password', label: fields.password, autocomplete: 'current-password' },
    ...{ type: 'password', isFirst: isKnown },
  },
  problem,
)}
<button>${words.signIn}</button>
</form>
${links(ctx, form)}`;
}

function links({ mailer, config }: ServerContext, { asked, person }: SignInForm): Html {
  const { signIn: words } = asked.speech.texts;
  const next = encodeURIComponent(asked.next);
  const items = [
    ...(mailer === undefined
      ? []
      : [html`<li><a href="${FORGOTTEN_PATH}?next=${next}">${words.forgotten}</a></li>`]),
    ...(config.registration === 'closed' || person !== undefined
      ? []
      : [html`<li><a href="${SIGN_IN_PATH}?prompt=create&amp;next=${next}">${words.create}</a></li>`]),
  ];
  return items.length === 0
    ? html``
    : html`<ul class="links">
${items}
</ul>`;
}

function otherWays(ctx: ServerContext, form: SignInForm, hasPasskeys: boolean): Html {
  const { asked, visitor } = form;
  const { signIn: words, factor } = asked.speech.texts;
  const { next, prompt } = asked;
  const buttons = ctx.providers.list().map((provider) => {
    const path = providerPath(provider, { next, isAgain: prompt === 'login' });
    return html`<p><a class="button second" href="${path}">${fill(words.with, { provider: provider.label })}</a></p>`;
  });
  const passkey = passkeyForm(asked.speech.texts, {
    ...{ action: PASSKEY_PATH, options: `${PASSKEY_PATH}/options`, label: factor.passkey },
    formToken: visitor.formToken,
    fields: hiddenField('next', next),
  });
  return html`${buttons}
${hasPasskeys ? passkey : html``}`;
}

/** What a person sees before a client is let in; nothing is kept until they have said yes. */

import type { FastifyReply } from 'fastify';
import type { Speech } from '../languages/choose.ts';
import { fill, type Texts } from '../languages/texts.ts';
import { hiddenField, problemBox } from '../pages/fields.ts';
import { type Html, html, phrase, sendPage } from '../pages/html.ts';
import type { Person } from '../sign-in/browser-sessions.ts';
import { signInUrl } from '../sign-in/next.ts';
import type { AuthorizationRequest, CheckedRequest } from './authorization-request.ts';
import { type Client, hostOf, nameOf } from './clients.ts';
import { policySourceOf, targetOf } from './redirect-uri.ts';

export interface ConsentPage {
  readonly speech: Speech;
  readonly asked: AuthorizationRequest;
  readonly person: Person;
  /** True where the user has a device of this id already. */
  readonly replaces: boolean;
  readonly problem?: string | undefined;
}

/** The page on which somebody who is signed in lets a client in. */
export function sendConsentPage(reply: FastifyReply, page: ConsentPage): FastifyReply {
  const { speech, asked, person, replaces, problem } = page;
  const { client, redirectUri, deviceId, url } = asked;
  const { consent } = speech.texts.oauth;
  const say = sayer({ client, person, target: targetOf(redirectUri), deviceId });
  const body = html`
${problemBox(speech.texts, problem)}
${say(consent.asks)}
${say(consent.can)}
${replaces ? say(consent.replaces) : html``}
${say(consent.onlyIf)}
${say(consent.leadsTo)}
${linksOf(client, speech.texts)}
<form method="post" action="${url}">
${hiddenField('form_token', person.formToken)}
<button name="decision" value="allow">${consent.allow}</button>
<button class="second" name="decision" value="deny">${consent.deny}</button>
</form>
<p><a href="${signInUrl(url)}&amp;prompt=login">${consent.other}</a></p>
`;
  return sendPage(reply, {
    title: fill(consent.title, { client: nameOf(client) }),
    body,
    speech,
    address: url,
    status: problem === undefined ? 200 : 403,
    // Browsers hold a form to its policy in the redirect that answers it, too.
    leadsTo: policySourceOf(redirectUri),
  });
}

/** Says a text as a paragraph, with what it is about. */
export function sayer(about: {
  readonly client: Client;
  readonly person: Person;
  readonly [more: string]: unknown;
}): (text: string) => Html {
  const { client, person, ...more } = about;
  const bold = (text: unknown) => html`<strong>${String(text)}</strong>`;
  const values = Object.fromEntries(Object.entries(more).map(([name, value]) => [name, bold(value)]));
  const known = { client: bold(nameOf(client)), host: bold(hostOf(client)), userId: bold(person.userId) };
  return (text) => html`<p>${phrase(text, { ...values, ...known })}</p>`;
}

/** "If this field is set, the server SHOULD show or link to this URL." */
export function linksOf(client: Client, { oauth: { consent } }: Texts): Html {
  const links = [
    [client.tos_uri, consent.tos],
    [client.policy_uri, consent.policy],
  ] as const;
  const items = links.flatMap(([url, text]) => {
    if (url === undefined) return [];
    return [html`<li><a href="${url}" rel="noreferrer">${fill(text, { client: nameOf(client) })}</a></li>`];
  });
  return items.length === 0 ? html`` : html`<ul class="links">${items}</ul>`;
}

/** The page of a request that may not be shown, and that leads nowhere by itself. */
export function sendProblemPage(
  reply: FastifyReply,
  speech: Speech,
  checked: Exclude<CheckedRequest, { kind: 'request' }>,
): FastifyReply {
  const { texts } = speech;
  const { problem } = texts.oauth;
  const page = { title: problem.title, speech };
  if (checked.kind === 'problem') {
    const status = checked.problem === 'tooLong' ? 414 : 400;
    return sendPage(reply, { ...page, body: problemBox(texts, problem[checked.problem]), status });
  }
  const said = fill(problem.badRequest, { problem: checked.refusal.description });
  const back = fill(problem.goBack, { target: targetOf(checked.redirectUri) });
  const body = html`${problemBox(texts, said)}<p><a href="${checked.to}" rel="noreferrer">${back}</a></p>`;
  return sendPage(reply, { ...page, body, status: 400 });
}

/** The page for who does too much at once. */
export function sendTooManyPage(reply: FastifyReply, speech: Speech): FastifyReply {
  const { title, tooMany } = speech.texts.oauth.problem;
  return sendPage(reply, { title, body: problemBox(speech.texts, tooMany), speech, status: 429 });
}

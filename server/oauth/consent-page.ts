/** What a person sees before a client is let in; nothing is kept until they have said yes. */

import type { FastifyReply, FastifyRequest } from 'fastify';
import { type Html, html, sendPage } from '../html.ts';
import type { Person } from '../sign-in/browser-sessions.ts';
import { signInUrl } from '../sign-in/next.ts';
import type { AuthorizationRequest, CheckedRequest } from './authorization-request.ts';
import { type Client, hostOf, nameOf } from './clients.ts';
import { policySourceOf, targetOf } from './redirect-uri.ts';
import { fill, type OAuthTexts, oauthTexts } from './speech.ts';

/** The page on which somebody who is signed in lets a client in. */
export function sendConsentPage(
  request: FastifyRequest,
  reply: FastifyReply,
  page: {
    readonly asked: AuthorizationRequest;
    readonly person: Person;
    readonly replaces: boolean;
    readonly problem?: 'expired';
  },
): FastifyReply {
  const texts = oauthTexts(request);
  const { asked, person, replaces, problem } = page;
  const { client, redirectUri, deviceId, url } = asked;
  const values = {
    client: nameOf(client),
    host: hostOf(client),
    userId: person.userId,
    target: targetOf(redirectUri),
    deviceId,
  };
  const say = (text: string) => html`<p>${fill(text, values)}</p>`;
  const body = html`
${problem === undefined ? html`` : html`<p class="problem" role="alert">${texts.problem[problem]}</p>`}
${say(texts.consent.asks)}
${say(texts.consent.can)}
${replaces ? say(texts.consent.replaces) : html``}
${say(texts.consent.onlyIf)}
${say(texts.consent.leadsTo)}
${linksOf(client, texts)}
<form method="post" action="${url}">
<input type="hidden" name="form_token" value="${person.formToken}">
<button name="decision" value="allow">${texts.consent.allow}</button>
<button name="decision" value="deny">${texts.consent.deny}</button>
</form>
<p><a href="${signInUrl(url)}&amp;prompt=login">${texts.consent.other}</a></p>
`;
  return sendPage(reply, {
    title: fill(texts.consent.title, values),
    body,
    status: problem === undefined ? 200 : 403,
    // Browsers hold a form to its policy in the redirect that answers it, too.
    leadsTo: policySourceOf(redirectUri),
  });
}

/** "If this field is set, the server SHOULD show or link to this URL." */
export function linksOf(client: Client, texts: OAuthTexts): Html {
  const client_ = { client: nameOf(client) };
  const link = (url: string | undefined, text: string) =>
    url === undefined ? html`` : html`<p><a href="${url}" rel="noreferrer">${fill(text, client_)}</a></p>`;
  return html`${link(client.tos_uri, texts.consent.tos)}${link(client.policy_uri, texts.consent.policy)}`;
}

/** The page of a request that may not be shown, and that leads nowhere by itself. */
export function sendProblemPage(
  request: FastifyRequest,
  reply: FastifyReply,
  checked: Exclude<CheckedRequest, { kind: 'request' }>,
): FastifyReply {
  const texts = oauthTexts(request);
  const { title } = texts.problem;
  if (checked.kind === 'problem') {
    return sendPage(reply, {
      title,
      body: html`<p class="problem" role="alert">${texts.problem[checked.problem]}</p>`,
      status: checked.problem === 'tooLong' ? 414 : 400,
    });
  }
  const problem = fill(texts.problem.badRequest, { problem: checked.refusal.description });
  const back = fill(texts.problem.goBack, { target: targetOf(checked.redirectUri) });
  const body = html`
<p class="problem" role="alert">${problem}</p>
<p><a href="${checked.to}" rel="noreferrer">${back}</a></p>
`;
  return sendPage(reply, { title, body, status: 400 });
}

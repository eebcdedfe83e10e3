/** Where a person lets a device in that cannot show them a page: https://www.rfc-editor.org/rfc/rfc8628#section-3.3 */

import type { FastifyReply, FastifyRequest } from 'fastify';
import { type Html, html, sendPage } from '../html.ts';
import type { Person } from '../sign-in/browser-sessions.ts';
import { hostOf, nameOf } from './clients.ts';
import { linksOf } from './consent-page.ts';
import type { WaitingDevice } from './device-grants.ts';
import { paths } from './metadata.ts';
import { fill, oauthTexts } from './speech.ts';

/** What is wrong with what a person did. */
export type DeviceProblem = 'wrongCode' | 'tooMany' | 'expired';

const STATUS: Readonly<Record<DeviceProblem, number>> = { wrongCode: 400, tooMany: 429, expired: 403 };

/** Asks for the code that the device shows. */
export function sendCodePage(
  request: FastifyRequest,
  reply: FastifyReply,
  { person, problem }: { readonly person: Person; readonly problem?: DeviceProblem },
): FastifyReply {
  const texts = oauthTexts(request);
  const words = { ...texts.device, expired: texts.problem.expired };
  const said: Html =
    problem === undefined ? html`` : html`<p class="problem" role="alert" id="problem">${words[problem]}</p>`;
  const described = problem === undefined ? html`` : html` aria-describedby="problem" aria-invalid="true"`;
  const body = html`
${said}
<p>${texts.device.explains}</p>
<form method="post" action="${paths.device}">
<input type="hidden" name="form_token" value="${person.formToken}">
<label for="user_code">${texts.device.code}</label>
<input id="user_code" name="user_code" required autofocus autocapitalize="characters" autocomplete="off" spellcheck="false"
maxlength="32"${described}>
<button>${texts.device.next}</button>
</form>
`;
  const status = problem === undefined ? 200 : STATUS[problem];
  return sendPage(reply, { title: texts.device.title, body, status });
}

/** Shows who asks, and the code again, before anything is allowed: whoever sends links knows the code, too. */
export function sendDevicePage(
  request: FastifyRequest,
  reply: FastifyReply,
  { person, device }: { readonly person: Person; readonly device: WaitingDevice },
): FastifyReply {
  const texts = oauthTexts(request);
  const { client, address, userCode } = device;
  const values = { client: nameOf(client), host: hostOf(client), userId: person.userId, address };
  const say = (text: string) => html`<p>${fill(text, values)}</p>`;
  const body = html`
${say(texts.device.asks)}
${say(texts.consent.can)}
${say(texts.device.compare)}
<p><strong><code>${userCode}</code></strong></p>
${say(texts.device.from)}
${say(texts.device.onlyIf)}
${linksOf(client, texts)}
<form method="post" action="${paths.device}">
<input type="hidden" name="form_token" value="${person.formToken}">
<input type="hidden" name="user_code" value="${userCode}">
<button name="decision" value="allow">${texts.device.allow}</button>
<button name="decision" value="deny">${texts.device.deny}</button>
</form>
`;
  return sendPage(reply, { title: texts.device.confirmTitle, body });
}

/** Says that it is done. */
export function sendDecidedPage(
  request: FastifyRequest,
  reply: FastifyReply,
  { isAllowed }: { readonly isAllowed: boolean },
): FastifyReply {
  const { done, isDone, denied, isDenied } = oauthTexts(request).device;
  const [title, said] = isAllowed ? [done, isDone] : [denied, isDenied];
  return sendPage(reply, { title, body: html`<p>${said}</p>` });
}

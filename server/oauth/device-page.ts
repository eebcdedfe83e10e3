/** Where a person lets a device in that cannot show them a page: https://www.rfc-editor.org/rfc/rfc8628#section-3.3 */

import type { FastifyReply } from 'fastify';
import type { Speech } from '../languages/choose.ts';
import { hiddenField, inputField, problemBox } from '../pages/fields.ts';
import { html, sendPage } from '../pages/html.ts';
import type { Person } from '../sign-in/browser-sessions.ts';
import { linksOf, sayer } from './consent-page.ts';
import type { WaitingDevice } from './device-grants.ts';
import { paths } from './metadata.ts';

/** What is wrong with what a person did. */
export type DeviceProblem = 'wrongCode' | 'tooMany' | 'expired';

const STATUS: Readonly<Record<DeviceProblem, number>> = { wrongCode: 400, tooMany: 429, expired: 403 };

/** Asks for the code that the device shows. */
export function sendCodePage(
  reply: FastifyReply,
  { speech, person, problem }: { speech: Speech; person: Person; problem?: DeviceProblem },
): FastifyReply {
  const { texts } = speech;
  const { device, problem: problems } = texts.oauth;
  const words = { ...device, tooMany: problems.tooMany, expired: texts.page.expired };
  const said = problem && words[problem];
  const field = { name: 'user_code', label: device.code, hint: device.codeHint, autocomplete: 'off' };
  const body = html`
${problemBox(texts, said)}
<form method="post" action="${paths.device}">
${hiddenField('form_token', person.formToken)}
${inputField({ ...field, isFirst: true }, said)}
<button>${texts.page.continue}</button>
</form>
`;
  const status = problem === undefined ? 200 : STATUS[problem];
  return sendPage(reply, { title: device.title, body, speech, address: paths.device, status });
}

/** Shows who asks, and the code again, before anything is allowed: whoever sends links knows the code, too. */
export function sendDevicePage(
  reply: FastifyReply,
  { speech, person, waiting }: { speech: Speech; person: Person; waiting: WaitingDevice },
): FastifyReply {
  const { texts } = speech;
  const { device, consent } = texts.oauth;
  const { client, address, userCode } = waiting;
  const say = sayer({ client, person, address });
  const body = html`
${say(device.asks)}
${say(consent.can)}
${say(device.compare)}
<p><strong><code>${userCode}</code></strong></p>
${say(device.from)}
${say(device.onlyIf)}
${linksOf(client, texts)}
<form method="post" action="${paths.device}">
${hiddenField('form_token', person.formToken)}
${hiddenField('user_code', userCode)}
<button name="decision" value="allow">${device.allow}</button>
<button class="second" name="decision" value="deny">${consent.deny}</button>
</form>
`;
  const here = `${paths.device}?${new URLSearchParams({ user_code: userCode })}`;
  return sendPage(reply, { title: device.confirmTitle, body, speech, address: here });
}

/** Says that it is done. */
export function sendDecidedPage(
  reply: FastifyReply,
  { speech, isAllowed }: { speech: Speech; isAllowed: boolean },
): FastifyReply {
  const { done, isDone, denied, isDenied } = speech.texts.oauth.device;
  const [title, said] = isAllowed ? [done, isDone] : [denied, isDenied];
  return sendPage(reply, { title, body: html`<p>${said}</p>`, speech });
}

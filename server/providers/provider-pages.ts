/** What people are told whom an identity provider did not sign in. */

import type { FastifyReply } from 'fastify';
import { type Html, html, sendPage } from '../html.ts';

const REFUSALS = {
  not_allowed: 'Your account at the identity provider may not be used here.',
  no_account: 'You have no account on this server. The administrator can link one to you.',
  deactivated: 'Your account on this server has been deactivated.',
  locked: 'Your account on this server has been locked.',
} as const;

/** Says why somebody may not come in. */
export function sendRefusal(reply: FastifyReply, why: keyof typeof REFUSALS): FastifyReply {
  const body = html`<p class="problem">${REFUSALS[why]}</p>`;
  return sendPage(reply, { title: 'Not signed in', body, status: 403 });
}

/** Says what went wrong, and leads back to try again. */
export function sendTrouble(
  reply: FastifyReply,
  { status, problem, retry }: { readonly status: number; readonly problem: string; readonly retry: string },
): FastifyReply {
  const again: Html = html`<p><a href="${retry}">Try again</a></p>`;
  const body = html`<p class="problem">${problem}</p>${again}`;
  return sendPage(reply, { title: 'Not signed in', body, status });
}

import type { FastifyInstance, FastifyReply } from 'fastify';
import { MatrixError } from '#federation/errors.ts';
import { userByPassword } from '../auth/password-sign-in.ts';
import { replacePassword } from '../auth/replace-password.ts';
import type { ServerContext } from '../context.ts';
import { fill } from '../languages/texts.ts';
import { checkbox, type Field, inputField } from '../pages/fields.ts';
import { html } from '../pages/html.ts';
import { refusalText } from '../pages/refusal-text.ts';
import { startSession } from '../sign-in/browser-sessions.ts';
import { formToken, sendAccountPage } from './account-page.ts';
import { newPasswordProblem } from './new-password.ts';
import { PASSWORD } from './paths.ts';
import { goBack, onGet, onPost, type Visit } from './visit.ts';

/** Another password, for who knows the present one. */
export function passwordPage(pages: FastifyInstance, ctx: ServerContext): void {
  onGet(pages, ctx, PASSWORD, { act: async (visit) => sendForm(visit) });
  onPost(pages, ctx, PASSWORD, { from: PASSWORD, act: (visit) => change(ctx, visit) });
}

async function change(ctx: ServerContext, visit: Visit): Promise<FastifyReply> {
  const { request, reply, person, form, speech } = visit;
  const { userId } = person;
  const field = (name: string): string => form.get(name) ?? '';
  const password = field('password');
  const problem =
    newPasswordProblem({ password, repeated: field('repeated') }, speech.texts, ctx.config) ??
    (await problemOfCurrent(ctx, visit, field('current')));
  if (problem !== undefined) return sendForm(visit, problem);
  await replacePassword(ctx, userId, { password, logoutDevices: form.get('others') === 'yes' });
  // The other browsers are signed out; this one goes on.
  const { factorTs, origin } = person;
  await startSession(ctx, request, reply, {
    ...{ userId, hasSecondFactor: factorTs !== undefined },
    ...(origin !== undefined && { origin }),
  });
  return goBack(visit, PASSWORD, 'password');
}

async function problemOfCurrent(
  ctx: ServerContext,
  { request, person, speech }: Visit,
  password: string,
): Promise<string | undefined> {
  try {
    await userByPassword(ctx, person.userId, { password, address: request.ip });
    return undefined;
  } catch (error) {
    if (!(error instanceof MatrixError)) throw error;
    return error.errcode === 'M_FORBIDDEN'
      ? speech.texts.passwordPage.wrong
      : refusalText(speech.texts, error);
  }
}

function sendForm(visit: Visit, problem?: string): FastifyReply {
  const { speech, person } = visit;
  const { passwordPage: words } = speech.texts;
  if (person.user.passwordHash === undefined) {
    const provider = person.origin?.provider ?? '-';
    const body = html`<p>${fill(words.none, { provider })}</p>`;
    return sendAccountPage(visit, { path: PASSWORD, title: words.title, body, problem });
  }
  const field = (name: string, label: string, autocomplete: string): Field => ({
    ...{ name, label, autocomplete, type: 'password', isFirst: name === 'current' },
  });
  const body = html`<form method="post" action="${PASSWORD}">
${formToken(visit)}
${inputField(field('current', words.current, 'current-password'), problem)}
${inputField(field('password', words.new, 'new-password'), problem)}
${inputField(field('repeated', words.again, 'new-password'), problem)}
${checkbox({ name: 'others', label: words.others })}
<button>${words.change}</button>
</form>`;
  return sendAccountPage(visit, { path: PASSWORD, title: words.title, body, problem });
}

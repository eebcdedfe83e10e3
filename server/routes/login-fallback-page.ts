/** https://spec.matrix.org/v1.19/client-server-api/#login-fallback */

import type { FastifyInstance } from 'fastify';
import type { ServerContext } from '../context.ts';
import { speechFor } from '../languages/choose.ts';
import { fill } from '../languages/texts.ts';
import { inputField } from '../pages/fields.ts';
import { html, sendPage } from '../pages/html.ts';

/**
 * Signs in with what the form says and "Non-credential parameters valid for the `/login` endpoint" of the query, and
 * hands the answer on. "The page will attempt to call the JavaScript function `window.matrixLogin.onLogin(response)`".
 */
const SCRIPT = `
const form = document.forms[0];
const problem = document.querySelector('.problem');
form.addEventListener('submit', async (event) => {
  event.preventDefault();
  problem.hidden = true;
  const query = new URLSearchParams(location.search);
  const body = {
    type: 'm.login.password',
    identifier: { type: 'm.id.user', user: form.elements.user.value.trim() },
    password: form.elements.password.value,
  };
  for (const name of ['device_id', 'initial_device_display_name']) {
    if (query.has(name)) body[name] = query.get(name);
  }
  if (query.get('refresh_token') === 'true') body.refresh_token = true;
  try {
    const answer = await fetch('/_matrix/client/v3/login', { method: 'POST', body: JSON.stringify(body) });
    const response = await answer.json();
    if (!answer.ok) throw new Error(response.error);
    form.hidden = true;
    if (window.matrixLogin && window.matrixLogin.onLogin) window.matrixLogin.onLogin(response);
    document.querySelector('.done').hidden = false;
  } catch (error) {
    problem.textContent = error.message;
    problem.hidden = false;
  }
});
`;

export function loginFallbackPageRoutes(app: FastifyInstance, ctx: ServerContext): void {
  app.get('/_matrix/static/client/login/', async (request, reply) => {
    const speech = speechFor(ctx, request);
    const { fields, loginFallback: words } = speech.texts;
    const user = { name: 'user', label: fields.userName, autocomplete: 'username', isFirst: true };
    const password = { name: 'password', label: fields.password, autocomplete: 'current-password' };
    const body = html`
<noscript><p>${words.needsScript}</p></noscript>
<p class="problem" role="alert" hidden></p>
<p class="done" role="status" hidden>${words.done}</p>
<form method="post">
${inputField(user)}
${inputField({ ...password, type: 'password' })}
<button>${words.signIn}</button>
</form>
`;
    const title = fill(words.title, { serverName: ctx.serverName });
    return sendPage(reply, { title, body, speech, script: SCRIPT });
  });
}

/** https://spec.matrix.org/v1.19/client-server-api/#login-fallback */

import type { FastifyInstance } from 'fastify';
import type { ServerContext } from '../context.ts';
import { html, sendPage } from '../html.ts';

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
  app.get('/_matrix/static/client/login/', async (_, reply) => {
    const body = html`
<noscript><p>This page needs JavaScript, to tell your Matrix client that you have signed in.</p></noscript>
<p class="problem" hidden></p>
<p class="done" hidden>You are signed in. Go on in your Matrix client: this page can be closed.</p>
<form method="post">
<label>User name <input name="user" required autofocus autocapitalize="none" autocomplete="username"></label>
<label>Password <input name="password" type="password" required autocomplete="current-password"></label>
<button>Sign in</button>
</form>
`;
    return sendPage(reply, { title: `Sign in to ${ctx.serverName}`, body, script: SCRIPT });
  });
}

/**
 * The script of pages with passkeys. A form with `data-options` has a button that is hidden without it: pressed, it asks
 * this server for the options, the browser for the passkey, and sends the form with what the passkey answers.
 */
export const PASSKEY_SCRIPT = `
const bytesOf = (text) =>
  Uint8Array.from(atob(text.replaceAll('-', '+').replaceAll('_', '/')), (letter) => letter.charCodeAt(0));
const textOf = (buffer) =>
  btoa(String.fromCharCode(...new Uint8Array(buffer))).replaceAll('+', '-').replaceAll('/', '_').replaceAll('=', '');
const withBytes = (list) => (list || []).map((one) => ({ ...one, id: bytesOf(one.id) }));
async function answerOf(options) {
  options.challenge = bytesOf(options.challenge);
  if (options.user) {
    options.user.id = bytesOf(options.user.id);
    options.excludeCredentials = withBytes(options.excludeCredentials);
    return await navigator.credentials.create({ publicKey: options });
  }
  options.allowCredentials = withBytes(options.allowCredentials);
  return await navigator.credentials.get({ publicKey: options });
}
function written({ id, response }) {
  const parts = {};
  for (const name of ['clientDataJSON', 'attestationObject', 'authenticatorData', 'signature', 'userHandle']) {
    if (response[name]) parts[name] = textOf(response[name]);
  }
  if (response.getTransports) parts.transports = response.getTransports();
  return JSON.stringify({ id, type: 'public-key', response: parts });
}
for (const form of document.querySelectorAll('form[data-options]')) {
  const button = form.querySelector('button[type=button]');
  const problem = form.querySelector('.problem');
  if (!window.PublicKeyCredential || !button) continue;
  button.hidden = false;
  for (const shown of form.querySelectorAll('[data-with-script]')) shown.hidden = false;
  button.addEventListener('click', async () => {
    problem.hidden = true;
    button.disabled = true;
    try {
      const token = new URLSearchParams({ form_token: form.elements.form_token.value });
      const answer = await fetch(form.dataset.options, { method: 'POST', body: token });
      if (!answer.ok) throw new Error('no options');
      form.elements.credential.value = written(await answerOf(await answer.json()));
      form.submit();
    } catch {
      problem.hidden = false;
      button.disabled = false;
      problem.focus();
    }
  });
}
`;

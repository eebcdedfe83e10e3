/** What somebody sees who sets up a second factor. */

import type { Texts } from '../languages/texts.ts';
import { hiddenField, inputField } from '../pages/fields.ts';
import { type Html, html } from '../pages/html.ts';
import { qrCode } from './qr-code.ts';
import { appAddress } from './totp.ts';

/** The secret for an app with codes, as a picture and in letters, and the field for its first code. */
export function appForm(
  { factors, factor }: Texts,
  form: {
    readonly action: string;
    readonly formToken: string;
    readonly secret: string;
    readonly serverName: string;
    readonly userId: string;
    readonly problem?: string | undefined;
  },
): Html {
  const { secret, serverName, userId, problem } = form;
  const address = appAddress(secret, { issuer: serverName, account: userId });
  const groups = secret.match(/.{1,4}/g) ?? [];
  const code = {
    name: 'code',
    label: factor.code,
    inputmode: 'numeric',
    autocomplete: 'one-time-code',
  } as const;
  return html`<p>${factors.appHow}</p>
${qrCode(address, factors.qr)}
<dl><dt>${factors.key}</dt><dd><code>${groups.join(' ')}</code></dd></dl>
<form method="post" action="${form.action}">
${hiddenField('form_token', form.formToken)}
${inputField(code, problem)}
<button>${factors.verify}</button>
</form>`;
}

/** The field for the name of a passkey that is made. */
export function passkeyNameField({ factors }: Texts): Html {
  return inputField({
    ...{ name: 'passkey_name', label: factors.passkeyName, autocomplete: 'off', isOptional: true },
  });
}

/** Recovery codes, which are shown once. */
export function codesShown({ factors }: Texts, codes: readonly string[]): Html {
  return html`<p>${factors.codesHow}</p>
<ul>
${codes.map((code) => html`<li><code>${code}</code></li>`)}
</ul>`;
}

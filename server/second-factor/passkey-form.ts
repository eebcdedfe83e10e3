import type { Texts } from '../languages/texts.ts';
import { hiddenField } from '../pages/fields.ts';
import { type Html, html } from '../pages/html.ts';

/** A form whose button asks the browser for a passkey; `PASSKEY_SCRIPT` shows it. */
export function passkeyForm(
  texts: Texts,
  form: {
    readonly action: string;
    /** Where the script asks for the options. */
    readonly options: string;
    readonly label: string;
    readonly formToken: string;
    readonly fields?: Html;
  },
): Html {
  const { factor } = texts;
  return html`<form method="post" action="${form.action}" data-options="${form.options}">
${hiddenField('form_token', form.formToken)}
${hiddenField('credential', '')}
<div data-with-script hidden>${form.fields ?? html``}</div>
<p class="problem" role="alert" tabindex="-1" hidden>${factor.passkeyFailed}</p>
<noscript><p>${factor.needsScript}</p></noscript>
<button type="button" class="second" hidden>${form.label}</button>
</form>`;
}

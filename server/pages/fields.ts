/** The parts of forms that all pages share: fields with their labels and hints, and what is wrong with them. */

import type { Texts } from '../languages/texts.ts';
import { type Html, html } from './html.ts';

export interface Field {
  readonly name: string;
  readonly label: string;
  readonly hint?: string;
  readonly type?: 'text' | 'password' | 'email';
  readonly value?: string;
  /** https://html.spec.whatwg.org/multipage/form-control-infrastructure.html#autofill */
  readonly autocomplete: string;
  readonly inputmode?: 'numeric';
  /** True where the person begins to write. */
  readonly isFirst?: boolean;
  readonly isOptional?: boolean;
}

const PROBLEM_ID = 'problem';

/** A field; `problem` is what is wrong with the form, told by `problemBox`. */
export function inputField(field: Field, problem?: string): Html {
  const { name, label, hint, type = 'text', value = '', autocomplete, inputmode } = field;
  const described = [
    ...(hint === undefined ? [] : [`${name}-hint`]),
    ...(problem === undefined ? [] : [PROBLEM_ID]),
  ];
  const attributes = [
    html` type="${type}" autocomplete="${autocomplete}"`,
    ...(type === 'password' ? [] : [html` value="${value}" autocapitalize="none" spellcheck="false"`]),
    ...(inputmode === undefined ? [] : [html` inputmode="${inputmode}"`]),
    ...(described.length === 0 ? [] : [html` aria-describedby="${described.join(' ')}"`]),
    ...(field.isOptional === true ? [] : [html` required`]),
    // Where something is wrong, the reader begins there.
    ...(field.isFirst === true && problem === undefined ? [html` autofocus`] : []),
  ];
  const said = hint === undefined ? html`` : html`<p class="hint" id="${name}-hint">${hint}</p>`;
  return html`<label for="${name}">${label}</label>
${said}<input id="${name}" name="${name}"${{ html: attributes.map((one) => one.html).join('') }}>`;
}

/** A box to tick. */
export function checkbox(
  { name, label, isRequired = false }: { name: string; label: string; isRequired?: boolean },
  isChecked = false,
): Html {
  const attributes = html`${isRequired ? html` required` : html``}${isChecked ? html` checked` : html``}`;
  return html`<label class="choice"><input type="checkbox" name="${name}" value="yes"${attributes}>
<span>${label}</span></label>`;
}

export function hiddenField(name: string, value: string): Html {
  return html`<input type="hidden" name="${name}" value="${value}">`;
}

/** What is wrong: read aloud at once, and where the keyboard is. */
export function problemBox(texts: Texts, problem: string | undefined): Html {
  if (problem === undefined) return html``;
  return html`<div class="problem" id="${PROBLEM_ID}" role="alert" tabindex="-1" autofocus>
<h2>${texts.page.problem}</h2>
<p>${problem}</p>
</div>`;
}

/** What has been done. */
export function doneBox(done: string | undefined): Html {
  return done === undefined ? html`` : html`<p class="done" role="status">${done}</p>`;
}

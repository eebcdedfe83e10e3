/** What is looked at in each page: the rules of accessibility, its width, and whether the keyboard leads everywhere. */

import assert from 'node:assert/strict';
import { readFileSync } from 'node:fs';
import { createRequire } from 'node:module';
import type { Page } from 'playwright-core';

const AXE = readFileSync(createRequire(import.meta.url).resolve('axe-core/axe.min.js'), 'utf8');
const RULES = ['wcag2a', 'wcag2aa', 'wcag21a', 'wcag21aa', 'wcag22aa', 'best-practice'];
/** WCAG 2.2, 1.4.10: no scrolling in two dimensions at this width. */
export const NARROW = { width: 320, height: 640 };
export const WIDE = { width: 1280, height: 800 };

interface Violation {
  readonly id: string;
  readonly nodes: readonly { readonly html: string; readonly failureSummary: string }[];
}

/** What axe-core has to say against the page as it is shown. */
export async function violationsOf(page: Page): Promise<string[]> {
  await page.evaluate(`${AXE}; undefined`);
  const options = { runOnly: { type: 'tag', values: RULES }, resultTypes: ['violations'] };
  const run = `axe.run(document, ${JSON.stringify(options)})`;
  const { violations } = (await page.evaluate(run)) as { violations: Violation[] };
  return violations.flatMap(({ id, nodes }) =>
    nodes.map(({ html, failureSummary }) => `${id}: ${html}: ${failureSummary}`),
  );
}

/** How many pixels of the page are beside the window. */
export async function overflowOf(page: Page): Promise<number> {
  return (await page.evaluate(
    'document.documentElement.scrollWidth - document.documentElement.clientWidth',
  )) as number;
}

const REACHABLE = `[...document.querySelectorAll('a[href], button, input:not([type=hidden]), select, textarea, summary')]
  .filter((one) => !one.disabled && one.checkVisibility() && one.getClientRects().length > 0)
  .filter((one) => one.type !== 'radio' || one.checked || !document.querySelector('input[name="' + one.name + '"]:checked'))`;
const FOCUSED = `(() => {
  const one = document.activeElement;
  const { outlineStyle, outlineWidth } = getComputedStyle(one);
  const isSeen = outlineStyle !== 'none' && parseFloat(outlineWidth) >= 2;
  return { at: ${REACHABLE}.indexOf(one), isSeen, html: one.outerHTML.slice(0, 120) };
})()`;

/** Goes through the page by Tab: each control is reached, in the order in which it is read, and is seen to be. */
export async function walkByKeyboard(page: Page): Promise<void> {
  const count = (await page.evaluate(`${REACHABLE}.length`)) as number;
  // From the top, wherever the page has put the focus.
  await page.evaluate(`(() => {
    const top = document.createElement('span');
    top.tabIndex = -1;
    document.body.prepend(top);
    top.focus();
    top.remove();
  })()`);
  for (let at = 0; at < count; at++) {
    // One after the other, as a person does.
    await page.keyboard.press('Tab');
    const focused = (await page.evaluate(FOCUSED)) as { at: number; isSeen: boolean; html: string };
    // What tells of a problem is a place for the focus, too, but Tab does not lead there.
    assert.equal(focused.at, at, `${page.url()}: Tab number ${at + 1} leads to ${focused.html}`);
    assert.ok(focused.isSeen, `${page.url()}: the focus is not seen: ${focused.html}`);
  }
}

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

/**
 * The same for a page without JavaScript, where axe-core cannot run, since it waits by timers: `copy` is a page of another
 * context, with JavaScript, which is given the document as the first one shows it, without its scripts.
 */
export async function violationsOfCopy(page: Page, copy: Page): Promise<string[]> {
  const shown = (await page.content())
    .replaceAll(/<script\b[\s\S]*?<\/script>/g, '')
    // Else the parser would take for text what is shown here.
    .replaceAll(/<(\/?)noscript>/g, '<$1div>');
  const address = page.url();
  await copy.route('**/*', (route) =>
    route.fulfill({ contentType: 'text/html; charset=utf-8', body: shown }),
  );
  try {
    await copy.setViewportSize(page.viewportSize() ?? WIDE);
    await copy.goto(address);
    return await violationsOf(copy);
  } finally {
    await copy.unroute('**/*');
  }
}

/** The lights and widths in which a page is looked at that comes in the course of something. */
const VIEWS = [
  { colorScheme: 'light', size: WIDE },
  { colorScheme: 'dark', size: NARROW },
] as const;

/**
 * What is wrong with a page as it is shown now: where it is wider than the window, what axe-core says (in `copy`, where
 * the page has no JavaScript), and where the focus is not with what has gone wrong. Then goes through it by the keyboard.
 */
export async function faultsOf(page: Page, name: string, copy?: Page): Promise<string[]> {
  const found: string[] = [];
  await page.waitForLoadState();
  const hasProblem = (await page.locator('#problem').count()) > 0;
  if (hasProblem) await page.locator('#problem:focus').waitFor();
  for (const { colorScheme, size } of VIEWS) {
    const where = `${name}, ${colorScheme}, ${size.width} px`;
    await page.emulateMedia({ colorScheme });
    await copy?.emulateMedia({ colorScheme });
    await page.setViewportSize(size);
    const beside = await overflowOf(page);
    if (beside > 0) found.push(`${where}: ${beside} px are beside the window`);
    const violations = await (copy === undefined ? violationsOf(page) : violationsOfCopy(page, copy));
    found.push(...violations.map((text) => `${where}: ${text}`));
  }
  await walkByKeyboard(page);
  return found;
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
  // A page puts the focus where the person begins only after it has loaded: not amid this.
  if ((await page.locator('[autofocus]:visible').count()) > 0) await page.locator(':focus').first().waitFor();
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

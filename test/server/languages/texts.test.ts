import assert from 'node:assert/strict';
import { test } from 'node:test';
import { languageNames, languages, speechFor, speechIn } from '#server/languages/choose.ts';
import { fill } from '#server/languages/texts.ts';

/** Each text by its path, such as `page.back`. */
function textsOf(tree: object, path = ''): Map<string, string> {
  const all = new Map<string, string>();
  for (const [key, value] of Object.entries(tree)) {
    const here = path === '' ? key : `${path}.${key}`;
    if (typeof value === 'string') all.set(here, value);
    else for (const [inner, text] of textsOf(value, here)) all.set(inner, text);
  }
  return all;
}

function wordsOf(text: string): string[] {
  return [...text.matchAll(/\{(\w+)\}/g)].map(([, word = '']) => word).sort();
}

test('every language has every text, with the same words to fill in', () => {
  const english = textsOf(speechIn('en').texts);
  assert.ok(english.size > 100);
  for (const language of languages) {
    const texts = textsOf(speechIn(language).texts);
    assert.deepEqual([...texts.keys()].sort(), [...english.keys()].sort(), language);
    for (const [path, text] of texts) {
      assert.notEqual(text.trim(), '', `${language} ${path}`);
      assert.deepEqual(wordsOf(text), wordsOf(english.get(path) ?? ''), `${language} ${path}`);
    }
    assert.notEqual(languageNames[language], '');
  }
});

test('sentences are translated', () => {
  const english = textsOf(speechIn('en').texts);
  for (const language of languages.filter((one) => one !== 'en')) {
    const texts = textsOf(speechIn(language).texts);
    const same = [...texts].filter(
      ([path, text]) => text === english.get(path) && text.split(' ').length > 2,
    );
    assert.deepEqual(same, [], language);
  }
});

test('values take the place of words, once', () => {
  assert.equal(fill('{a} and {b}', { a: '{b}', b: 2 }), '{b} and 2');
  assert.equal(fill('{constructor} {a}', { a: 1 }), '{constructor} 1');
});

const asked = (query: unknown, headers: Record<string, string> = {}, stored?: 'en' | 'sv' | 'de' | 'fr') =>
  speechFor({ config: { defaultLanguage: 'en' } }, { query, headers }, stored).language;

test('the language is what the address asks for, then what was chosen, then what the browser prefers', () => {
  const browser = { 'accept-language': 'fr-CA, de;q=0.9' };
  assert.equal(asked({}), 'en');
  assert.equal(asked({}, browser), 'fr');
  assert.equal(asked({}, { ...browser, cookie: 'a=b; kurir_language=de' }), 'de');
  assert.equal(asked({}, { ...browser, cookie: 'kurir_language=de' }, 'sv'), 'sv');
  assert.equal(asked({ ui_locales: 'nl fr-FR sv' }, browser, 'sv'), 'fr');
  assert.equal(asked({ lang: 'DE', ui_locales: 'fr' }, browser, 'sv'), 'de');
});

test('what names no language of ours is passed over', () => {
  assert.equal(asked({ lang: 'xx', ui_locales: ['sv'] }, { 'accept-language': 'nl, *;q=0.5' }), 'en');
  assert.equal(asked({ lang: ['sv'] }, { cookie: 'kurir_language=; x' }), 'en');
  assert.equal(asked(undefined, { 'accept-language': 'sv;q=0, de;q=0.2, fr;q=0.8' }), 'fr');
  assert.equal(asked({ lang: '../sv' }, { 'accept-language': ','.repeat(10_000) }), 'en');
  assert.equal(asked({ __proto__: { lang: 'sv' } }), 'en');
});

import assert from 'node:assert/strict';
import { test } from 'node:test';
import { phrasesOf, wordsOf, writtenForms } from '#keys/words.ts';

test('letters of an alphabet stay apart, accents that people leave out do not count', () => {
  assert.deepEqual(wordsOf('Får får FÅR far'), ['får', 'får', 'får', 'far']);
  assert.deepEqual(wordsOf('Müller Öl schön schon'), ['müller', 'öl', 'schön', 'schon']);
  assert.deepEqual(wordsOf('École RÉUNION réunion reunion Noël garçon'), [
    ...['ecole', 'reunion', 'reunion', 'reunion'],
    ...['noel', 'garcon'],
  ]);
  assert.deepEqual(wordsOf('Straße STRASSE mañana smørrebrød Ærø'), [
    ...['strasse', 'strasse', 'mañana', 'smørrebrød', 'ærø'],
  ]);
  assert.deepEqual(wordsOf('Σωκράτης'), wordsOf('ΣΩΚΡΑΤΗΣ'));
});

test('a letter and its mark are the same as the one letter of both', () => {
  assert.deepEqual(wordsOf('a\u030Angstro\u0308m'), ['ångström']);
  assert.deepEqual(wordsOf('\uFB01le ＡＢＣ'), ['file', 'abc']);
});

test('what is not seen does not divide a word, and what is no letter, digit or mark does', () => {
  assert.deepEqual(wordsOf('Ver\u00ADwal\u200Btung'), ['verwaltung']);
  assert.deepEqual(wordsOf('https://example.org/a-b?c=1 \u{1F600} x_y'), [
    ...['https', 'example', 'org', 'a', 'b', 'c', '1', 'x', 'y'],
  ]);
  assert.deepEqual(wordsOf('किताब'), ['किताब']);
  assert.deepEqual(wordsOf(''), []);
  assert.deepEqual(wordsOf('\0\uD800'), []);
});

test('scripts without spaces are read letter by letter', () => {
  assert.deepEqual(wordsOf('日本の本'), ['日', '本', 'の', '本']);
  assert.deepEqual(phrasesOf('日本'), [['日', '本']]);
});

test('words that are too long for words are left out', () => {
  assert.deepEqual(wordsOf(`a ${'x'.repeat(65)} b`), ['a', 'b']);
});

test('quotes make a phrase, and so does what is written without a space; no other sign means anything', () => {
  assert.deepEqual(phrasesOf('one "two three" a.b'), [['one'], ['two', 'three'], ['a', 'b']]);
  assert.deepEqual(phrasesOf('" OR 1=1 NEAR(x) -y z* "'), [['or', '1', '1', 'near', 'x', 'y', 'z']]);
  assert.deepEqual(phrasesOf('unbalanced "quote'), [['unbalanced'], ['quote']]);
  assert.deepEqual(phrasesOf('* - "" % _'), []);
});

test('a word that was found is highlighted as it is written', () => {
  assert.deepEqual(writtenForms('La Réunion, reunion!', new Set(['reunion'])), ['réunion', 'reunion']);
});

/**
 * Words of a text, in the form in which they are looked for. The server does not know in which language people
 * write, so there are no stems and no synonyms: what counts as the same letter is all that is decided here.
 *
 * Letters of an alphabet stay apart: å ä ö are no a and o in Swedish, ä ö ü no a, o, u in German, ñ no n. Accents that
 * only mark how a letter is spoken, and that people leave out in haste or on capitals, do not count: é è ê ç in French,
 * á in Spanish, ά in Greek, ë ï in Dutch. ß is ss, as in Switzerland.
 */

/** Grave, acute, circumflex, cedilla; the diaeresis over e, i and y. */
const SILENT = /[\u0300-\u0302\u0327]|(?<=[eiy])\u0308/gu;
/** What stands in a word and is not seen: the soft hyphen, joiners of no width. */
const INVISIBLE = /[\u00AD\u200B-\u200D\u2060\uFEFF]/gu;
const WORD = /[\p{L}\p{N}\p{M}\p{Co}]+/gu;
/** Scripts that put nothing between words: each letter is a word, and several of them are a phrase. */
const UNSPACED = /[\p{Script=Han}\p{Script=Hiragana}\p{Script=Katakana}]/gu;
const ASCII = /^[\0-\x7F]*$/;
const PIECE = /"([^"]*)"|[^\s"]+/gu;
/** Longer ones are keys, checksums and the like. */
const LONGEST = 64;

/** The words of a text, in their order. */
export function wordsOf(text: string): readonly string[] {
  const words: readonly string[] = folded(text).match(WORD) ?? [];
  return words.filter((word) => word.length <= LONGEST);
}

/**
 * What a person looks for: words, and phrases of which the words stand one after the other: those between double
 * quotes, and what is written without a space, such as an address. No sign has any other meaning.
 */
export function phrasesOf(text: string): readonly (readonly string[])[] {
  return [...text.matchAll(PIECE)]
    .map(([piece, quoted]) => wordsOf(quoted ?? piece))
    .filter((words) => words.length > 0);
}

function folded(text: string): string {
  // Most names: there only capitals differ.
  if (ASCII.test(text)) return text.toLowerCase();
  return text
    .normalize('NFKD')
    .toLowerCase()
    .replaceAll(SILENT, '')
    .replaceAll(INVISIBLE, '')
    .replaceAll('ß', 'ss')
    .replaceAll('ς', 'σ')
    .normalize('NFC')
    .replaceAll(UNSPACED, ' $& ');
}

/** Those of a text's words that are among some, as the text writes them, in lower case: for whoever highlights them. */
export function writtenForms(text: string, words: ReadonlySet<string>): string[] {
  const written: readonly string[] = text.normalize('NFC').match(WORD) ?? [];
  return written
    .filter((word) => word.length <= LONGEST && wordsOf(word).some((folded) => words.has(folded)))
    .map((word) => word.toLowerCase());
}

/**
 * What a page says of itself in its head. Only tokens are read, no tree is made and none is walked: the time is that of
 * reading the text once, however a page is nested.
 */

import { setImmediate as nextTurn } from 'node:timers/promises';
import type { Tokenizer } from 'htmlparser2';

export interface PageHead {
  readonly title: string;
  /** By `property` or `name`, in lower case: the first of each. */
  readonly metas: ReadonlyMap<string, string>;
  readonly links: readonly PageLink[];
}

export interface PageLink {
  /** In lower case. */
  readonly rels: readonly string[];
  readonly type: string;
  readonly href: string;
}

type Callbacks = ConstructorParameters<typeof Tokenizer>[1];

const SLICE = 8 * 1024;
const LONGEST_VALUE = 2_048;
const MOST_METAS = 200;
const MOST_LINKS = 100;
const READ: ReadonlySet<string> = new Set(['meta', 'link', 'title']);

/** Reads the head of a page, a little at a time. */
export async function headOf(text: string): Promise<PageHead> {
  // Loaded at first use: most servers make no previews.
  const htmlparser2 = await import('htmlparser2');
  const reader = new HeadReader(text);
  const tokenizer = new htmlparser2.Tokenizer({ decodeEntities: true }, reader);
  for (let at = 0; at < text.length && !reader.isDone; at += SLICE) {
    tokenizer.write(text.slice(at, at + SLICE));
    // So that nobody waits for a long page.
    await nextTurn();
  }
  return reader;
}

class HeadReader implements Callbacks, PageHead {
  title = '';
  readonly metas = new Map<string, string>();
  readonly links: PageLink[] = [];
  isDone = false;
  readonly #text: string;
  #tag = '';
  #attributes = new Map<string, string>();
  #name = '';
  #value = '';
  #isInTitle = false;

  constructor(text: string) {
    this.#text = text;
  }

  onopentagname(start: number, end: number): void {
    this.#tag = this.#nameAt(start, end);
    this.#attributes = new Map();
    if (this.#tag === 'body') this.isDone = true;
  }

  onattribname(start: number, end: number): void {
    this.#name = this.#nameAt(start, end);
    this.#value = '';
  }

  onattribdata(start: number, end: number): void {
    if (READ.has(this.#tag)) this.#value = this.#longer(this.#value, start, end);
  }

  onattribentity(codePoint: number): void {
    if (this.#value.length < LONGEST_VALUE) this.#value += String.fromCodePoint(codePoint);
  }

  onattribend(): void {
    const isFirst = !this.#attributes.has(this.#name);
    if (READ.has(this.#tag) && isFirst && this.#attributes.size < 20)
      this.#attributes.set(this.#name, this.#value);
  }

  onopentagend(): void {
    if (this.isDone) return;
    if (this.#tag === 'meta') this.#addMeta();
    else if (this.#tag === 'link') this.#addLink();
    // Pictures within a page have titles of their own.
    else if (this.#tag === 'title' && this.title === '') this.#isInTitle = true;
  }

  onselfclosingtag(): void {
    this.onopentagend();
  }

  ontext(start: number, end: number): void {
    if (this.#isInTitle) this.title = this.#longer(this.title, start, end);
  }

  ontextentity(codePoint: number): void {
    if (this.#isInTitle && this.title.length < LONGEST_VALUE) this.title += String.fromCodePoint(codePoint);
  }

  onclosetag(start: number, end: number): void {
    const name = this.#nameAt(start, end);
    if (name === 'title') this.#isInTitle = false;
    else if (name === 'head') this.isDone = true;
  }

  oncdata(): void {}
  oncomment(): void {}
  ondeclaration(): void {}
  onend(): void {}
  onprocessinginstruction(): void {}

  #addMeta(): void {
    const name = (this.#attributes.get('property') ?? this.#attributes.get('name') ?? '').toLowerCase();
    const content = this.#attributes.get('content') ?? '';
    if (name === '' || content === '' || this.metas.has(name) || this.metas.size >= MOST_METAS) return;
    this.metas.set(name, content);
  }

  #addLink(): void {
    const href = this.#attributes.get('href') ?? '';
    if (href === '' || this.links.length >= MOST_LINKS) return;
    const rels = (this.#attributes.get('rel') ?? '').toLowerCase().split(/\s+/);
    this.links.push({ rels, type: (this.#attributes.get('type') ?? '').toLowerCase(), href });
  }

  #nameAt(start: number, end: number): string {
    return this.#text.slice(start, Math.min(end, start + 50)).toLowerCase();
  }

  #longer(value: string, start: number, end: number): string {
    const room = LONGEST_VALUE - value.length;
    return room <= 0 ? value : value + this.#text.slice(start, Math.min(end, start + room));
  }
}

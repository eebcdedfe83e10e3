import assert from 'node:assert/strict';
import { access, readdir, readFile } from 'node:fs/promises';
import { dirname, join, normalize } from 'node:path';
import { test } from 'node:test';
import { fileURLToPath } from 'node:url';

const root = fileURLToPath(new URL('../', import.meta.url));
const LINK = /\]\(([^)\s]+)\)/g;
const HEADING = /^#+ (.+)$/gm;
const CODE = /```[\s\S]*?```/g;

/** The pages of documentation, by their paths from the root. */
async function pages(): Promise<Map<string, string>> {
  const docs = (await readdir(join(root, 'docs'))).filter((name) => name.endsWith('.md'));
  const paths = ['README.md', ...docs.map((name) => `docs/${name}`)];
  const texts = paths.map(async (path) => [path, await readFile(join(root, path), 'utf8')] as const);
  return new Map(await Promise.all(texts));
}

/** The anchors of a page's headings, as they are made for reading it on the web. */
function anchorsOf(page: string): string[] {
  return [...page.replaceAll(CODE, '').matchAll(HEADING)].map(([, heading = '']) =>
    heading
      .toLowerCase()
      .replaceAll(/[^\p{L}\p{N} _-]/gu, '')
      .replaceAll(' ', '-'),
  );
}

test('every link within the documentation leads to a file, and to a heading of it', async () => {
  const texts = await pages();
  const known = new Set(await readdir(root, { recursive: false }));
  const broken: string[] = [];
  let links = 0;
  for (const [path, text] of texts) {
    for (const [, target = ''] of text.replaceAll(CODE, '').matchAll(LINK)) {
      if (/^https?:/.test(target)) continue;
      links += 1;
      const [file = '', anchor] = target.split('#');
      const to = file === '' ? path : normalize(join(dirname(path), file));
      const page = texts.get(to);
      const exists =
        page !== undefined ||
        known.has(to) ||
        (await readFile(join(root, to)).then(
          () => true,
          () => false,
        ));
      const isThere =
        exists && (anchor === undefined || (page !== undefined && anchorsOf(page).includes(anchor)));
      if (!isThere) broken.push(`${path}: ${target}`);
    }
  }
  assert.ok(links > 20, `${links} links`);
  assert.deepEqual(broken, []);
});

test('every file of the product that the documentation names is there', async () => {
  const missing: string[] = [];
  let named = 0;
  for (const [path, text] of await pages()) {
    for (const [, file = ''] of text.matchAll(
      /`((?:keys|storage|rooms|federation|server|test|bench)\/[\w./-]+\.ts)`/g,
    )) {
      named += 1;
      const isThere = await access(join(root, file)).then(
        () => true,
        () => false,
      );
      if (!isThere) missing.push(`${path}: ${file}`);
    }
  }
  assert.ok(named > 20, `${named} files`);
  assert.deepEqual(missing, []);
});

test('docs/develop.md says of each folder of rooms, federation and server what it holds, and of no other', async () => {
  const text = await readFile(join(root, 'docs/develop.md'), 'utf8');
  for (const layer of ['rooms', 'federation', 'server']) {
    const [, table = ''] = text.split(`| in \`${layer}/\` | |\n`);
    const [rows = ''] = table.split('\n\n');
    const told = [...rows.matchAll(/^\| (.+?) \|/gm)].flatMap(([, names = '']) =>
      [...names.matchAll(/`([\w-]+)\/`/g)].map(([, name = '']) => name),
    );
    const entries = await readdir(join(root, layer), { withFileTypes: true });
    const folders = entries.filter((entry) => entry.isDirectory()).map(({ name }) => name);
    assert.deepEqual(told.toSorted(), folders.toSorted(), layer);
  }
});

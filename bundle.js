/**
 * `node bundle.js FOLDER`: makes the server of a few large files, as the image starts it. To find, read and link a
 * thousand small ones is half of a start, and 30 MB.
 *
 * Where a file looks for another beside itself (`import.meta.url`), it finds it in the sources, which stay where they
 * are. Packages stay packages, except those that every start needs.
 */
import fs from 'node:fs/promises';
import path from 'node:path';
import { build } from 'esbuild';

const root = import.meta.dirname;
/** Others are loaded at first use, or are not JavaScript alone. */
const bundledPackages = /^(fastify|pino)$/;
const folder = path.resolve(process.argv[2] ?? 'bundle');

/** @type {import('esbuild').Plugin} */
const sources = {
  name: 'sources',
  setup({ onLoad, onResolve }) {
    onResolve({ filter: /^[^.#/]/ }, ({ path: name, importer }) => {
      const isOurs = !importer.includes('node_modules') && importer !== '';
      return isOurs && !bundledPackages.test(name) ? { path: name, external: true } : undefined;
    });
    onLoad({ filter: /\.ts$/ }, async ({ path: file }) => {
      const text = await fs.readFile(file, 'utf8');
      const place = path.relative(folder, file).replaceAll(path.sep, '/');
      const contents = text.replaceAll(
        'import.meta.url',
        `new URL(${JSON.stringify(place)}, import.meta.url).href`,
      );
      return { contents, loader: 'ts' };
    });
  },
};

await build({
  absWorkingDir: root,
  entryPoints: ['main', 'config', 'run'].map((name) => path.join('server', `${name}.ts`)),
  outdir: folder,
  bundle: true,
  splitting: true,
  platform: 'node',
  format: 'esm',
  target: 'node24',
  banner: {
    js: `import { createRequire } from 'node:module'; const require = createRequire(import.meta.url);`,
  },
  // A letter beyond ASCII in somebody's licence would double what the whole text takes in memory.
  legalComments: 'external',
  logLevel: 'warning',
  plugins: [sources],
});

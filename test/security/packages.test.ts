/** What comes with the packages that Kurir is made of. */

import assert from 'node:assert/strict';
import { readFileSync } from 'node:fs';
import { test } from 'node:test';

interface Manifest {
  readonly dependencies: Record<string, string>;
  readonly devDependencies: Record<string, string>;
  readonly allowScripts: Record<string, boolean>;
}

interface Locked {
  readonly version?: string;
  readonly integrity?: string;
  readonly resolved?: string;
  readonly link?: boolean;
  readonly hasInstallScript?: boolean;
  readonly dev?: boolean;
}

const read = (name: string) => readFileSync(new URL(`../../${name}`, import.meta.url), 'utf8');
const manifest: Manifest = JSON.parse(read('package.json'));
const packages: Record<string, Locked> = JSON.parse(read('package-lock.json')).packages;

test('row 180: each package has one exact version and the hash of its contents, from no address of ours', () => {
  const wanted = { ...manifest.dependencies, ...manifest.devDependencies };
  for (const [name, version] of Object.entries(wanted)) {
    assert.match(version, /^\d+\.\d+\.\d+(-[\w.]+)?$/, name);
    assert.equal(packages[`node_modules/${name}`]?.version, version, name);
  }
  const { '': _, ...locked } = packages;
  assert.ok(Object.keys(locked).length > 100);
  for (const [place, { integrity, resolved, link }] of Object.entries(locked)) {
    assert.match(integrity ?? '', /^sha512-[A-Za-z0-9+/]{86}==$/, place);
    assert.deepEqual([resolved, link], [undefined, undefined], place);
  }
});

test('row 180: a package of a server that runs a script when it is installed is allowed by name, or refused', () => {
  const nameOf = (place: string) => place.slice(place.lastIndexOf('node_modules/') + 'node_modules/'.length);
  const scripted = Object.entries(packages).filter(
    ([, { hasInstallScript, dev }]) => hasInstallScript === true && dev !== true,
  );
  assert.ok(scripted.length > 0);
  const unknown = scripted.map(([place]) => nameOf(place)).filter((name) => !(name in manifest.allowScripts));
  assert.deepEqual(unknown, []);
});

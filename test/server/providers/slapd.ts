/** OpenLDAP's slapd on loopback, with a directory of a few people. */

import { execFile, spawn } from 'node:child_process';
import { existsSync } from 'node:fs';
import { mkdir, writeFile } from 'node:fs/promises';
import { connect } from 'node:net';
import { join } from 'node:path';
import { promisify } from 'node:util';
import { Client } from 'ldapts';
import { type LdapOption, ldapKind } from '#server/providers/ldap-option.ts';
import { temporaryFolder } from '#test/harness/databases.ts';
import { freePort } from '#test/harness/free-port.ts';
import { until } from '#test/harness/until.ts';

const SLAPD = ['/usr/sbin/slapd', '/usr/lib/openldap/slapd', '/usr/libexec/slapd'].find((path) =>
  existsSync(path),
);
const SCHEMA = ['/etc/ldap/schema', '/etc/openldap/schema'].find((path) => existsSync(path));
const MODULES = ['/usr/lib/ldap', '/usr/lib/openldap', '/usr/lib64/openldap'].find((path) =>
  existsSync(path),
);
const BASE = 'dc=example,dc=org';
const ADMIN = `cn=admin,${BASE}`;
const PASSWORD = 'the password of the directory';

/** Why there is no slapd here, for the names of tests; undefined where there is. */
export const noSlapd: string | undefined =
  SLAPD === undefined || SCHEMA === undefined ? 'slapd is not installed' : undefined;

export class Slapd {
  readonly url: string;
  readonly #folder: AsyncDisposable;
  #stop: () => Promise<void>;
  readonly #start: () => Promise<() => Promise<void>>;

  /** `tls`: paths of PEM files, for StartTLS. */
  static async start(tls?: { readonly cert: string; readonly key: string }): Promise<Slapd> {
    if (SLAPD === undefined || SCHEMA === undefined) throw new Error('there is no slapd');
    const folder = await temporaryFolder();
    const data = join(folder.path, 'ldap');
    await mkdir(data);
    const config = join(folder.path, 'slapd.conf');
    const security =
      tls === undefined ? '' : `TLSCertificateFile ${tls.cert}\nTLSCertificateKeyFile ${tls.key}\n`;
    const modules = MODULES === undefined ? '' : `modulepath ${MODULES}\nmoduleload back_mdb\n`;
    const schemas = ['core', 'cosine', 'inetorgperson'].map((name) => `include ${SCHEMA}/${name}.schema`);
    await writeFile(
      config,
      `${schemas.join('\n')}\n${modules}${security}database mdb\nsuffix "${BASE}"\nrootdn "${ADMIN}"\nrootpw "${PASSWORD}"\ndirectory ${data}\naccess to attrs=userPassword by anonymous auth by * none\naccess to * by users read by * none\n`,
    );
    const port = await freePort();
    const url = `ldap://127.0.0.1:${port}`;
    const program = SLAPD;
    const run = async (): Promise<() => Promise<void>> => {
      const child = spawn(program, ['-f', config, '-h', url, '-d', '0'], { stdio: 'ignore' });
      const ended = new Promise<void>((resolve) => child.once('exit', () => resolve()));
      await until(() => answers(port), 'slapd');
      return async () => {
        child.kill();
        await ended;
      };
    };
    const slapd = new Slapd(url, { folder, run, stop: await run() });
    await slapd.#fill();
    return slapd;
  }

  private constructor(
    url: string,
    parts: { folder: AsyncDisposable; run: () => Promise<() => Promise<void>>; stop: () => Promise<void> },
  ) {
    this.url = url;
    this.#folder = parts.folder;
    this.#start = parts.run;
    this.#stop = parts.stop;
  }

  /** As an operator writes it into the configuration. */
  option(more: Record<string, unknown> = {}): LdapOption {
    const given = {
      ...{
        url: this.url,
        starttls: false,
        base: `ou=people,${BASE}`,
        bind_dn: ADMIN,
        bind_password: PASSWORD,
      },
      ...{ filter: '(&(objectClass=inetOrgPerson)(!(employeeType=left)))', group_base: `ou=groups,${BASE}` },
      ...more,
    };
    const option = ldapKind.parse(new Map(Object.entries(given).filter(([, value]) => value !== undefined)));
    if (option === undefined) throw new Error('no option');
    return option;
  }

  async down(): Promise<void> {
    await this.#stop();
  }

  async up(): Promise<void> {
    this.#stop = await this.#start();
  }

  async add(uid: string, more: Record<string, string> = {}): Promise<void> {
    const password = `password of ${uid}`;
    await this.#as((client) =>
      client.add(`uid=${uid},ou=people,${BASE}`, {
        objectClass: ['inetOrgPerson'],
        ...{ uid, cn: `${uid} the person`, sn: uid, mail: `${uid}@example.org`, userPassword: password },
        ...more,
      }),
    );
  }

  async remove(uid: string): Promise<void> {
    await this.#as((client) => client.del(`uid=${uid},ou=people,${BASE}`));
  }

  async rename(uid: string, to: string): Promise<void> {
    await this.#as((client) => client.modifyDN(`uid=${uid},ou=people,${BASE}`, `uid=${to}`));
  }

  /** Changes an attribute. */
  async set(uid: string, attribute: string, value: string): Promise<void> {
    const { Attribute, Change } = await import('ldapts');
    const change = new Change({
      operation: 'replace',
      modification: new Attribute({ type: attribute, values: [value] }),
    });
    await this.#as((client) => client.modify(`uid=${uid},ou=people,${BASE}`, change));
  }

  async addGroup(name: string, uids: readonly string[]): Promise<void> {
    const member = uids.map((uid) => `uid=${uid},ou=people,${BASE}`);
    await this.#as((client) =>
      client.add(`cn=${name},ou=groups,${BASE}`, { objectClass: ['groupOfNames'], cn: name, member }),
    );
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.#stop();
    await this.#folder[Symbol.asyncDispose]();
  }

  async #fill(): Promise<void> {
    await this.#as(async (client) => {
      await client.add(BASE, { objectClass: ['dcObject', 'organization'], dc: 'example', o: 'Example' });
      for (const ou of ['people', 'groups']) {
        await client.add(`ou=${ou},${BASE}`, { objectClass: ['organizationalUnit'], ou });
      }
    });
  }

  async #as(work: (client: Client) => Promise<void>): Promise<void> {
    const client = new Client({ url: this.url });
    try {
      await client.bind(ADMIN, PASSWORD);
      await work(client);
    } finally {
      await client.unbind();
    }
  }
}

/** A certificate for 127.0.0.1 in a folder. */
export async function selfSigned(folder: string): Promise<{ cert: string; key: string }> {
  const [cert, key] = [join(folder, 'ldap.crt'), join(folder, 'ldap.key')];
  await promisify(execFile)('openssl', [
    ...['req', '-x509', '-newkey', 'rsa:2048', '-nodes', '-days', '2', '-subj', '/CN=localhost'],
    ...['-addext', 'subjectAltName=IP:127.0.0.1,DNS:localhost', '-keyout', key, '-out', cert],
  ]);
  return { cert, key };
}

function answers(port: number): Promise<boolean> {
  return new Promise((resolve) => {
    const socket = connect(port, '127.0.0.1');
    socket.once('connect', () => {
      socket.destroy();
      resolve(true);
    });
    socket.once('error', () => resolve(false));
  });
}

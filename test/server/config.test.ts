import assert from 'node:assert/strict';
import { readFile, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { test } from 'node:test';
import { configPage } from '#server/cli/config-commands.ts';
import { partnerSettings } from '#server/config/partner-option.ts';
import { defaultConfig, loadConfig, shownOptions, warningsFor } from '#server/config.ts';
import type { Config } from '#server/config-options.ts';
import { temporaryFolder } from '#test/harness/databases.ts';

async function withFile<T>(text: string, body: (path: string) => Promise<T>): Promise<T> {
  await using folder = await temporaryFolder();
  const path = join(folder.path, 'kurir.yaml');
  await writeFile(path, text);
  return await body(path);
}

test('without configuration everything has the documented default', async () => {
  const config = await loadConfig([], {});
  assert.deepEqual(config, defaultConfig());
  assert.equal(config.serverName, 'localhost');
  assert.deepEqual(config.clientListen, { host: '127.0.0.1', port: 8008 });
  assert.deepEqual(config.federationListen, { host: '127.0.0.1', port: 8448 });
  assert.equal(config.dataDir, './data');
  assert.equal(config.registration, 'token');
  assert.equal(config.federationAllowPrivate, false);
  assert.equal(config.rateLimits, true);
});

test('every fixed name of the environment sets its option', async () => {
  const config = await loadConfig([], {
    KURIR_SERVER_NAME: 'localhost:18448',
    KURIR_DATA_DIR: '/srv/kurir',
    KURIR_CLIENT_LISTEN: '0.0.0.0:80',
    KURIR_FEDERATION_LISTEN: '[::1]:0',
    KURIR_TLS_CERT: 'a.crt',
    KURIR_TLS_KEY: 'a.key',
    KURIR_FEDERATION_CA: 'one.pem, two.pem',
    KURIR_FEDERATION_ALLOW_PRIVATE: 'true',
    KURIR_DEFAULT_ROOM_VERSION: '10',
    KURIR_TRUSTED_KEY_SERVERS: 'one.test, two.test:8448',
    KURIR_REGISTRATION: 'open',
    KURIR_REGISTRATION_SECRET: 'a secret of some length',
    KURIR_RATE_LIMITS: 'off',
    KURIR_LOG_LEVEL: 'warn',
    KURIR_PUBLIC_BASEURL: 'https://matrix.example.org/',
  });
  const expected: Config = {
    ...defaultConfig(),
    serverName: 'localhost:18448',
    dataDir: '/srv/kurir',
    clientListen: { host: '0.0.0.0', port: 80 },
    federationListen: { host: '::1', port: 0 },
    tlsCert: 'a.crt',
    tlsKey: 'a.key',
    federationCa: ['one.pem', 'two.pem'],
    federationAllowPrivate: true,
    defaultRoomVersion: '10',
    trustedKeyServers: ['one.test', 'two.test:8448'],
    registration: 'open',
    registrationSecret: 'a secret of some length',
    rateLimits: false,
    logLevel: 'warn',
    publicBaseurl: 'https://matrix.example.org',
  };
  assert.deepEqual(config, expected);
});

test('default_room_version may be written as a number, and is one that there is', async () => {
  await withFile('default_room_version: 11\n', async (path) => {
    assert.equal((await loadConfig(['--config', path], {})).defaultRoomVersion, '11');
  });
  await assert.rejects(loadConfig([], { KURIR_DEFAULT_ROOM_VERSION: '13' }), /use 1, 2, .* or 12/);
});

test('a size is a number of bytes, or of K, M, G and T, and is shown in the largest that it is whole in', async () => {
  const sizes: Readonly<Record<string, readonly [bytes: number, shown: string]>> = {
    '1': [1, '1'],
    '1500': [1_500, '1500'],
    '500K': [512_000, '500K'],
    '50m': [52_428_800, '50M'],
    '2048': [2_048, '2K'],
    '1GB': [1_073_741_824, '1G'],
    '2T': [2_199_023_255_552, '2T'],
  };
  for (const [text, [bytes, shown]] of Object.entries(sizes)) {
    const config = await loadConfig([], { KURIR_MAX_UPLOAD_SIZE: text });
    assert.equal(config.maxUploadSize, bytes);
    assert.equal(shownOptions(config).find(({ key }) => key === 'max_upload_size')?.value, shown);
  }
  for (const text of ['0', '-1', '1.5M', 'M', '50 MB', '5P', '999999999T']) {
    await assert.rejects(loadConfig([], { KURIR_MAX_UPLOAD_SIZE: text }), /KURIR_MAX_UPLOAD_SIZE is/);
  }
});

test('the file is given by --config or KURIR_CONFIG, and the environment wins over it', async () => {
  await withFile('server_name: a.example\nrate_limits: off\nfederation_ca: [x.pem]\n', async (path) => {
    for (const [argv, env] of [
      [['--config', path], {}],
      [[`--config=${path}`], {}],
      [[], { KURIR_CONFIG: path }],
    ] as const) {
      const config = await loadConfig(argv, env);
      assert.equal(config.serverName, 'a.example');
      assert.equal(config.rateLimits, false);
      assert.deepEqual(config.federationCa, ['x.pem']);
    }
    const config = await loadConfig(['--config', path], { KURIR_SERVER_NAME: 'b.example' });
    assert.equal(config.serverName, 'b.example');
  });
});

test('partners are names, or mappings with what is agreed, in the file; names in the environment', async () => {
  const key = 'Noi6WqcDj0QmPxCNQqgezwTlBKrfqehY1u2FyWP9uYw';
  const yaml = `federation_inbound: partners
partners:
  - a.test
  - { name: "*.B.test", direction: inbound, profile: rocketchat, ca: b.pem, note: chat }
  - name: c.test
    keys: { "ed25519:a": ${key} }
`;
  const plain = { direction: 'both', profile: undefined, keys: new Map(), ca: undefined, note: '' };
  await withFile(yaml, async (path) => {
    const config = await loadConfig(['--config', path], {});
    assert.deepEqual([config.federationInbound, config.federationOutbound], ['partners', 'everyone']);
    assert.deepEqual(config.partners, [
      { ...plain, name: 'a.test' },
      { ...plain, name: '*.b.test', direction: 'inbound', profile: 'rocketchat', ca: 'b.pem', note: 'chat' },
      { ...plain, name: 'c.test', keys: new Map([['ed25519:a', key]]) },
    ]);
    const shown = shownOptions(config).find((option) => option.key === 'partners')?.value;
    assert.equal(shown, 'a.test, *.b.test (inbound, rocketchat, pinned authority), c.test (pinned keys)');
    await assert.rejects(partnerSettings(config), /partners: b\.pem cannot be read \(ENOENT\)/);
  });
  const { partners } = await loadConfig([], { KURIR_PARTNERS: 'a.test, *.b.test' });
  assert.deepEqual(
    partners.map(({ name }) => name),
    ['a.test', '*.b.test'],
  );
});

const wrong: readonly (readonly [what: string, env: Record<string, string>, yaml: string, says: RegExp])[] = [
  ['an unknown key', {}, 'server_nam: a.example', /kurir\.yaml: unknown option "server_nam".*server_name/],
  ['an unknown variable', { KURIR_SERVERNAME: 'a' }, '', /KURIR_SERVERNAME: did you mean KURIR_SERVER_NAME/],
  [
    'a wrong choice',
    { KURIR_REGISTRATION: 'opne' },
    '',
    /KURIR_REGISTRATION is "opne": use closed, token or open/,
  ],
  [
    'a wrong choice in the file',
    {},
    'registration: maybe',
    /kurir\.yaml: registration is "maybe": use closed/,
  ],
  ['a wrong listener', { KURIR_CLIENT_LISTEN: '8008' }, '', /KURIR_CLIENT_LISTEN is "8008": use host:port/],
  [
    'a port out of range',
    {},
    'client_listen: localhost:70000',
    /client_listen is "localhost:70000": use host:port/,
  ],
  ['a wrong server name', { KURIR_SERVER_NAME: 'a b' }, '', /KURIR_SERVER_NAME is "a b": use a server name/],
  ['a wrong flag', {}, 'rate_limits: 7', /rate_limits is 7: use on or off/],
  [
    'a wrong address',
    { KURIR_PUBLIC_BASEURL: 'matrix.org' },
    '',
    /KURIR_PUBLIC_BASEURL .*use an address such as https/,
  ],
  ['half of a certificate', { KURIR_TLS_CERT: 'a.crt' }, '', /tls_cert is given without tls_key: give both/],
  [
    'a wrong network',
    { KURIR_TRUSTED_PROXIES: '10.0.0.0/8,proxy' },
    '',
    /KURIR_TRUSTED_PROXIES .*use addresses or networks/,
  ],
  ['a partner that is no name', {}, 'partners: [a b]', /partners is \["a b"\]: use a list of server names/],
  [
    'a wrong profile of a partner',
    {},
    'partners: [{ name: a.test, profile: rocket }]',
    /partners: profile of a\.test must be one of kurir, synapse, strict, rocketchat/,
  ],
  [
    'a wrong direction of a partner',
    {},
    'partners: [{ name: a.test, direction: out }]',
    /partners: direction of a\.test must be one of both, inbound, outbound/,
  ],
  [
    'an unknown member of a partner',
    {},
    'partners: [{ name: a.test, profil: strict }]',
    /partners: a\.test has the unknown member profil: use name, direction/,
  ],
  [
    'a pinned key that is none',
    {},
    'partners: [{ name: a.test, keys: { "ed25519:a": short } }]',
    /partners: keys of a\.test must map ids/,
  ],
  [
    'the same partner twice',
    {},
    'partners: [a.test, A.test]',
    /partners: a\.test is there twice: remove one/,
  ],
  ['no YAML', {}, 'a: [', /kurir\.yaml is not YAML/],
  ['no mapping', {}, '- a\n', /kurir\.yaml is not a list of "option: value" lines/],
  ['the same key twice', {}, 'data_dir: a\ndata_dir: b\n', /kurir\.yaml is not YAML/],
];

for (const [what, env, yaml, says] of wrong) {
  test(`${what} stops the start with one line that names the key and the fix`, async () => {
    await withFile(yaml, async (path) => {
      await assert.rejects(loadConfig(['--config', path], env), (error: Error) => {
        assert.match(error.message, says);
        assert.equal(error.message.includes('\n'), false);
        return error.name === 'ConfigError';
      });
    });
  });
}

test('a file that is not there, and an argument that is not known, stop the start', async () => {
  await assert.rejects(loadConfig(['--config', '/nowhere/kurir.yaml'], {}), /cannot be read \(ENOENT\)/);
  await assert.rejects(loadConfig(['--conf', 'x'], {}), /unknown argument --conf/);
});

test("variables of tests and of Kubernetes' services are not taken for ours", async () => {
  const env = {
    KURIR_TEST_X: '1',
    KURIR_SERVICE_HOST: '10.0.0.1',
    KURIR_PORT_8008_TCP: 'x',
    KURIR_CONFIG: '',
  };
  assert.deepEqual(await loadConfig([], env), defaultConfig());
});

test('a secret is shown neither in errors nor by config check', async () => {
  const secret = 'a very secret secret';
  const config = { ...defaultConfig(), registrationSecret: secret };
  assert.equal(JSON.stringify(shownOptions(config)).includes(secret), false);
  await withFile('registration_secret: [a very secret secret]\n', async (path) => {
    await assert.rejects(
      loadConfig(['--config', path], {}),
      (error: Error) => !error.message.includes(secret),
    );
  });
});

test('a server name with a port is allowed, with a warning that says why not in production', async () => {
  const config = await loadConfig([], { KURIR_SERVER_NAME: 'localhost:18448' });
  assert.match(warningsFor(config).join('\n'), /port.*production/);
  assert.deepEqual(warningsFor(defaultConfig()), []);
});

test('docs/configuration.md is what `npm run kurir -- config docs` prints', async () => {
  const page = await readFile(new URL('../../docs/configuration.md', import.meta.url), 'utf8');
  assert.equal(page, `${configPage()}\n`);
});

test('terms: each policy has one version and one text for each language, at an address of the web', async () => {
  const policy = 'tos 1 en https://example.org/tos Terms of Service';
  const config = await loadConfig([], { KURIR_TERMS: `${policy},tos 1 de https://example.org/agb AGB` });
  assert.deepEqual(
    config.terms.map(({ language, name }) => [language, name]),
    [
      ['en', 'Terms of Service'],
      ['de', 'AGB'],
    ],
  );
  for (const wrong of [
    'tos',
    'tos 1 en https://example.org/tos',
    'tos 1 en ftp://example.org/tos Terms',
    'tos 1 version https://example.org/tos Terms',
    't/os 1 en https://example.org/tos Terms',
    `${policy},tos 2 de https://example.org/tos Terms`,
    `${policy},${policy}`,
  ]) {
    await assert.rejects(loadConfig([], { KURIR_TERMS: wrong }), /KURIR_TERMS .* use a policy as/, wrong);
  }
});

test('options about letters and calls that need one another are not given alone', async () => {
  const mail = { KURIR_SMTP_SERVER: 'mail.example.org:587', KURIR_PUBLIC_BASEURL: 'https://example.org' };
  const from = { KURIR_SMTP_FROM: 'Matrix <matrix@example.org>' };
  const config = await loadConfig([], { ...mail, ...from });
  assert.deepEqual(config.smtpServer, { host: 'mail.example.org', port: 587 });
  const cases: readonly (readonly [env: Record<string, string>, says: RegExp])[] = [
    [mail, /smtp_server is given without smtp_from/],
    [{ ...from, KURIR_SMTP_SERVER: 'mail.example.org:587' }, /without public_baseurl/],
    [{ ...mail, KURIR_SMTP_FROM: 'Matrix' }, /KURIR_SMTP_FROM .* use an e-mail address/],
    [{ ...mail, ...from, KURIR_SMTP_USER: 'x' }, /smtp_user and smtp_password belong together/],
    [{ KURIR_REGISTRATION_EMAIL: 'required' }, /"required" without smtp_server/],
    [{ KURIR_TURN_URIS: 'turn:example.org' }, /turn_uris and turn_secret belong together/],
    [{ KURIR_TURN_URIS: 'https://example.org', KURIR_TURN_SECRET: 'x' }, /KURIR_TURN_URIS/],
    [{ KURIR_PASSWORD_MIN_LENGTH: '0' }, /use a number from 1 to 512/],
    [{ KURIR_TURN_LIFETIME: '1' }, /use a time such as/],
  ];
  for (const [env, says] of cases) await assert.rejects(loadConfig([], env), says);
  const secret = shownOptions(
    await loadConfig([], { KURIR_TURN_URIS: 'turn:a.test', KURIR_TURN_SECRET: 'x' }),
  );
  assert.equal(secret.find(({ key }) => key === 'turn_secret')?.value, '(set, not shown)');
});

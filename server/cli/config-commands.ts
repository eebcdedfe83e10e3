import { defaultConfig, type ShownOption, shownOptions, warningsFor } from '../config.ts';
import type { Config } from '../config-options.ts';
import { configuredCertificate, configuredRoots } from '../tls/certificate.ts';
import type { Outcome } from './operations.ts';

/** The options in force. Throws `ConfigError` where a file that they name is not what it should be. */
export async function checkConfig(config: Config): Promise<Outcome> {
  await configuredCertificate(config);
  await configuredRoots(config.federationCa);
  await configuredRoots(config.smtpCa, 'smtp_ca');
  const lines = shownOptions(config).map(({ key, value }) => `${key}: ${value === '' ? '(none)' : value}`);
  const warnings = warningsFor(config).map((warning) => `Note: ${warning}`);
  return { kind: 'done', lines: ['The configuration is sound.', '', ...lines, ...warnings] };
}

/** The reference page of all options, as Markdown. */
export function configPage(): string {
  return `# Configuration

Everything has a default: without any configuration Kurir runs as \`localhost\` on this machine.

Options stand in a YAML file, given by \`--config FILE\` or by the environment variable \`KURIR_CONFIG\`, or in the
environment, which wins over the file. Paths are relative to the folder in which the server is started. An
unknown option or a wrong value stops the start with one line that names it.
\`npm run kurir -- config check\` shows what is in force.

\`\`\`yaml
server_name: example.org
data_dir: /var/lib/kurir
federation_listen: 0.0.0.0:8448
tls_cert: /etc/letsencrypt/live/example.org/fullchain.pem
tls_key: /etc/letsencrypt/live/example.org/privkey.pem
public_baseurl: https://matrix.example.org
registration: closed
\`\`\`

${shownOptions(defaultConfig()).map(section).join('\n')}`.trimEnd();
}

function section({ key, env, expects, describes, value }: ShownOption): string {
  return `## \`${key}\`

Environment: \`${env}\`. Default: ${value === '' ? 'none' : `\`${value}\``}. Use ${expects}.

${describes}
`;
}

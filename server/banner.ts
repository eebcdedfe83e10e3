import type { FirstAccount } from './auth/first-account.ts';
import type { Config } from './config-options.ts';

/** What a person at the terminal reads when the server has started. */
export function bannerOf(
  config: Config,
  server: { readonly clientUrl: string; readonly federationUrl: string },
  firstAccount: FirstAccount,
): string {
  const base = config.publicBaseurl ?? server.clientUrl;
  return [
    '',
    `Kurir serves ${config.serverName}`,
    `  clients     ${server.clientUrl}`,
    `  federation  ${server.federationUrl}`,
    `  data        ${config.dataDir}`,
    '',
    ...accountLines(firstAccount, base),
    '',
    'To sign in, open a Matrix client such as Element (https://app.element.io, or Element Desktop), choose',
    `"Edit" beside the homeserver, and enter ${base}`,
    '',
    'Ctrl-C stops the server.',
    '',
  ].join('\n');
}

function accountLines(firstAccount: FirstAccount, base: string): string[] {
  const command = 'npm run kurir -- user add NAME';
  switch (firstAccount.kind) {
    case 'exists':
      return [`To make an account:  ${command}`];
    case 'by_operator':
      return [`There is no account yet. To make one:  ${command}`];
    case 'by_link':
      return [
        `There is no account yet. To make the first one, open this link (good once, for ${firstAccount.hours} hours):`,
        `  ${base}${firstAccount.path}`,
        `or:  ${command}`,
      ];
  }
}

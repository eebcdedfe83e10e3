/** The options about application services. Part of the table of `config-options.ts`. */

import { flagKind, listKind, type Option } from './config-types.ts';

export interface AppservicesConfig {
  /** Paths of YAML files. */
  readonly appServiceConfigFiles: readonly string[];
  readonly appServiceTokenInQuery: boolean;
  readonly appServiceKeyClaims: boolean;
  readonly appServiceKeyQueries: boolean;
}

export const appserviceOptions: {
  readonly [Name in keyof AppservicesConfig]: Option<AppservicesConfig[Name]>;
} = {
  appServiceConfigFiles: {
    key: 'app_service_config_files',
    kind: listKind('the path of a registration file, or several'),
    default: [],
    describes:
      'Registration files of application services, such as bridges; more are added by `npm run kurir -- appservice ' +
      'add`, without a restart. In the environment several paths are divided by commas. See [bridges](bridges.md).',
  },
  appServiceTokenInQuery: {
    key: 'app_service_token_in_query',
    kind: flagKind,
    default: false,
    describes:
      'Sends application services their `hs_token` as `access_token` in the address too, as before Matrix 1.4: for ' +
      'very old bridges only, since addresses end up in logs.',
  },
  appServiceKeyClaims: {
    key: 'msc3983_appservice_otk_claims',
    kind: flagKind,
    default: false,
    describes:
      'Asks application services for one-time keys of the users of their exclusive namespaces who have none left here: ' +
      'for bridges that do not upload them. By the proposal MSC3983, which may still change; the name is that of ' +
      'Synapse. See [bridges](bridges.md).',
  },
  appServiceKeyQueries: {
    key: 'msc3984_appservice_key_query',
    kind: flagKind,
    default: false,
    describes:
      'Asks application services what devices the users of their exclusive namespaces have: for bridges that do not ' +
      'upload them. By the proposal MSC3984, which may still change; the name is that of Synapse.',
  },
};

export function appserviceConfig(required: <T>(option: Option<T>) => T): AppservicesConfig {
  return {
    appServiceConfigFiles: required(appserviceOptions.appServiceConfigFiles),
    appServiceTokenInQuery: required(appserviceOptions.appServiceTokenInQuery),
    appServiceKeyClaims: required(appserviceOptions.appServiceKeyClaims),
    appServiceKeyQueries: required(appserviceOptions.appServiceKeyQueries),
  };
}

/** The options about previews of links. Part of the table of `config-options.ts`. */

import { flagKind, listKind, type Option } from './config-types.ts';

export interface PreviewConfig {
  readonly urlPreviews: boolean;
  /** Hosts, each with all that are below it; empty where all are meant. */
  readonly urlPreviewAllow: readonly string[];
  readonly urlPreviewDeny: readonly string[];
  readonly urlPreviewAllowPrivate: boolean;
}

const hostsKind = listKind('host names such as example.org, or IP addresses', isHost);

export const previewOptions: {
  readonly [Name in keyof PreviewConfig]: Option<NonNullable<PreviewConfig[Name]>>;
} = {
  urlPreviews: {
    key: 'url_previews',
    kind: flagKind,
    default: false,
    describes:
      'Shows users what is behind a link: the server fetches the page when a client asks, and tells its title, a ' +
      'description and a picture. The page sees the address of this server, and that somebody has the link. Clients ' +
      'ask in rooms without encryption; in others only where their user says so.',
  },
  urlPreviewAllow: {
    key: 'url_preview_allow',
    kind: hostsKind,
    default: [],
    describes:
      'The only hosts, each with all below it, that are visited for previews, those of pictures and of redirects ' +
      'included. With none, all are. In the environment several are divided by commas.',
  },
  urlPreviewDeny: {
    key: 'url_preview_deny',
    kind: hostsKind,
    default: [],
    describes:
      'Hosts, each with all below it, that are never visited for previews, whatever else is allowed. In the ' +
      'environment several are divided by commas.',
  },
  urlPreviewAllowPrivate: {
    key: 'url_preview_allow_private',
    kind: flagKind,
    default: false,
    describes:
      'Permits previews of pages at loopback and private addresses. Users can then have this server visit whatever is ' +
      'in your network: turn it on only together with `url_preview_allow`.',
  },
};

/** The values of these options. */
export function previewConfig(required: <T>(option: Option<T>) => T): PreviewConfig {
  return {
    urlPreviews: required(previewOptions.urlPreviews),
    urlPreviewAllow: required(previewOptions.urlPreviewAllow),
    urlPreviewDeny: required(previewOptions.urlPreviewDeny),
    urlPreviewAllowPrivate: required(previewOptions.urlPreviewAllowPrivate),
  };
}

/** True for a host as URLs write it, so that it is found again in them. */
function isHost(text: string): boolean {
  return URL.canParse(`http://${text}/`) && new URL(`http://${text}/`).host === text;
}

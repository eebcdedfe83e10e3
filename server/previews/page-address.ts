import type { PreviewConfig } from '../config/preview-options.ts';

const LONGEST = 2_048;

/** The address of a page, without what is behind `#`; undefined for what is none that could be visited. */
export function pageAddress(text: string, base?: URL): URL | undefined {
  if (text.length > LONGEST || !URL.canParse(text, base?.href)) return undefined;
  const url = new URL(text, base);
  url.hash = '';
  const isWeb = url.protocol === 'https:' || url.protocol === 'http:';
  return isWeb && url.username === '' && url.password === '' && url.href.length <= LONGEST ? url : undefined;
}

/** Whether a page may be visited by the operator's lists; what is denied is, whatever else is allowed. */
export function isAllowed(
  url: URL,
  { urlPreviewAllow: allow, urlPreviewDeny: deny }: Pick<PreviewConfig, 'urlPreviewAllow' | 'urlPreviewDeny'>,
): boolean {
  // The dot at its end makes a name no other one.
  const host = url.hostname.replace(/\.$/, '');
  const isAmong = (hosts: readonly string[]) =>
    hosts.some((each) => host === each || host.endsWith(`.${each}`));
  if (isAmong(deny)) return false;
  return allow.length === 0 || isAmong(allow);
}

/** What stands in a template of user names for the localpart. */
export const LOCALPART = '{localpart}';

/** The part of a user name that a template, such as `{localpart}@example.org`, has as the localpart. */
export function localpartBy(template: string, userName: string): string | undefined {
  const [before = '', after = ''] = template.toLowerCase().split(LOCALPART);
  const name = userName.toLowerCase();
  const isLong = name.length > before.length + after.length;
  if (!isLong || !name.startsWith(before) || !name.endsWith(after)) return undefined;
  return name.slice(before.length, name.length - after.length);
}

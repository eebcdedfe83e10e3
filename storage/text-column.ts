/**
 * Text from the wire, for a column. PostgreSQL has no NUL in text, so it is written as backslash 0, and a
 * backslash doubled: two texts that differ never become one.
 */
export function textColumn(text: string): string {
  if (!text.includes('\\') && !text.includes('\0')) return text;
  return text.replaceAll('\\', '\\\\').replaceAll('\0', '\\0');
}

/** The reverse of `textColumn`. */
export function fromTextColumn(column: string): string {
  if (!column.includes('\\')) return column;
  return column.replace(/\\(.)/g, (_, escaped: string) => (escaped === '0' ? '\0' : escaped));
}

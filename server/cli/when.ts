const DATE = /^\d{4}-\d\d-\d\d(T\d\d:\d\d(:\d\d)?(Z|[+-]\d\d:\d\d)?)?$/;

/** A day (`2026-01-31`, UTC) or a time (`2026-01-31T12:00Z`) in milliseconds since 1970; undefined for neither. */
export function timeOf(text: string): number | undefined {
  const time = DATE.test(text) ? Date.parse(text) : Number.NaN;
  return Number.isNaN(time) ? undefined : time;
}

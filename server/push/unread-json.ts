import type { Counts, ThreadCounts } from './counted-events.ts';
import type { Unread } from './unread.ts';

const MAIN = 'main';
const NONE: Counts = { notifications: 0, highlights: 0 };

/**
 * `unread_notifications` of a room, and with `perThread` `unread_thread_notifications`: then "these counts will only be
 * for the main timeline rather than all events in the room". Members of an object, without the braces.
 */
export function unreadJson({ threads }: Unread, perThread: boolean): string {
  const main = perThread ? (threads.get(MAIN) ?? NONE) : totalOf(threads);
  const text = `"unread_notifications":${countsJson(main)}`;
  const others = perThread ? [...threads].filter(([thread]) => thread !== MAIN) : [];
  // "If no threads have notification counts, this whole object can be omitted."
  if (others.length === 0) return text;
  const members = others.map(([root, counts]) => `${JSON.stringify(root)}:${countsJson(counts)}`);
  return `${text},"unread_thread_notifications":{${members.join(',')}}`;
}

/** The counts of all threads together. */
export function totalOf(threads: ThreadCounts): Counts {
  let [notifications, highlights] = [0, 0];
  for (const counts of threads.values()) {
    notifications += counts.notifications;
    highlights += counts.highlights;
  }
  return { notifications, highlights };
}

function countsJson({ notifications, highlights }: Counts): string {
  return `{"highlight_count":${highlights},"notification_count":${notifications}}`;
}

/** Forms of our pages, as browsers send them. */

import type { FastifyInstance } from 'fastify';

/** The most that a form may be, in bytes. */
export const FORM_LIMIT = 16 * 1024;

/** Makes the routes of `pages` read forms. */
export function acceptForms(pages: FastifyInstance): void {
  pages.addContentTypeParser<string>(
    'application/x-www-form-urlencoded',
    { parseAs: 'string', bodyLimit: FORM_LIMIT },
    (_, text, done) => done(null, new URLSearchParams(text)),
  );
}

/** The fields of a form; none of what is no form. */
export function formFields(body: unknown): URLSearchParams {
  return body instanceof URLSearchParams ? body : new URLSearchParams();
}

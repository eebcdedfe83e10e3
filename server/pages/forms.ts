/** Forms of our pages, as browsers send them. */

import type { IncomingMessage } from 'node:http';
import type { FastifyInstance, FastifyRequest } from 'fastify';
import { readBody } from '../http/read-body.ts';

/** The most that a form may be, in bytes. */
export const FORM_LIMIT = 16 * 1024;

/** Makes the routes of `pages` read forms. */
export function acceptForms(pages: FastifyInstance): void {
  pages.addContentTypeParser(
    'application/x-www-form-urlencoded',
    async (_: FastifyRequest, payload: IncomingMessage) => {
      const bytes = await readBody(payload, FORM_LIMIT);
      return new URLSearchParams(bytes.toString('utf8'));
    },
  );
}

/** The fields of a form; none of what is no form. */
export function formFields(body: unknown): URLSearchParams {
  return body instanceof URLSearchParams ? body : new URLSearchParams();
}

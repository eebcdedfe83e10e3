import type { FastifyReply } from 'fastify';

/** Answers with JSON that is text already: events are served as they are stored. */
export function sendJsonText(reply: FastifyReply, text: string): FastifyReply {
  return reply.header('content-type', 'application/json').send(text);
}

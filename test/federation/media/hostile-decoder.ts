/** Stands in for `thumbnail-program.ts` as a hostile image may leave it: the job's path says what it does. */

import type { ThumbnailJob } from '#federation/media/thumbnail-program.ts';

const GIB = 1_024 ** 3;

process.on('disconnect', () => process.exit(0));
process.on('message', ({ path }: ThumbnailJob) => {
  switch (path) {
    case 'dies':
      process.kill(process.pid, 'SIGSEGV');
      return;
    case 'hangs':
      for (;;);
    case 'takes all memory':
      // Written to, so that it is not only promised.
      process.send?.({
        kind: 'made',
        bytes: Buffer.alloc(2 * GIB, 1).subarray(0, 1),
        contentType: 'image/png',
      });
      return;
    case 'answers a page':
      process.send?.({ kind: 'made', bytes: Buffer.from('<script>'), contentType: 'text/html' });
      return;
    case 'answers no bytes':
      process.send?.({ kind: 'made', bytes: 'text', contentType: 'image/png' });
      return;
    case 'measures nothing':
      process.send?.({ kind: 'measured', width: -1, height: '7' });
      return;
    case 'measures':
      process.send?.({ kind: 'measured', width: 7, height: 5 });
      return;
    case 'answers nothing known':
      process.send?.({ kind: 'failed', path: '/etc/passwd' });
      return;
    case 'looks at the environment':
      process.send?.({ kind: process.env.KURIR_TEST_SECRET === undefined ? 'unsupported' : 'too_large' });
      return;
    default:
      process.send?.({ kind: 'original' });
  }
});

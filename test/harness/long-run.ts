/** `npm run test:long` or `npm test`. */

/** How many times as much is tried as in `npm test`. */
export const ROUNDS = Number(process.env.KURIR_TEST_ROUNDS ?? '1');

/** Whether `npm run test:long` runs. */
export const isLongRun = ROUNDS > 1;

/**
 * `node:http`, not by `import`: that would read each of its exports, for one of which Node loads its own client of
 * websockets, a good part of a start.
 */
export const nodeHttp = process.getBuiltinModule('node:http');

/** Programs in Python as processes of a test, which end when the test does, however it ends. */

import { type ChildProcess, spawn } from 'node:child_process';
import { open } from 'node:fs/promises';

/** Its standard input ends with the process that started it. */
const RUN_WHILE_STARTED = `
import os, runpy, sys, threading
def watch():
    sys.stdin.read()
    os._exit(1)
threading.Thread(target=watch, daemon=True).start()
kind, program = sys.argv[1:3]
sys.argv = sys.argv[2:]
if kind == 'module':
    runpy.run_module(program, run_name='__main__', alter_sys=True)
else:
    runpy.run_path(program, run_name='__main__')
`;

export interface PythonProgram {
  /** The interpreter. */
  readonly python: string;
  /** The name of a module, or the path of a script. */
  readonly program: { readonly module: string } | { readonly script: string };
  readonly args: readonly string[];
  readonly cwd: string;
  /** The file to which its output is added. */
  readonly output: string;
}

/** Starts a program, and does not wait for it. */
export async function startPython({
  python,
  program,
  args,
  cwd,
  output,
}: PythonProgram): Promise<ChildProcess> {
  const what = 'module' in program ? ['module', program.module] : ['script', program.script];
  const log = await open(output, 'a');
  const stdio = ['pipe', log.fd, log.fd] as const;
  const child = spawn(python, ['-c', RUN_WHILE_STARTED, ...what, ...args], { cwd, stdio: [...stdio] });
  await log.close();
  return child;
}

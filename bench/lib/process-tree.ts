/** What a process and all its descendants have used, from Linux's /proc; undefined on other systems. */

import fs from 'node:fs';

/** /proc counts CPU time in ticks of 10 ms on every Linux that Node runs on. */
const TICK_MS = 10;

/** CPU time of all threads, user and system, of the tree and of its ended children, in ms. */
export function cpuMs(pid: number): number | undefined {
  return sumOver(pid, (member) => {
    const fields = statFields(member);
    // utime, stime, cutime, cstime: fields 14 to 17 of proc(5), counted from 1; statFields begins with the third.
    return fields.slice(11, 15).reduce((sum, ticks) => sum + Number(ticks), 0) * TICK_MS;
  });
}

/** Resident memory in bytes. */
export function residentBytes(pid: number): number | undefined {
  return sumOver(pid, (member) => statusKilobytes(member, 'VmRSS') * 1024);
}

/** The highest resident memory so far, in bytes. */
export function peakResidentBytes(pid: number): number | undefined {
  return sumOver(pid, (member) => statusKilobytes(member, 'VmHWM') * 1024);
}

function sumOver(pid: number, measure: (pid: number) => number): number | undefined {
  if (process.platform !== 'linux') return undefined;
  return treeOf(pid).reduce((sum, member) => sum + measure(member), 0);
}

function treeOf(pid: number): number[] {
  const tasks = fs.readdirSync(`/proc/${pid}/task`);
  const children = tasks.flatMap((task) =>
    fs.readFileSync(`/proc/${pid}/task/${task}/children`, 'utf8').split(' ').filter(Boolean).map(Number),
  );
  return [pid, ...children.flatMap(treeOf)];
}

/** The fields after the program's name, which may itself hold spaces and parentheses. */
function statFields(pid: number): string[] {
  const stat = fs.readFileSync(`/proc/${pid}/stat`, 'latin1');
  return stat.slice(stat.lastIndexOf(')') + 2).split(' ');
}

function statusKilobytes(pid: number, key: string): number {
  const status = fs.readFileSync(`/proc/${pid}/status`, 'latin1');
  return Number(new RegExp(`^${key}:\\s+(\\d+) kB`, 'm').exec(status)?.[1] ?? 0);
}

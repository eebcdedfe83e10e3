/** What a process and all its descendants have used, from Linux's /proc; undefined on other systems. */

import fs from 'node:fs';

/** /proc counts CPU time in ticks of 10 ms on every Linux that Node runs on. */
const TICK_MS = 10;
/** The first line of a mapping in smaps: addresses, rights, offset, device, inode, and the path, if any. */
const MAPPING = /^[0-9a-f]+-[0-9a-f]+ \S+ \S+ \S+ \d+ *(.*)$/;
const AMOUNT = /^(Rss|Anonymous): +(\d+) kB$/;

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

/**
 * As `residentBytes`, but for pages of files that several processes have mapped, such as those of Node itself: they are in
 * memory once. Of each file as much is counted as the process has that has most of it.
 */
export function distinctResidentBytes(pid: number): number | undefined {
  if (process.platform !== 'linux') return undefined;
  const members = treeOf(pid);
  if (members.length === 1) return residentBytes(pid);
  const ofFiles = new Map<string, number>();
  for (const member of members) {
    for (const [file, kilobytes] of fileKilobytes(member)) {
      ofFiles.set(file, Math.max(kilobytes, ofFiles.get(file) ?? 0));
    }
  }
  const own = members.map((member) => statusKilobytes(member, 'VmRSS') - statusKilobytes(member, 'RssFile'));
  return [...own, ...ofFiles.values()].reduce((sum, kilobytes) => sum + kilobytes, 0) * 1024;
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

/** How much of each file that a process has mapped is in memory, without what it has changed of it. */
function fileKilobytes(pid: number): Map<string, number> {
  const files = new Map<string, number>();
  let file: string | undefined;
  for (const line of fs.readFileSync(`/proc/${pid}/smaps`, 'latin1').split('\n')) {
    const [, path] = MAPPING.exec(line) ?? [];
    if (path !== undefined) file = path.startsWith('/') ? path : undefined;
    const [, key, kilobytes] = AMOUNT.exec(line) ?? [];
    if (file === undefined || kilobytes === undefined) continue;
    const sign = key === 'Rss' ? 1 : -1;
    files.set(file, (files.get(file) ?? 0) + sign * Number(kilobytes));
  }
  return files;
}

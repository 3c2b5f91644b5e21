// The processes of a program that a test has started, held and let go on, as if their machine slept. Linux alone tells
// whose child a process is.
import { readdirSync, readFileSync } from "node:fs";

/** Holds a process and all that descend from it. What is returned has them go on, once. */
export function putToSleep(pid: number): () => void {
  const held = new Set<number>();
  const awake = () => familyOf(pid).filter((pid) => !held.has(pid));
  // Until nobody is left who could start another one.
  for (let found = awake(); found.length > 0; found = awake()) {
    for (const pid of found) {
      held.add(pid);
      signal(pid, "SIGSTOP");
    }
  }
  return () => {
    for (const pid of held) signal(pid, "SIGCONT");
    held.clear();
  };
}

/** A process and all that descend from it, ancestors first. */
function familyOf(pid: number): number[] {
  const pids = readdirSync("/proc").filter((name) => /^\d+$/.test(name));
  const parents = new Map(pids.map((name) => [Number(name), parentOf(name)]));
  const family = [pid];
  for (const member of family) {
    for (const [child, parent] of parents) if (parent === member) family.push(child);
  }
  return family;
}

/** null when it has ended meanwhile. */
function parentOf(pid: string): number | null {
  try {
    // PID (NAME) STATE PPID …; the name may hold brackets and spaces itself.
    const stat = readFileSync(`/proc/${pid}/stat`, "utf8");
    return Number(stat.slice(stat.lastIndexOf(")") + 2).split(" ")[1]);
  } catch {
    return null;
  }
}

function signal(pid: number, name: NodeJS.Signals): void {
  try {
    process.kill(pid, name);
  } catch {
    // It has ended meanwhile.
  }
}

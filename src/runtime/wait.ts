// Waiting for the device. Dawn in Node asks its device again in every round of the event loop (by setImmediate) while a promise of it is
// open: a wait takes a whole core, and a software adapter computes on those very cores. So the loop sleeps between two questions, at
// most a sixteenth of the time waited so far. Where there is no setImmediate (browsers) nobody asks, and nothing is done here.

/** A sleep is not much longer than the driver's own timers, and other work of the process waits no longer than this. */
const LONGEST = 1;
/** Shorter than this costs more than it saves. */
const SHORTEST = 0.05;
const FRACTION = 1 / 16;

/** Something to sleep on; nobody ever wakes it. Made when needed: browsers do not give shared memory to every page. */
let cell: Int32Array<SharedArrayBuffer> | undefined;
let open = 0;
let since = 0;

/** The promise itself; until it is settled, the event loop turns slowly. */
export function awaitDevice<T>(promise: Promise<T>): Promise<T> {
  if (typeof setImmediate !== "function") return promise;
  since = performance.now();
  if (open++ === 0) setImmediate(turn);
  const close = (): void => {
    open--;
  };
  promise.then(close, close);
  return promise;
}

function turn(): void {
  if (open === 0) return;
  const sleep = Math.min(LONGEST, (performance.now() - since) * FRACTION);
  if (sleep >= SHORTEST) Atomics.wait((cell ??= new Int32Array(new SharedArrayBuffer(4))), 0, 0, sleep);
  setImmediate(turn);
}

/** Work that waits until the browser is idle, in slices that no key stroke notices. */

/** Milliseconds of a slice, and of the pause before it where a browser does not tell when it is idle. */
export const SLICE_MS = 20;
const PAUSE_MS = 50;

/** Call a function once the browser is idle. */
export const whenIdle = globalThis.requestIdleCallback ?? ((call) => setTimeout(call, PAUSE_MS));

/**
 * Exhaust a generator in slices.
 * @param {Generator} steps
 * @param {function(): boolean} stale tells, before each slice but the first, whether the result is of use no more
 * @returns {Promise<*>} what the generator returned; null if the result is stale
 */
export async function inSlices(steps, stale) {
  for (;;) {
    const end = performance.now() + SLICE_MS;
    do {
      const { done, value } = steps.next();
      if (done) return value;
    } while (performance.now() < end);
    await new Promise((resolve) => whenIdle(resolve));
    if (stale()) return null;
  }
}

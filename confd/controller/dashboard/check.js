/** Find what is wrong with a document: its JSON, names that it has twice, and what the controller refuses. */

import { inSlices } from "./idle.js";
import { JsonError, duplicates, places } from "./json.js";

/**
 * Return the mistakes of a text that need no controller.
 * @returns {{from: number, to: number, message: string}[]} empty if it is JSON in which no object has a name twice
 */
export function mistakes(text) {
  const steps = search(text);
  for (;;) {
    const { done, value } = steps.next();
    if (done) return value;
  }
}

/** Return a promise of the mistakes of a text, which other work may interrupt; of null once the text is stale. */
export function mistakesInSlices(text, stale) {
  return inSlices(search(text), stale);
}

function* search(text) {
  try {
    const twice = yield* duplicates(text);
    return twice.map(({ from, to, name }) => ({ from, to, message: `The object has the name ${JSON.stringify(name)} twice.` }));
  } catch (error) {
    if (!(error instanceof JsonError)) throw error;
    return [{ from: error.at, to: error.at + 1, message: error.message }];
  }
}

/**
 * Return the violations of an answer with their places.
 * @param {{pointer: string, message: string}[]} details
 */
export function violations(text, details) {
  const found = places(text, new Set(details.map(({ pointer }) => pointer)));
  return details.map(({ pointer, message }) => ({
    ...(found.get(pointer) ?? { from: 0, to: 1 }),
    message: `${pointer || "The document"}: ${message}.`,
  }));
}

/** Find what is wrong with a document: its JSON, names that it has twice, and what the controller refuses. */

import { JsonError, duplicates, places, tokens } from "./json.js";

/**
 * Return the mistakes of a text that need no controller.
 * @returns {{from: number, to: number, message: string}[]} empty if it is JSON in which no object has a name twice
 */
export function mistakes(text) {
  try {
    for (const _ of tokens(text));
  } catch (error) {
    if (!(error instanceof JsonError)) throw error;
    return [{ from: error.at, to: error.at + 1, message: error.message }];
  }
  return duplicates(text).map(({ from, to, name }) => ({ from, to, message: `The object has the name ${JSON.stringify(name)} twice.` }));
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

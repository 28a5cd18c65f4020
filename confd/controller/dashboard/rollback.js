/** Roll back to a version. */

import { fill, h, problem } from "./dom.js";
import { confirmAndPublish } from "./publish_dialog.js";

/**
 * Preview a rollback in a dialog, and publish it if the person confirms.
 * @param {string} etag of the version that the person knows as current
 * @param {HTMLElement} says shows the result
 */
export async function rollBack(api, version, etag, says) {
  const title = `Roll back to version ${version}`;
  fill(says);
  try {
    const attempt = (options) => api.rollback(version, { ...options, etag });
    const done = await confirmAndPublish(title, attempt, api, `roll back to version ${version}`);
    if (!done) return;
    const said = done.rollout
      ? `${done.message}: version ${done.version} has the document of version ${version}.`
      : `Version ${done.version} is published, with the document of version ${version}.`;
    fill(says, h("p.done", { role: "status" }, said));
  } catch (error) {
    fill(says, problem(error));
  }
}

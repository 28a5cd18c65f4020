/** The text that a person has not published: a reload keeps it. */

const slot = (namespace) => `confd.draft.${namespace}`;

/** Return the draft of a namespace: its text and the version that it started from; null without one. */
export function loadDraft(namespace) {
  return JSON.parse(sessionStorage.getItem(slot(namespace)) ?? "null");
}

/** Keep a draft; null removes it. */
export function keepDraft(namespace, draft) {
  try {
    if (draft) sessionStorage.setItem(slot(namespace), JSON.stringify(draft));
    else sessionStorage.removeItem(slot(namespace));
  } catch {
    // Too large to store: it stays on the page, and the browser asks before it leaves the page.
  }
}

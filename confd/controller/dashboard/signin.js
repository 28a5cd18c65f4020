/** The page on which people sign in. */

const says = document.getElementById("says");

/** Show one sentence about the last attempt. */
function say(text) {
  const words = document.createElement("p");
  words.className = "problem";
  words.textContent = text;
  says.replaceChildren(...(text ? [words] : []));
}

/** Ask the controller for a session. @returns {Promise<string>} why it refused; "" if the session has begun */
async function ask(body) {
  const headers = { "Content-Type": "application/json" };
  let answer;
  try {
    answer = await fetch("signin", { method: "POST", headers, body: JSON.stringify(body) });
  } catch {
    return "The controller cannot be reached; try again in a moment.";
  }
  if (answer.ok) return "";
  const { error } = await answer.json().catch(() => ({}));
  return error ?? `The controller answered ${answer.status}; look at its log, then try again.`;
}

for (const form of document.forms) {
  form.addEventListener("submit", async (event) => {
    event.preventDefault();
    const button = form.querySelector("button");
    button.disabled = true;
    say("");
    const refusal = await ask(Object.fromEntries(new FormData(form)));
    button.disabled = false;
    // The address keeps the view that the person wanted.
    if (!refusal) return location.replace(`./${location.hash}`);
    say(refusal);
    const secret = form.querySelector("input[type=password]");
    secret.value = "";
    secret.focus();
  });
}

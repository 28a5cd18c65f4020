/** Check and format JSON as text, so that no number is rounded and no key moves. */

const STRING = /"(?:[^"\\\u0000-\u001f]|\\(?:["\\/bfnrt]|u[0-9a-fA-F]{4}))*"/;
const NUMBER = /-?(?:0|[1-9]\d*)(?:\.\d+)?(?:[eE][+-]?\d+)?(?![\w.])/;
const TOKEN = new RegExp(`[{}[\\],:]|${STRING.source}|${NUMBER.source}|(?:true|false|null)\\b`, "y");
const SPACE = /[ \t\r\n]*/y;

/** The first mistake in a text; lines and columns count from 1. */
export class JsonError extends Error {
  constructor(text, at, expected) {
    const before = text.slice(0, at);
    const line = before.split("\n").length;
    const column = at - before.lastIndexOf("\n");
    super(`Line ${line}, column ${column}: expected ${expected}${at < text.length ? "" : ", but the text ends"}.`);
    Object.assign(this, { at, line, column });
  }
}

/** The words for each state of the parser. */
const EXPECTED = {
  value: "a value",
  first: "a value or ]",
  key: "a name in double quotes",
  firstKey: "a name in double quotes, or }",
  colon: "a colon",
  more: "a comma or a closing bracket",
  end: "the end of the text",
};

/**
 * Yield the tokens in order, each with its kind: "open", "close", "comma", "colon", "key" or "scalar".
 * @throws {JsonError}
 */
export function* tokens(text) {
  const open = [];
  let state = "value";
  let at = 0;
  for (;;) {
    SPACE.lastIndex = at;
    SPACE.test(text);
    at = SPACE.lastIndex;
    TOKEN.lastIndex = at;
    const token = TOKEN.exec(text)?.[0];
    if (token === undefined) {
      if (state === "end" && at === text.length) return;
      throw new JsonError(text, at, EXPECTED[state]);
    }
    const kind = kindOf(token, state, open);
    if (kind === null) throw new JsonError(text, at, EXPECTED[state]);
    yield { kind, token, at, depth: open.length };
    state = follow(kind, token, open);
    at += token.length;
  }
}

function kindOf(token, state, open) {
  const awaited = state === "value" || state === "first";
  if (token === "{" || token === "[") return awaited ? "open" : null;
  if (token === "}") return open.at(-1) === "{" && (state === "firstKey" || state === "more") ? "close" : null;
  if (token === "]") return open.at(-1) === "[" && (state === "first" || state === "more") ? "close" : null;
  if (token === ",") return state === "more" ? "comma" : null;
  if (token === ":") return state === "colon" ? "colon" : null;
  if (state === "key" || state === "firstKey") return token[0] === '"' ? "key" : null;
  return awaited ? "scalar" : null;
}

function follow(kind, token, open) {
  if (kind === "open") {
    open.push(token);
    return token === "{" ? "firstKey" : "first";
  }
  if (kind === "comma") return open.at(-1) === "{" ? "key" : "value";
  if (kind === "key") return "colon";
  if (kind === "colon") return "value";
  if (kind === "close") open.pop();
  return open.length ? "more" : "end";
}

/** Return the text, indented by two spaces a level. @throws {JsonError} */
export function pretty(text) {
  const parts = [];
  let last = "";
  for (const { kind, token, depth } of tokens(text)) {
    const level = kind === "close" ? depth - 1 : depth;
    const opens = last === "open" && kind !== "close";
    if (opens || last === "comma" || (kind === "close" && last !== "open")) parts.push(`\n${"  ".repeat(level)}`);
    parts.push(kind === "colon" ? ": " : token);
    last = kind;
  }
  return parts.join("");
}

/**
 * Return the places of values in a text, by their JSON pointers (RFC 6901).
 * @param {string} text that is JSON
 * @param {Set<string>} pointers to look for
 * @returns {Map<string, {from: number, to: number}>} a member is marked at its name
 */
export function places(text, pointers) {
  const found = new Map();
  for (const { pointer, from, to } of values(text)) if (pointers.has(pointer) && !found.has(pointer)) found.set(pointer, { from, to });
  return found;
}

/** Tokens after which a long search yields. */
const STEP = 500;

/**
 * Look for names that an object has already. It yields now and then, so that a long search can pause.
 * @returns {Generator<undefined, {from: number, to: number, name: string}[]>}
 * @throws {JsonError}
 */
export function* duplicates(text) {
  const seen = [];
  const found = [];
  let read = 0;
  for (const { kind, token, at, depth } of tokens(text)) {
    if (++read % STEP === 0) yield;
    if (kind === "open") seen[depth] = new Set();
    else if (kind === "key") {
      const names = seen[depth - 1];
      const name = JSON.parse(token);
      if (names.has(name)) found.push({ from: at, to: at + token.length, name });
      names.add(name);
    }
  }
  return found;
}

/** Yield the pointer of each value, with the place of its name or else of its first token. */
function* values(text) {
  const path = [];
  let named = null;
  for (const { kind, token, at, depth } of tokens(text)) {
    const place = { from: at, to: at + token.length };
    const inArray = typeof path[depth - 1] === "number";
    if (kind === "key") {
      path[depth - 1] = JSON.parse(token).replaceAll("~", "~0").replaceAll("/", "~1");
      named = place;
    } else if (kind === "open" || kind === "scalar") {
      const pointer = path.slice(0, depth).map((step) => `/${step}`).join("");
      yield { pointer, ...(inArray ? place : (named ?? place)) };
      named = null;
      if (kind === "open") path[depth] = token === "[" ? 0 : "";
    } else if (kind === "comma" && inArray) path[depth - 1] += 1;
  }
}

/** Return the text of one member of an object. */
export function member(text, name) {
  const key = JSON.stringify(name);
  let begin = -1;
  for (const { kind, token, at, depth } of tokens(text)) {
    if (depth !== 1) continue;
    if (begin >= 0 && (kind === "comma" || kind === "close")) return text.slice(begin, at).trim();
    if (kind === "key" && token === key) begin = at;
    else if (kind === "colon" && begin >= 0) begin = at + 1;
  }
  throw new Error(`${name} is missing.`);
}

/** Return the parts of the answer with the current configuration; the document and the interval as text. */
export function configurationOf({ text, etag }) {
  const interval = member(text, "poll_interval_seconds");
  return { etag, interval, version: Number(member(text, "version")), text: pretty(member(text, "data")) };
}

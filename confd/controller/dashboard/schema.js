/** Completion and explanation of a document by its JSON Schema. */

import { syntaxTree } from "./codemirror.js";
import { h } from "./dom.js";

/** References that are followed at most: a schema may refer to itself. */
const MOST_REFERENCES = 20;

/** Characters of space between a value and what stands before it, at most. */
const LONGEST_SPACE = 1000;

/** Return the schemas that may describe a place. @param {string[]} path names and indexes, from the top */
export function schemasAt(schema, path) {
  let found = variants(schema, schema);
  for (const step of path) found = found.flatMap((each) => variants(schema, below(each, step)));
  return found;
}

function below(schema, step) {
  if (Object.hasOwn(schema.properties ?? {}, step)) return schema.properties[step];
  const [, matching] = Object.entries(schema.patternProperties ?? {}).find(([pattern]) => matches(pattern, step)) ?? [];
  if (matching) return matching;
  if (/^\d+$/.test(step) && (schema.prefixItems || schema.items)) return schema.prefixItems?.[step] ?? schema.items;
  return schema.additionalProperties;
}

function matches(pattern, text) {
  try {
    return new RegExp(pattern, "u").test(text);
  } catch {
    return false;
  }
}

/** Return a schema with its references, and the alternatives in it. */
function variants(root, schema, left = MOST_REFERENCES) {
  if (schema === null || typeof schema !== "object" || left === 0) return [];
  const { $ref: reference, allOf = [], anyOf = [], oneOf = [], then, else: otherwise } = schema;
  const others = [reference && resolved(root, reference), ...allOf, ...anyOf, ...oneOf, then, otherwise];
  return [schema, ...others.filter(Boolean).flatMap((each) => variants(root, each, left - 1))];
}

function resolved(root, reference) {
  if (!reference.startsWith("#")) return null;
  const steps = decodeURIComponent(reference.slice(1)).split("/").slice(1);
  return steps.reduce((value, step) => value?.[step.replaceAll("~1", "/").replaceAll("~0", "~")], root);
}

/** Return the path of the member or item at a node of the syntax tree. */
function pathOf(state, node) {
  const path = [];
  for (let each = node; each; each = each.parent) {
    if (each.name === "Property") path.unshift(nameOf(state, each));
    else if (each.parent?.name === "Array") path.unshift(String(placeOf(each)));
  }
  return path;
}

function nameOf(state, property) {
  const { from, to } = property.getChild("PropertyName") ?? { from: 0, to: 0 };
  return unquoted(state.sliceDoc(from, to));
}

function unquoted(text) {
  try {
    return String(JSON.parse(text));
  } catch {
    return text.replace(/^"|"$/g, "");
  }
}

function placeOf(node) {
  let place = 0;
  for (let each = node.prevSibling; each; each = each.prevSibling) if (!/^[[,\]]$|⚠/.test(each.name)) place += 1;
  return place;
}

/** Offer the names of members, or the values of an enumeration. */
export function complete(context, schema) {
  const { state, pos, explicit } = context;
  const quoted = context.matchBefore(/"[^"\\\n]*/);
  if (!schema || !(quoted || explicit)) return null;
  const from = quoted ? quoted.from : pos;
  const before = state.sliceDoc(Math.max(0, from - LONGEST_SPACE), from).trimEnd().at(-1);
  const around = container(syntaxTree(state).resolveInner(from, -1), before === ":" ? "Property" : "Object");
  if (!around) return null;
  const inside = syntaxTree(state).resolveInner(pos, -1);
  const to = inside.from === from && /^(PropertyName|String)$/.test(inside.name) ? inside.to : pos;
  const schemas = schemasAt(schema, pathOf(state, around));
  const options = around.name === "Object" ? names(state, around, from, schemas) : values(schemas);
  return options.length ? { from, to, options } : null;
}

function container(node, kind) {
  for (let each = node; each; each = each.parent) if (each.name === kind) return each;
  return null;
}

function names(state, object, from, schemas) {
  const others = object.getChildren("Property").filter((each) => each.from !== from);
  const present = new Set(others.map((each) => nameOf(state, each)));
  const options = new Map();
  for (const { properties = {}, required = [] } of schemas)
    for (const [name, about] of Object.entries(properties))
      if (!present.has(name)) options.set(name, option(name, about, required.includes(name)));
  return [...options.values()];
}

function option(name, about, required) {
  const detail = [typeOf(about), required ? "required" : ""].filter(Boolean).join(", ");
  return { label: JSON.stringify(name), detail, info: about.description };
}

function values(schemas) {
  const known = schemas.flatMap(({ enum: some = [], const: only, type }) => [
    ...some,
    ...(only === undefined ? [] : [only]),
    ...(type === "boolean" ? [true, false] : []),
  ]);
  return [...new Set(known.map((each) => JSON.stringify(each)))].map((label) => ({ label }));
}

/** Return the tooltip of the member at a position; null where the schema says nothing. */
export function explain(state, at, schema) {
  if (!schema) return null;
  const node = syntaxTree(state).resolveInner(at, 1);
  const path = pathOf(state, node);
  if (!path.length) return null;
  const lines = schemasAt(schema, path).flatMap((each) => [each.title, each.description, limits(each)]).filter(Boolean);
  if (!lines.length) return null;
  const create = () => ({ dom: h("div.hint", {}, ...[...new Set(lines)].map((line) => h("p", {}, line))) });
  return { pos: node.from, end: node.to, above: true, create };
}

function typeOf({ type, enum: known }) {
  return type ? [type].flat().join(" or ") : known ? "one of a list" : "";
}

function limits(schema) {
  const { minimum, maximum, minLength, maxLength, pattern, description, enum: known, default: preset } = schema;
  const shown = { minimum, maximum, "least length": minLength, "greatest length": maxLength };
  // A description says more to people than a pattern.
  if (!description) shown.pattern = pattern;
  const facts = Object.entries(shown).filter(([, value]) => value !== undefined).map(([name, value]) => `${name} ${value}`);
  if (known) facts.push(`one of ${known.map((each) => JSON.stringify(each)).join(", ")}`);
  if (preset !== undefined) facts.push(`default ${JSON.stringify(preset)}`);
  return [typeOf(schema), ...facts].filter(Boolean).join("; ");
}

/** The text field of a JSON document: CodeMirror with the colours of the page, and no style or script of its own. */

import {
  Compartment, EditorState, EditorView, HighlightStyle, Transaction, autocompletion, bracketMatching, codeFolding,
  completionKeymap, defaultKeymap, ensureSyntaxTree, foldGutter, foldKeymap, highlightActiveLine, highlightSpecialChars,
  history, historyKeymap, hoverTooltip, indentOnInput, indentUnit, json, keymap, lineNumbers, lintGutter, lintKeymap,
  openSearchPanel, search, searchKeymap, setDiagnostics, syntaxHighlighting, tags,
} from "./codemirror.js";
import { SLICE_MS, whenIdle } from "./idle.js";
import { complete, explain } from "./schema.js";

const COLOURS = HighlightStyle.define([
  { tag: tags.propertyName, color: "var(--json-name)" },
  { tag: tags.string, color: "var(--json-text)" },
  { tag: tags.number, color: "var(--json-number)" },
  { tag: [tags.bool, tags.null], color: "var(--json-word)" },
]);

/** Events of a transaction that loads a text: no step for undo. */
const LOAD = [Transaction.addToHistory.of(false)];

/** One document. Positions count UTF-16 code units, as strings do. */
export class CodeEditor {
  /**
   * @param {HTMLElement} parent
   * @param {Object} attributes of the text field
   * @param {{changed: function(), confirm: function(), left: function()}} listeners
   */
  constructor(parent, attributes, { changed, confirm, left }) {
    Object.assign(this, { attributes, may: false, wrong: false, schema: null, ahead: false, fixed: new Compartment() });
    const own = [
      { key: "Mod-Enter", run: () => (confirm(), true) },
      { key: "Tab", run: indent },
    ];
    this.extensions = [
      keymap.of([...own, ...completionKeymap, ...searchKeymap, ...historyKeymap, ...foldKeymap, ...lintKeymap, ...defaultKeymap]),
      lineNumbers(),
      lintGutter(),
      codeFolding(),
      foldGutter(),
      history(),
      highlightSpecialChars(),
      highlightActiveLine(),
      indentOnInput(),
      indentUnit.of("  "),
      bracketMatching(),
      json(),
      syntaxHighlighting(COLOURS),
      search({ top: true }),
      autocompletion({ override: [(context) => complete(context, this.schema)], icons: false }),
      hoverTooltip((view, at) => explain(view.state, at, this.schema)),
      EditorView.updateListener.of(({ docChanged }) => docChanged && (this.parse(), changed())),
      EditorView.domEventHandlers({ blur: left }),
    ];
    this.view = new EditorView({ parent });
    this.load("");
  }

  get text() {
    return this.view.state.doc.toString();
  }

  get length() {
    return this.view.state.doc.length;
  }

  /** Begin with a text: nothing is left to undo. */
  load(text) {
    this.view.setState(
      EditorState.create({ doc: text, extensions: [this.extensions, this.fixed.of(this.settings())] }),
    );
    this.origin = this.view.state.doc;
    this.parse();
  }

  /**
   * Parse the whole text while the browser is idle. CodeMirror parses ahead a part only, and spends 20 ms of each key
   * stroke on the rest once the person is behind that part.
   */
  parse() {
    if (this.ahead) return;
    this.ahead = true;
    whenIdle(() => {
      this.ahead = false;
      if (!ensureSyntaxTree(this.view.state, this.length, SLICE_MS)) this.parse();
    });
  }

  /** Note a text as the one without changes. */
  compareWith(text) {
    this.origin = EditorState.create({ doc: text }).doc;
  }

  /** Whether the text differs from the text that it began with. */
  get changed() {
    return !this.view.state.doc.eq(this.origin);
  }

  /** Replace the text in one step that an undo takes back. */
  replace(text) {
    const { doc } = this.view.state;
    this.view.dispatch({ changes: { from: 0, to: doc.length, insert: text }, selection: { anchor: 0 }, userEvent: "input.format" });
  }

  /** Let the person change the text, or only read it. */
  permit(may) {
    this.may = may;
    this.apply();
  }

  /** Mark mistakes: their places, and words for each. */
  mark(mistakes) {
    const end = this.length;
    const found = mistakes.map(({ from, to, severity = "error", message }) => ({
      from: Math.min(from, end),
      to: Math.min(Math.max(to, from + 1), end),
      severity,
      message,
    }));
    this.view.dispatch(setDiagnostics(this.view.state, found), { annotations: LOAD });
    const wrong = found.some(({ severity }) => severity === "error");
    if (wrong === this.wrong) return;
    this.wrong = wrong;
    this.apply();
  }

  /** Select a place and show it. */
  point(from, to = from) {
    this.focus();
    this.view.dispatch({ selection: { anchor: from, head: to }, scrollIntoView: true });
  }

  find() {
    openSearchPanel(this.view);
  }

  focus() {
    this.view.focus();
  }

  apply() {
    this.view.dispatch({ effects: this.fixed.reconfigure(this.settings()) });
  }

  settings() {
    const attributes = { ...this.attributes, "aria-invalid": String(this.wrong), "aria-readonly": String(!this.may) };
    return [EditorState.readOnly.of(!this.may), EditorView.contentAttributes.of(attributes)];
  }
}

/** Insert two spaces, or indent the selected lines. */
function indent({ state, dispatch }) {
  if (state.readOnly) return false;
  const { from, to } = state.selection.main;
  const [first, last] = [state.doc.lineAt(from).number, state.doc.lineAt(to).number];
  if (first === last) {
    dispatch(state.update(state.replaceSelection("  "), { scrollIntoView: true, userEvent: "input.indent" }));
    return true;
  }
  const changes = Array.from({ length: last - first + 1 }, (_, place) => ({ from: state.doc.line(first + place).from, insert: "  " }));
  dispatch(state.update({ changes, userEvent: "input.indent" }));
  return true;
}

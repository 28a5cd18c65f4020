/** Undo and redo for a textarea whose buttons change the text: the browser's own undo would mix two texts. */

/** Milliseconds without typing after which the next key begins a new step. */
const PAUSE_MS = 600;

/** Characters of all steps; the oldest steps go first. */
const MOST_CHARACTERS = 32e6;

/** Characters from which on a step waits for a rest: to read the text takes as long as to draw it. */
export const LARGE = 200000;

/** Milliseconds of a rest. */
export const REST_MS = 250;

const KEYS = { z: -1, y: 1 };
const KINDS = { historyUndo: -1, historyRedo: 1 };

/** The steps of one textarea. */
export class Undo {
  /** @param {function()} changed is called after an undo or a redo */
  constructor(area, changed) {
    Object.assign(this, { area, changed, timer: 0 });
    this.clear();
    area.addEventListener("beforeinput", (event) => this.before(event));
    area.addEventListener("input", (event) => this.typed(event));
    area.addEventListener("keydown", (event) => this.pressed(event));
  }

  /** Start over with the present text. */
  clear() {
    this.timer = clearTimeout(this.timer);
    Object.assign(this, { steps: [this.step("")], place: 0, size: this.area.value.length, at: 0 });
  }

  /** Replace the text in one step. */
  replace(text) {
    this.rest();
    this.mark();
    this.area.value = text;
    this.area.setSelectionRange(0, 0);
    this.push("replace");
  }

  step(kind) {
    const { value, selectionStart: start, selectionEnd: end } = this.area;
    return { value, start, end, kind };
  }

  /** Note the selection, to which an undo returns. */
  mark() {
    const { selectionStart: start, selectionEnd: end } = this.area;
    Object.assign(this.steps[this.place], { start, end });
  }

  before(event) {
    const turn = KINDS[event.inputType];
    if (!turn) return this.mark();
    event.preventDefault();
    this.turn(turn);
  }

  pressed(event) {
    const turn = KEYS[event.key.toLowerCase()];
    if (!turn || !(event.ctrlKey || event.metaKey) || event.altKey) return;
    event.preventDefault();
    this.turn(event.shiftKey ? 1 : turn);
  }

  typed({ inputType: kind, timeStamp: now }) {
    if (this.area.textLength > LARGE) {
      clearTimeout(this.timer);
      this.timer = setTimeout(() => this.rest(), REST_MS);
      return;
    }
    const last = this.steps[this.place];
    const goesOn = kind === last.kind && kind !== "insertFromPaste" && now - this.at < PAUSE_MS;
    this.at = now;
    if (!goesOn || this.place < this.steps.length - 1) return this.push(kind);
    this.size += this.area.value.length - last.value.length;
    Object.assign(last, this.step(kind));
  }

  /** Make a step of what was typed into a large text. */
  rest() {
    if (!this.timer) return;
    this.timer = clearTimeout(this.timer);
    this.push("typed");
  }

  push(kind) {
    const step = this.step(kind);
    this.steps.splice(this.place + 1, Infinity, step);
    this.size = this.steps.reduce((sum, { value }) => sum + value.length, 0);
    while (this.size > MOST_CHARACTERS && this.steps.length > 2) this.size -= this.steps.shift().value.length;
    this.place = this.steps.length - 1;
  }

  turn(by) {
    this.rest();
    const step = this.steps[this.place + by];
    if (!step) return;
    this.place += by;
    this.at = 0;
    this.area.value = step.value;
    this.area.setSelectionRange(step.start, step.end);
    this.changed();
  }
}

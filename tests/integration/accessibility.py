"""Measure how accessible a page is: axe-core for the rules of WCAG 2.2 A and AA, and own measures for the rest."""

from __future__ import annotations

from functools import cache
from pathlib import Path
from typing import Any

#: The smallest height of a target on a phone, in pixels.
TARGET_PIXELS = 44

#: The smallest contrast of the border of a control.
BORDER_CONTRAST = 3

_AXE = Path(__file__).with_name("axe") / "axe.min.js"

_RUN = """async () => {
  const only = ["wcag2a", "wcag2aa", "wcag21a", "wcag21aa", "wcag22aa"];
  const options = {runOnly: only, resultTypes: ["violations"], preload: false, rules: {"target-size": {enabled: true}}};
  const { violations } = await axe.run(document, options);
  const said = (id) => ({ target, failureSummary: why }) => `${id} ${target.join(" ")}: ${why}`;
  return violations.flatMap(({ id, nodes }) => nodes.map(said(id)));
}"""

#: The rows of a list on a phone stretch their button over themselves.
_SMALL = """(least) => [...document.querySelectorAll("a, button, select, summary, textarea, input, .choice")]
  .filter((each) => !["radio", "checkbox"].includes(each.type))
  .filter((each) => each.checkVisibility() && each.offsetWidth)
  .map((each) => [each, getComputedStyle(each, "::after").position === "absolute" ? each.closest(".row") : each])
  .filter(([, area]) => area.offsetHeight < least)
  .map(([each, area]) => `${each.outerHTML.slice(0, 90)} is ${area.offsetHeight} px high`)"""

_PALE = """(least) => {
  const part = (value) => ((value /= 255) <= 0.04045 ? value / 12.92 : ((value + 0.055) / 1.055) ** 2.4);
  const light = (colour) => {
    const [red, green, blue] = colour.match(/[\\d.]+/g).map(Number).map(part);
    return 0.2126 * red + 0.7152 * green + 0.0722 * blue;
  };
  const behind = (each) => {
    const { backgroundColor } = getComputedStyle(each);
    return backgroundColor === "rgba(0, 0, 0, 0)" && each.parentElement ? behind(each.parentElement) : backgroundColor;
  };
  const pale = [];
  for (const each of document.querySelectorAll("button, .button, select, input")) {
    const { borderTopWidth, borderTopColor } = getComputedStyle(each);
    if (!each.checkVisibility() || borderTopWidth === "0px" || each.type === "radio" || each.disabled) continue;
    const [one, two] = [light(borderTopColor), light(behind(each.parentElement))].sort((a, b) => b - a);
    const contrast = (one + 0.05) / (two + 0.05);
    if (contrast < least) pale.push(`${each.outerHTML.slice(0, 90)} has a border of ${contrast.toFixed(2)}:1`);
  }
  return pale;
}"""

_WIDE = """() => document.documentElement.scrollWidth > innerWidth
  ? [`the page is ${document.documentElement.scrollWidth} px wide`] : []"""


@cache
def _axe() -> str:
    return _AXE.read_text("utf-8")


def faults(page: Any, phone: bool) -> list[str]:
    """
    Return what a page does wrong, a sentence each.

    @param phone: Whether to measure the targets for a finger, too.
    """
    if not page.evaluate("'axe' in window"):
        page.evaluate(_axe())
    found: list[str] = page.evaluate(_RUN) + page.evaluate(_PALE, BORDER_CONTRAST) + page.evaluate(_WIDE)
    return found + (page.evaluate(_SMALL, TARGET_PIXELS) if phone else [])

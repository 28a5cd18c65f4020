"""The values of the settings of webhooks."""

from __future__ import annotations

from confd.interfaces.webhooks import EVENTS
from confd.runtime.addresses import fetchable
from confd.runtime.setting_types import names

#: URLs in C{WEBHOOK_URLS}, at most, and characters of C{WEBHOOK_SECRET}, at least.
MAX_WEBHOOKS, MIN_WEBHOOK_SECRET = 8, 16


def webhook_urls(text: str) -> tuple[str, ...]:
    """Parse at most 8 URLs of webhooks. An error never repeats one: many contain a token."""
    found = []
    for number, each in enumerate(names(text), 1):
        if "@" in each.partition("//")[2].partition("/")[0]:
            raise ValueError(f"URL number {number} must not contain credentials")
        try:
            found.append(fetchable(each))
        except ValueError as error:
            raise ValueError(f"URL number {number} {error}") from None
    if len(found) > MAX_WEBHOOKS:
        raise ValueError(f"must be at most {MAX_WEBHOOKS} URLs")
    return tuple(found)


def events(text: str) -> tuple[str, ...]:
    """Parse a comma-separated list of kinds of events of webhooks."""
    found = tuple(dict.fromkeys(names(text)))
    for each in found:
        if each not in EVENTS:
            raise ValueError(f"{each!r} is not one of {', '.join(EVENTS)}")
    return found

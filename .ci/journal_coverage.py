#!/usr/bin/env python3
"""Fails when the code names a Stripe operation or event type that the test run never met.

Usage: journal_coverage.py INVENTORY DIRECTORY

INVENTORY is what `cargo run --example inventory` prints:

    {"operations": ["POST /v1/checkout/sessions/{}/expire", ...], "events": ["invoice.paid", ...]}

DIRECTORY holds the journals that sandboxes wrote during the tests (*.jsonl): a request or an
event a line. Only those count that a service has used, not the ones of the sandbox's own tests.
"""

import json
import re
import sys
from pathlib import Path


def main() -> int:
    if len(sys.argv) != 3:
        print(__doc__, file=sys.stderr)
        return 2
    inventory = json.loads(Path(sys.argv[1]).read_text(encoding="utf-8"))
    requests, events = read_journals(Path(sys.argv[2]))
    missing = [
        f"operation {operation}"
        for operation in inventory["operations"]
        if not any(pattern(operation).fullmatch(request) for request in requests)
    ]
    missing += [f"event {name}" for name in inventory["events"] if name not in events]
    for name in missing:
        print(f"the tests never met {name}")
    total = len(inventory["operations"]) + len(inventory["events"])
    print(f"{total - len(missing)} of {total} operations and events met")
    # An empty inventory would pass whatever the code does.
    return 1 if missing or not total else 0


def read_journals(directory: Path) -> tuple[set[str], set[str]]:
    """What was done, and the events."""
    requests: set[str] = set()
    events: set[str] = set()
    for journal in directory.glob("*.jsonl"):
        with journal.open(encoding="utf-8") as lines:
            entries = [json.loads(line) for line in lines]
        ours = [entry for entry in entries if is_ours(entry)]
        if not ours:
            continue
        # A refused call, or one that was cut off, proves nothing.
        requests |= {
            f"{entry['method']} {entry['path']}" for entry in ours if entry.get("status", 599) < 400
        }
        events |= {entry["body"]["type"] for entry in entries if entry["kind"] == "event"}
    return requests, events


def is_ours(entry: dict) -> bool:
    """Whether the service made this request, and not a test that looks into the sandbox."""
    agent = entry.get("headers", {}).get("user-agent", "")
    return entry["kind"] == "request" and agent.startswith("dues/")


def pattern(operation: str) -> re.Pattern[str]:
    """`GET /v1/prices/{}` as an expression in which `{}` is any one segment."""
    return re.compile("[^/]+".join(re.escape(part) for part in re.split(r"\{[^}]*\}", operation)))


if __name__ == "__main__":
    sys.exit(main())

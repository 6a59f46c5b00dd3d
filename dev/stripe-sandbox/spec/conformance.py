#!/usr/bin/env python3
"""Hold the journals of a sandbox against Stripe's description, as it lies beside this file.

Usage: conformance.py JOURNAL...

A journal holds one JSON record a line: calls as {"kind": "request", "method", "path", "query", "headers",
"body", "status", "response"}, webhooks as {"kind": "event", "body"}. Of each call the parameters are checked
against table.json and the answer against objects.json; of each event the object and what has changed of it.

A call is checked whatever its answer was: who says something wrong on purpose keeps no journal. The sandbox
checks the same by itself, in Rust; this is a second reading of the description that shares no line with it, and
it reads whole journals of whatever version wrote them.

Prints a line for each finding, "FILE:LINE CALL: PLACE: WHAT", and the number of records. Exits with 1 if there
is a finding or nothing to check, with 2 if a file cannot be read.
"""

import json
import re
import sys
from pathlib import Path
from urllib.parse import unquote_plus

HERE = Path(__file__).resolve().parent
DEEPEST_EXPAND = 4
LAST_SECOND = 10**11  # what is above it was meant as milliseconds
METADATA = {"keys": 50, "name": 40, "value": 500}
ERROR_TYPES = {"api_error", "card_error", "idempotency_error", "invalid_request_error"}
# Form values that stand for another type, by the letter of the type.
FORMS = {"i": re.compile(r"-?\d{1,18}"), "t": re.compile(r"\d{1,11}"), "n": re.compile(r"-?\d+(\.\d+)?"),
         "b": re.compile(r"true|false"), "s": re.compile(r".*", re.S)}
DECIMAL = re.compile(r"-?\d+(\.\d+)?")


def load(name):
    return json.loads((HERE / name).read_text(encoding="utf-8"))


class Findings(list):
    def add(self, place, what):
        self.append((place or "-", what))


class Operations:
    """Which operation a call is, and what its parameters may be."""

    def __init__(self, table):
        self.table = table
        self.templates = [(name.split(" ")[0], name.split(" ")[1].split("/"), name) for name in table["operations"]]
        # A fixed segment wins over an id.
        self.templates.sort(key=lambda entry: entry[1].count("{}"))

    def find(self, method, path):
        given = path.split("/")
        for known_method, template, name in self.templates:
            if known_method == method and len(template) == len(given):
                if all(want == got or (want == "{}" and got) for want, got in zip(template, given)):
                    return name
        return None

    def check(self, name, text, findings):
        tree = decode(text, findings)
        self.hash(self.table["operations"][name], tree, "", findings)
        return tree

    def hash(self, schema, tree, place, findings):
        known = schema["p"]
        for key, value in tree.items():
            inner = f"{place}[{key}]" if place else key
            if key in known:
                self.value(known[key], value, inner, findings)
            else:
                findings.add(inner, "there is no such parameter")
        for key in schema.get("r", ()):
            if key not in tree:
                findings.add(f"{place}[{key}]" if place else key, "is required and missing")

    def value(self, schema, value, place, findings):
        if isinstance(schema, dict) and "x" in schema:
            # A hash is judged by the hash among the options, so that what is wrong inside is told.
            nested = [option for option in schema["x"] if is_nested(option) == isinstance(value, dict)]
            tries = [Findings() for _ in nested]
            for option, found in zip(nested, tries):
                self.value(option, value, place, found)
            findings.extend(min(tries, key=len, default=[(place, "is of no type that may stand here")]))
            return
        kind, detail = next(iter(schema.items())) if isinstance(schema, dict) else (schema, None)
        nested = isinstance(value, dict)
        if kind == "o":
            if nested:
                self.hash(self.table["types"][detail], value, place, findings)
            else:
                findings.add(place, "is a hash of parameters")
        elif kind == "a":
            if value == "":
                return  # how an empty array is sent
            if not nested or not all(key.isdecimal() for key in value):
                findings.add(place, "is an array")
                return
            for key, item in value.items():
                self.value(detail, item, f"{place}[{key}]", findings)
        elif kind == "m":
            if nested:
                if detail == "s":
                    metadata(value, place, findings)
                for key, item in value.items():
                    self.value(detail, item, f"{place}[{key}]", findings)
            elif value != "":
                findings.add(place, "is a map")
        elif nested:
            findings.add(place, "takes a single value")
        elif kind == "e":
            if value not in self.table["enums"][detail]:
                findings.add(place, f"{value!r} is none of its values")
        elif kind == "s" and detail is not None:
            if len(value) > detail:
                findings.add(place, f"has more than {detail} characters")
        elif not FORMS[kind].fullmatch(value):
            findings.add(place, f"{value!r} is not of its type")

    def expandable(self, answer, segments):
        """Whether a path leads to something that can be expanded."""
        levels, found = [answer], False
        for segment in segments:
            nodes = [fields[segment] for fields in levels if segment in fields]
            if not nodes:
                return False
            found = any("x" in node for node in nodes)
            levels = [node["f"] for node in nodes if "f" in node]
            levels += [self.table["expand"].get(name, {}) for node in nodes for name in node.get("r", ())]
        return found


def is_nested(schema):
    return isinstance(schema, dict) and next(iter(schema)) in ("o", "a", "m")


def decode(text, findings):
    """A form as nested dicts; 'a[]' takes the next free index."""
    tree = {}
    for pair in filter(None, text.split("&")):
        name, _, value = pair.partition("=")
        if re.search(r"%(?![0-9A-Fa-f]{2})", pair):
            findings.add(name, "is badly encoded")
            continue
        name, value = unquote_plus(name), unquote_plus(value)
        match = re.fullmatch(r"([^\[\]]+)((?:\[[^\[\]]*\])*)", name)
        if not match:
            findings.add(name, "has brackets that do not match")
            continue
        *path, last = [match[1], *re.findall(r"\[(.*?)\]", match[2])]
        level = tree
        for key, following in zip(path, [*path[1:], last]):
            if key == "":
                newest = level.get(str(len(level) - 1))
                begins = not isinstance(newest, dict) or following in newest
                key = str(len(level) if begins else len(level) - 1)
            level = level.setdefault(key, {})
            if not isinstance(level, dict):
                break
        if not isinstance(level, dict) or isinstance(level.get(last), dict):
            findings.add(name, "is given both as a value and as a hash")
            continue
        level[last or str(len(level))] = value
    return tree


def metadata(entries, place, findings):
    if len(entries) > METADATA["keys"]:
        findings.add(place, f"has more than {METADATA['keys']} keys")
    for name, value in entries.items():
        if len(name) > METADATA["name"] or "[" in name or "]" in name:
            findings.add(place, f"the key {name!r} is too long or has brackets")
        if isinstance(value, str) and len(value) > METADATA["value"]:
            findings.add(place, f"the value of {name!r} has more than {METADATA['value']} characters")


class Objects:
    """What answers and events may look like."""

    def __init__(self, described, exceptions):
        self.described = described
        self.exceptions = {(known["type"], known["key"], known["may_be"]) for known in exceptions}

    def answer(self, name, status, body, findings):
        if not isinstance(body, dict):
            findings.add("$", "the answer is no object")
        elif status >= 400:
            self.object("error", body, "$", findings)
            error = body.get("error")
            if not isinstance(error, dict) or error.get("type") not in ERROR_TYPES or not error.get("message"):
                findings.add("$.error", "has no known type or no message")
        elif name:
            self.value(self.described["answers"][name], body, "$", findings)

    def event(self, body, findings):
        if not isinstance(body, dict):
            findings.add("$", "the event is no object")
            return
        self.object("event", body, "$", findings)
        data = body.get("data")
        target = data.get("object") if isinstance(data, dict) else None
        resource = target.get("object") if isinstance(target, dict) else None
        name = self.described["resources"].get(resource) if isinstance(resource, str) else None
        if not resource:
            findings.add("$.data.object", "is no object of Stripe")
        elif name:
            for key in data.get("previous_attributes") or ():
                if key not in self.described["types"][name]["p"]:
                    findings.add("$.data.previous_attributes", f"{resource} has no key {key!r}")

    def value(self, schema, value, place, findings):
        if isinstance(schema, dict) and "0" in schema:
            if value is None:
                return
            schema = schema["0"]
        if isinstance(schema, dict) and "x" in schema:
            self.one_of(schema, value, place, findings)
            return
        kind, detail = next(iter(schema.items())) if isinstance(schema, dict) else (schema, None)
        whole = isinstance(value, int) and not isinstance(value, bool)
        if kind == "o":
            self.object(detail, value, place, findings)
        elif kind == "f" and isinstance(value, dict):
            name = self.described["resources"].get(value.get("object"))
            if name:  # nothing is known of it but what it says of itself
                self.object(name, value, place, findings)
        elif kind == "a" and isinstance(value, list):
            for at, item in enumerate(value):
                self.value(detail, item, f"{place}[{at}]", findings)
        elif kind == "m" and isinstance(value, dict):
            if detail == "s":
                metadata(value, place, findings)
            for key, item in value.items():
                self.value(detail, item, f"{place}.{key}", findings)
        elif kind == "e":
            if value not in self.described["enums"][detail]:
                findings.add(place, f"{show(value)} is none of its values")
        elif not (kind == "s" and isinstance(value, str) and len(value) <= (detail or len(value))
                  or kind == "d" and isinstance(value, str) and DECIMAL.fullmatch(value)
                  or kind == "b" and isinstance(value, bool)
                  or kind == "i" and whole
                  or kind == "t" and whole and 0 <= value < LAST_SECOND
                  or kind == "n" and (whole or isinstance(value, float))):
            findings.add(place, f"{show(value)} is not of its type")

    def one_of(self, schema, value, place, findings):
        resource = value.get("object") if isinstance(value, dict) else None
        if resource and resource in schema.get("w", ()):
            return
        best = None
        for option in schema["x"]:
            name = option.get("o") if isinstance(option, dict) else None
            found = Findings()
            self.value(option, value, place, found)
            if resource and name and self.described["types"][name].get("k") == resource:
                findings.extend(found)
                return
            if best is None or len(found) < len(best):
                best = found
        findings.extend(best)

    def object(self, name, value, place, findings):
        if not isinstance(value, dict):
            findings.add(place, f"{show(value)} is no {name}")
            return
        described = self.described["types"][name]
        for key, item in value.items():
            state = "null" if item is None else "other"
            if (name, key, state) in self.exceptions:
                continue
            if key in described["p"]:
                self.value(described["p"][key], item, f"{place}.{key}", findings)
            elif "l" not in described:
                findings.add(f"{place}.{key}", f"{name} has no such key")
        if value.get("deleted") is True:
            return
        for key in described["r"]:
            if key not in value and (name, key, "missing") not in self.exceptions:
                findings.add(f"{place}.{key}", f"{name} lacks this key")


def show(value):
    return {dict: "a hash", list: "an array"}.get(type(value)) or json.dumps(value, ensure_ascii=False)[:60]


class Checker:
    def __init__(self):
        self.operations = Operations(load("table.json"))
        self.objects = Objects(load("objects.json"), load("exceptions.json"))

    def record(self, record):
        """What a record is about, and what is wrong with it."""
        findings = Findings()
        kind = record.get("kind") if isinstance(record, dict) else None
        if kind == "event":
            body = record.get("body")
            self.objects.event(body, findings)
            return f"event {body.get('type') if isinstance(body, dict) else '?'}", findings
        if kind != "request":
            findings.add("", "is no record of a call or an event")
            return "?", findings
        method, path = str(record.get("method")), str(record.get("path"))
        self.call(record, self.operations.find(method, path), findings)
        return f"{method} {path}", findings

    def call(self, record, name, findings):
        texts = [record.get("query") or "", record.get("body") or ""]
        if name is None:
            findings.add("", "the description has no such operation")
        elif not all(isinstance(text, str) for text in texts):
            findings.add("", "query and body are encoded texts")
        else:
            tree = self.operations.check(name, "&".join(filter(None, texts)), findings)
            self.expand(name, tree.get("expand"), findings)
        status, response = record.get("status"), record.get("response")
        if status is None and response is None:
            return  # cut on purpose: only the request is known
        if not isinstance(status, int):
            findings.add("", f"{show(status)} is no status")
        else:
            self.objects.answer(name, status, response, findings)

    def expand(self, name, wanted, findings):
        answer = self.objects.described["answers"][name]
        described = self.objects.described["types"].get(answer.get("o"), {})
        root = self.operations.table["expand"].get(described.get("k"), {})
        if described.get("k") in ("list", "search_result"):
            items = described["p"]["data"]["a"].get("o")
            root = {"data": {"r": [self.objects.described["types"].get(items, {}).get("k")]}}
        for path in wanted.values() if isinstance(wanted, dict) else ():
            segments = path.split(".") if isinstance(path, str) else []
            if len(segments) > DEEPEST_EXPAND:
                findings.add("expand", f"{path} is deeper than {DEEPEST_EXPAND}")
            elif not self.operations.expandable(root, segments):
                findings.add("expand", f"{path} cannot be expanded")


def main(files):
    if not files:
        print(__doc__, file=sys.stderr)
        return 2
    checker, records, count = Checker(), 0, 0
    for file in files:
        with open(file, encoding="utf-8") as lines:
            for number, line in enumerate(lines, 1):
                records += 1
                try:
                    subject, findings = checker.record(json.loads(line))
                except ValueError:
                    subject, findings = "?", [("-", "is no JSON")]
                for place, what in findings:
                    print(f"{file}:{number} {subject}: {place}: {what}")
                count += len(findings)
    print(f"{records} records of {len(files)} journals checked against {checker.operations.table['version']}, "
          f"{count} findings")
    return 1 if count or not records else 0


if __name__ == "__main__":
    try:
        sys.exit(main(sys.argv[1:]))
    except OSError as problem:
        print(problem, file=sys.stderr)
        sys.exit(2)

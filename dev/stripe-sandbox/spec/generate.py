#!/usr/bin/env python3
"""Write table.json and objects.json: what Stripe's description says of what the sandbox models.

Usage: generate.py SPEC.json

SPEC.json is an OpenAPI description of Stripe's API; supplement.json beside this file adds what it lacks. Only facts are taken over: names, types, enums,
lengths, what may be null, and what may be expanded into what. Short keys keep the files small:

    "s" string, {"s": 200} string of at most 200 characters, "i" integer, "t" moment in seconds,
    "n" number, "d" decimal text, "b" boolean, {"e": "E1"} enum, {"a": T} array, {"m": T} map,
    {"o": "Name"} object, {"x": [T, ...]} one of several, "f" an object of which nothing is known;
    in an object {"p": its fields, "r": required ones}

table.json holds the parameters of each operation and, in "expand", {"r": [...]} names resources,
{"f": ...} nested fields, {"x": 1} what can be expanded.

objects.json holds the "answers" of each operation, the "types" of all objects in them, with
{"k": the value of their field "object", "l": 1 if only some fields are listed}, and "resources",
which leads from a value of "object" to its type. A field that may be null is {"0": T}; "w" beside
a type names objects without a description that may stand there as well.
"""

import json
import re
import sys
from pathlib import Path

OPERATIONS = """
POST GET /v1/customers
GET POST DELETE /v1/customers/{}
GET /v1/customers/search
GET /v1/customers/{}/payment_methods
POST GET /v1/products
GET POST DELETE /v1/products/{}
POST GET /v1/prices
GET POST /v1/prices/{}
POST GET /v1/coupons
GET POST DELETE /v1/coupons/{}
POST GET /v1/promotion_codes
GET POST /v1/promotion_codes/{}
POST GET /v1/checkout/sessions
GET POST /v1/checkout/sessions/{}
POST /v1/checkout/sessions/{}/expire
GET /v1/checkout/sessions/{}/line_items
POST GET /v1/subscriptions
GET POST DELETE /v1/subscriptions/{}
POST /v1/subscriptions/{}/pause
POST /v1/subscriptions/{}/resume
GET /v1/subscription_items
GET /v1/invoices
GET POST /v1/invoices/{}
POST /v1/invoices/create_preview
POST /v1/invoices/{}/finalize
POST /v1/invoices/{}/pay
POST /v1/invoices/{}/void
POST /v1/invoices/{}/mark_uncollectible
GET /v1/invoices/{}/lines
GET /v1/invoice_payments
GET /v1/invoice_payments/{}
GET /v1/payment_intents
GET POST /v1/payment_intents/{}
POST /v1/payment_intents/{}/cancel
GET /v1/charges
GET POST /v1/charges/{}
POST GET /v1/refunds
GET POST /v1/refunds/{}
POST /v1/refunds/{}/cancel
GET /v1/events
GET /v1/events/{}
POST GET /v1/webhook_endpoints
GET POST DELETE /v1/webhook_endpoints/{}
POST GET /v1/billing_portal/configurations
GET POST /v1/billing_portal/configurations/{}
POST /v1/billing_portal/sessions
GET /v1/disputes
GET POST /v1/disputes/{}
POST /v1/disputes/{}/close
POST GET /v1/credit_notes
GET POST /v1/credit_notes/{}
POST /v1/credit_notes/{}/void
GET /v1/credit_notes/{}/lines
GET /v1/balance_transactions
GET /v1/balance_transactions/{}
POST GET /v1/test_helpers/test_clocks
GET DELETE /v1/test_helpers/test_clocks/{}
POST /v1/test_helpers/test_clocks/{}/advance
"""
# What no operation answers with by itself.
ALSO = ["event", "error", "invoiceitem"]
# Needed in practice, though the description calls them optional.
REQUIRED = {"POST /v1/checkout/sessions": ["mode"], "POST /v1/billing_portal/sessions": ["customer"]}
# Returned only when expanded, though the description does not mark them.
INCLUDABLE = {"applies_to", "breakdown", "confirmation_secret", "currency_options", "taxes", "discounts", "tiers"}

# Objects that only hold others.
LISTS = ("list", "search_result")


class Table:
    """Collects the types that the modelled operations need."""

    def __init__(self, document):
        self.schemas = document["components"]["schemas"]
        self.types, self.enums, self.expand = {}, {}, {}

    def resolve(self, schema):
        if "$ref" in schema:
            name = schema["$ref"].rpartition("/")[2]
            return name, self.schemas[name]
        return None, schema

    def parameter(self, schema):
        name, target = self.resolve(schema)
        if "anyOf" in target:
            options = []
            for option in map(self.parameter, target["anyOf"]):
                if option not in options:
                    options.append(option)
            return options[0] if len(options) == 1 else {"x": options}
        if "enum" in target:
            values = target["enum"]
            key = next((k for k, v in self.enums.items() if v == values), f"E{len(self.enums)}")
            self.enums[key] = values
            return {"e": key}
        kind = target.get("type")
        if kind == "array":
            return {"a": self.parameter(target["items"])}
        if kind == "object":
            if target.get("additionalProperties"):
                return {"m": self.parameter(target["additionalProperties"])}
            key = (name or "").removeprefix("param:")
            if key not in self.types:
                self.types[key] = {}
                self.types[key] = self.object(target.get("properties", {}), target.get("required", ()))
            return {"o": key}
        if kind == "string":
            return {"s": target["maxLength"]} if "maxLength" in target else "s"
        return {"integer": "i", "number": "n", "boolean": "b"}.get(kind, "s")

    def object(self, properties, required):
        result = {"p": {name: self.parameter(item) for name, item in properties.items()}}
        if required:
            result["r"] = sorted(required)
        return result

    def operation(self, name, raw):
        query = [item for item in raw.get("parameters", ()) if item["in"] == "query"]
        properties = {item["name"]: item["schema"] for item in query}
        required = {item["name"] for item in query if item["required"]}
        for content in raw.get("requestBody", {}).get("content", {}).values():
            _, body = self.resolve(content["schema"])
            properties |= body["properties"]
            required |= set(body.get("required", ()))
        return self.object(properties, required | set(REQUIRED.get(name, ())))

    def fields(self, schema, depth=0):
        """What can be expanded below an object."""
        found = {}
        expandable = schema.get("x-expandableFields", ())
        for name, raw in schema.get("properties", {}).items():
            node = self.field(raw, depth)
            if name in expandable or name in INCLUDABLE or self.is_reference(raw):
                node["x"] = 1
            if node:
                found[name] = node
        return found

    def is_reference(self, raw):
        _, target = self.resolve(raw)
        return any(key in part for part in (raw, target, target.get("items", {}))
                   for key in ("x-expandsTo", "x-expansionResources"))

    def field(self, raw, depth):
        name, target = self.resolve(raw)
        node, options = {}, target.get("anyOf", [target])
        for option in options:
            option_name, schema = self.resolve(option)
            if schema.get("type") == "array":
                option_name, schema = self.resolve(schema["items"])
                for inner in schema.get("anyOf", ()):
                    if "$ref" in inner:
                        option_name, schema = self.resolve(inner)
            option_name = option_name or (name if target is schema else None)
            if schema.get("type") != "object":
                continue
            resource = schema.get("properties", {}).get("object", {}).get("enum", [None])[0]
            if resource and resource not in LISTS:
                node.setdefault("r", []).append(resource)
                self.resource(resource, schema)
            elif depth < 4:
                nested = self.fields(schema, depth + 1)
                if nested:
                    node.setdefault("f", {}).update(nested)
        return node

    def resource(self, name, schema):
        if name not in self.expand:
            self.expand[name] = {}
            self.expand[name] = self.fields(schema)


class Objects:
    """Collects the types of all objects that answers and events may hold."""

    # Where a card may stand, these may too.
    OTHER_SOURCES = ["account", "bank_account", "source"]
    # Of these only some fields are described.
    PARTIAL = re.compile(r"(^|[._])payment_method(_options|_details)?$")
    # Not every moment has a format; the others are told by their descriptions.
    MOMENT = re.compile(r"timestamp|unix epoch", re.I)
    SCALARS = {"string": "s", "integer": "i", "number": "n", "boolean": "b"}

    def __init__(self, document):
        self.schemas = document["components"]["schemas"]
        self.types, self.enums, self.resources = {}, {}, {}

    def type(self, schema, name=None):
        """A type with what its field says of it: null, and objects without a description."""
        found = self.bare(schema, name)
        target = schema if "$ref" not in schema else {}
        others = list(target.get("x-expandsTo", ()))
        if {"$ref": "#/components/schemas/card"} in target.get("anyOf", ()):
            others += self.OTHER_SOURCES
        if others:
            found = {"x": [found] if not isinstance(found, dict) or "x" not in found else found["x"], "w": sorted(others)}
        return {"0": found} if target.get("nullable") else found

    def bare(self, schema, name=None):
        if "$ref" in schema:
            name = schema["$ref"].rpartition("/")[2]
            schema = self.schemas[name]
        if "anyOf" in schema:
            options = []
            for option in schema["anyOf"]:
                found = self.bare(option)
                if found not in options:
                    options.append(found)
            return options[0] if len(options) == 1 else {"x": options}
        if "enum" in schema:
            key = next((k for k, v in self.enums.items() if v == schema["enum"]), f"E{len(self.enums)}")
            self.enums[key] = schema["enum"]
            return {"e": key}
        kind = schema.get("type")
        if kind == "array":
            return {"a": self.type(schema["items"], name and f"{name}[]")}
        if kind == "object":
            return self.object(schema, name)
        if kind == "string" and "maxLength" in schema:
            return {"s": schema["maxLength"]}
        if kind == "integer" and (self.MOMENT.search(schema.get("description", ""))):
            return "t"
        return {"unix-time": "t", "decimal": "d"}.get(schema.get("format"), self.SCALARS.get(kind, "f"))

    def object(self, schema, name):
        if schema.get("additionalProperties"):
            return {"m": self.type(schema["additionalProperties"])}
        if not schema.get("properties"):
            return "f"
        resource = schema["properties"].get("object", {}).get("enum", [None])[0]
        if resource in LISTS:
            data = schema["properties"]["data"]["items"]
            kind = "list" if resource == "list" else "search"
            name = f"{kind} of {data['$ref'].rpartition('/')[2]}" if "$ref" in data else name
        if name not in self.types:
            found = self.types[name] = {}
            found["p"] = {key: self.type(item, f"{name}.{key}") for key, item in schema["properties"].items()}
            found["r"] = sorted(schema.get("required", ()))
            if resource:
                found["k"] = resource
            if self.PARTIAL.search(name):
                found["l"] = 1
            if resource and resource not in LISTS:
                self.resources[resource] = name
        return {"o": name}


def main():
    with open(sys.argv[1], encoding="utf-8") as file:
        document = json.load(file)
    supplement = json.loads(Path(__file__).with_name("supplement.json").read_text(encoding="utf-8"))
    document["components"]["schemas"] |= supplement["schemas"]
    for path, item in document["paths"].items():
        if path.endswith("/search"):
            answer = item["get"]["responses"]["200"]["content"]["application/json"]["schema"]
            answer["properties"] |= supplement["search_result"]
    table, objects = Table(document), Objects(document)
    paths = {re.sub(r"\{[^}]*\}", "{}", path): item for path, item in document["paths"].items()}
    operations, answers = {}, {}
    for line in OPERATIONS.split("\n"):
        *methods, path = line.split() or [""]
        for method in methods:
            name = f"{method} {path}"
            raw = paths[path][method.lower()]
            operations[name] = table.operation(name, raw)
            answer = raw["responses"]["200"]["content"]["application/json"]["schema"]
            table.field(answer, 0)
            answers[name] = objects.type(answer, f"answer to {name}")
    for name in ALSO:
        objects.type({"$ref": f"#/components/schemas/{name}"})
    version = document["info"]["version"]
    write("table.json", {"version": version, "operations": operations, "elsewhere": elsewhere(paths, operations), "types": table.types, "enums": table.enums,
                         "expand": table.expand})
    write("objects.json", {"version": version, "answers": answers, "types": objects.types, "enums": objects.enums,
                           "resources": objects.resources})


def elsewhere(paths, operations):
    """Fixed paths that are not modelled and would be taken for an object of a modelled one, by method."""
    found = {}
    for path in sorted(paths):
        for method in paths[path]:
            template = re.sub(r"[^/]+$", "{}", path)
            name = f"{method.upper()} {template}"
            if "{}" not in path and name in operations and f"{method.upper()} {path}" not in operations:
                found.setdefault(method.upper(), []).append(path)
    return found


def write(name, content):
    text = json.dumps(content, ensure_ascii=False, separators=(",", ":"), sort_keys=True)
    Path(__file__).with_name(name).write_text(text + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()

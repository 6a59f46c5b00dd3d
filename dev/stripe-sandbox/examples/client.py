#!/usr/bin/env python3
"""Buy something at a running sandbox, in plain Python: no package, no key, no network.

Usage: client.py [SANDBOX_URL [LOOKUP_KEY]]

What any integration does: listen for webhooks, open a checkout session, send the buyer to its page (here the
control API pays in her place), and believe nothing but a webhook whose signature is right.
"""

import hashlib
import hmac
import json
import queue
import sys
import threading
import time
from http.server import BaseHTTPRequestHandler, HTTPServer
from urllib.parse import urlencode
from urllib.request import Request, urlopen

SANDBOX = sys.argv[1] if len(sys.argv) > 1 else "http://127.0.0.1:12111"
LOOKUP_KEY = sys.argv[2] if len(sys.argv) > 2 else "membership_annual"
OLDEST_SIGNATURE_S = 300


def stripe(method, path, **params):
    """A call of Stripe's API; parameters with brackets are given as {"a[b]": value}."""
    form = urlencode(params.pop("form", {}) | params)
    url = SANDBOX + path + (f"?{form}" if method == "GET" and form else "")
    call = Request(url, form.encode() if method == "POST" else None, method=method)
    call.add_header("Authorization", "Bearer sk_test_sandbox")
    call.add_header("Stripe-Version", "2026-10-28.endive")
    with urlopen(call, timeout=10) as answer:
        return json.load(answer)


def control(path, **body):
    """A call of the sandbox's own API."""
    call = Request(f"{SANDBOX}/_sandbox/{path}", json.dumps(body).encode(), method="POST")
    with urlopen(call, timeout=30) as answer:
        return json.load(answer)


def is_genuine(header, body, secret):
    """https://docs.stripe.com/webhooks#verify-manually, over the bytes as they came."""
    parts = [part.partition("=")[::2] for part in header.split(",")]
    at = next((value for name, value in parts if name == "t"), "0")
    expected = hmac.new(secret.encode(), f"{at}.".encode() + body, hashlib.sha256).hexdigest()
    fresh = abs(time.time() - int(at)) < OLDEST_SIGNATURE_S
    # A rolled secret gives two signatures; one that fits is enough.
    return fresh and any(name == "v1" and hmac.compare_digest(value, expected) for name, value in parts)


def listen(received):
    """An endpoint that answers at once and leaves the work to whoever reads the queue."""

    class Endpoint(BaseHTTPRequestHandler):
        def do_POST(self):
            body = self.rfile.read(int(self.headers["Content-Length"]))
            received.put((self.headers["Stripe-Signature"], body))
            self.send_response(200)
            self.end_headers()

        def log_message(self, *_):
            pass

    server = HTTPServer(("127.0.0.1", 0), Endpoint)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    return f"http://127.0.0.1:{server.server_port}/webhooks"


def main():
    received = queue.Queue()
    endpoint = stripe("POST", "/v1/webhook_endpoints", url=listen(received),
                      form={"enabled_events[]": "checkout.session.completed"})
    prices = stripe("GET", "/v1/prices", form={"lookup_keys[]": LOOKUP_KEY})["data"]
    if not prices:
        sys.exit(f"the catalogue has no price with the lookup key {LOOKUP_KEY}")
    session = stripe("POST", "/v1/checkout/sessions",
                     mode="subscription" if prices[0]["recurring"] else "payment",
                     client_reference_id="order-1", success_url="https://shop.example/thanks",
                     form={"line_items[0][price]": prices[0]["id"], "line_items[0][quantity]": 1})
    print(f"opened   {session['url']}")
    paid = control(f"checkout/{session['id']}/pay", card="4242424242424242", email="buyer@example.com")
    print(f"paid     the buyer returns to {paid['redirect_url']}")
    signature, body = received.get(timeout=10)
    if not is_genuine(signature, body, endpoint["secret"]):
        sys.exit("the webhook is not from the sandbox")
    if is_genuine(signature, body.replace(b"order-1", b"order-2"), endpoint["secret"]):
        sys.exit("a forged webhook was believed")
    event = json.loads(body)
    bought = event["data"]["object"]
    print(f"verified {event['type']} of {bought['client_reference_id']}")
    print(f"bought   {bought['amount_total']} {bought['currency']}, {bought['payment_status']}")


if __name__ == "__main__":
    main()

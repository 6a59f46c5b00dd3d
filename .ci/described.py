"""Holds the running service against its own description: schemathesis makes up requests, good and bad, for every route of
/openapi.json and looks for answers that the description does not tell.

    described.py DEMO OUT        DEMO is the built example, OUT a directory for its data and the report
"""

import json
import os
import re
import shutil
import subprocess
import sys
import threading
import time
import urllib.request

# What the answer is held against. That every wrong request is refused can't be asked of a service that reads its rows
# first, and what a header may not say is not in the description.
CHECKS = "not_a_server_error,status_code_conformance,content_type_conformance,response_headers_conformance,response_schema_conformance"
# Bounded: the whole takes a minute.
EXAMPLES = "25"
SECONDS = "60"
# The demo has so many seconds to say that it runs, in these words.
PATIENCE = 120
END = "Ctrl-C stops everything"
# The subscription that every second made-up id gives way to, in schemathesis' own process.
REAL = "DESCRIBED_SUBSCRIPTION"

if REAL in os.environ:
    import schemathesis

    @schemathesis.hook
    def map_path_parameters(_context, parameters):
        made_up = (parameters or {}).get("id")
        if made_up is not None and sum(map(ord, str(made_up))) % 2:
            return parameters | {"id": os.environ[REAL]}
        return parameters


def call(url, body=None, token=None):
    headers = {"Content-Type": "application/json"} | ({"Authorization": f"Bearer {token}"} if token else {})
    request = urllib.request.Request(url, None if body is None else json.dumps(body).encode(), headers)
    with urllib.request.urlopen(request, timeout=40) as answer:
        return json.load(answer)


def text_of(url):
    with urllib.request.urlopen(url, timeout=40) as answer:
        return answer.read().decode()


def bought(service, sandbox, token):
    """A membership that was paid; its id."""
    opened = call(f"{service}/v1/subscriptions", {"plan": "membership-annual"}, token)
    session = re.search(r"cs_test_\w+", opened["checkout"]["url"]).group()
    call(f"{sandbox}/_sandbox/checkout/{session}/pay", {"card": "4242424242424242"})
    of_it = f"{service}/v1/subscriptions/{opened['subscriptions'][0]['id']}"
    until = time.monotonic() + 30
    while call(of_it, token=token)["status"] != "ACTIVE":
        if time.monotonic() > until:
            sys.exit("what was paid does not become active")
        time.sleep(0.1)
    return opened["subscriptions"][0]["id"]


def main() -> int:
    demo, out = sys.argv[1], os.path.abspath(sys.argv[2])
    data = os.path.join(out, "described")
    shutil.rmtree(data, ignore_errors=True)
    os.makedirs(data)
    running = subprocess.Popen(
        [demo, "--dir", data, "--port", "27310", "--empty", "--set", "HTTP__MEMBER_REQUESTS_PER_MINUTE=100000"],
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )
    try:
        said = ""
        overdue = threading.Timer(PATIENCE, running.kill)
        overdue.start()
        for line in running.stdout:
            said += line
            if END in said:
                break
        else:
            print(said)
            return 1
        overdue.cancel()
        # Whatever it says from now on is read, so that it never waits for us.
        threading.Thread(target=running.stdout.read, daemon=True).start()
        page = re.search(r"^Open +(http://[^/\s]+)", said, re.MULTILINE).group(1)
        config = call(f"{page}/config.json")
        service = config["api_base"]
        # An operator's, who buys as well: nothing is closed to her.
        token = re.search(r'data-user="operator-grace">([^<]+)<', text_of(f"{page}/start")).group(1)
        links = {link["text"]: link["href"] for link in config["links"]}
        sandbox = links["Payments sandbox"].rstrip("/")
        here = os.path.dirname(os.path.abspath(__file__))
        environment = os.environ | {
            REAL: bought(service, sandbox, token),
            "SCHEMATHESIS_HOOKS": "described",
            "PYTHONDONTWRITEBYTECODE": "1",
            "PYTHONPATH": os.pathsep.join([here, os.environ.get("PYTHONPATH", "")]),
        }
        return subprocess.call(
            [
                sys.executable, "-m", "schemathesis.cli", "run", f"{service}/openapi.json",
                "--header", f"Authorization: Bearer {token}",
                "--checks", CHECKS,
                "--phases", "examples,coverage,fuzzing",
                "--max-examples", EXAMPLES,
                "--max-time", SECONDS,
                "--request-timeout", "40",
                # The same in every run: whoever breaks it sees it, and nobody else.
                "--generation-deterministic",
                "--no-color",
                "--continue-on-failure",
            ],
            cwd=data,
            env=environment,
        )
    finally:
        running.terminate()
        running.wait(timeout=30)


if __name__ == "__main__":
    sys.exit(main())

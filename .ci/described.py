"""Holds the running service against its own description: schemathesis makes up requests, good and bad, for every route of
/openapi.json and looks for answers that the description does not tell.

    described.py DEMO OUT        DEMO is the built example, OUT a directory for its data and the report
"""

import os
import re
import shutil
import subprocess
import sys
import threading

# What the answer is held against. That every wrong request is refused can't be asked of a service that reads its rows
# first, and what a header may not say is not in the description.
CHECKS = "not_a_server_error,status_code_conformance,content_type_conformance,response_headers_conformance,response_schema_conformance"
# Bounded: the whole takes a minute or two.
EXAMPLES = "25"
SECONDS = "90"


def main() -> int:
    demo, out = sys.argv[1], os.path.abspath(sys.argv[2])
    data = os.path.join(out, "described")
    shutil.rmtree(data, ignore_errors=True)
    os.makedirs(data)
    running = subprocess.Popen(
        [demo, "--dir", data, "--port", "27310", "--set", "HTTP__MEMBER_REQUESTS_PER_MINUTE=100000"],
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )
    try:
        said = ""
        for line in running.stdout:
            said += line
            if "Ctrl-C stops everything" in said:
                break
        else:
            print(said)
            return 1
        # Whatever it says from now on is read, so that it never waits for us.
        threading.Thread(target=running.stdout.read, daemon=True).start()
        service = re.search(r"(http:\S+)/docs", said).group(1)
        token = re.search(r"^(ey\S+)$", said, re.MULTILINE).group(1)
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
        )
    finally:
        running.terminate()
        running.wait(timeout=30)


if __name__ == "__main__":
    sys.exit(main())

"""Runs all checks of scim2-tester against a server, and prints what they found as JSON."""

import json
import sys

from httpx2 import Client
from scim2_client.engines.httpx2 import SyncSCIMClient
from scim2_tester import check_server

base, token = sys.argv[1:3]
headers = {"Authorization": f"Bearer {token}"}
with Client(base_url=base, headers=headers, timeout=30) as http:
    results = check_server(SyncSCIMClient(http))
print(
    json.dumps(
        [
            {"status": result.status.name, "title": result.title, "reason": result.reason, "type": result.resource_type}
            for result in results
        ]
    )
)

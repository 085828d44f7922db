"""Which App permission each kind of request needs; `app.yml` asks for exactly their union.

Source: GitHub REST API documentation, "Permissions required for GitHub Apps".
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

Permissions = Mapping[str, str]

READ_REPOSITORY: Final = {"metadata": "read"}
READ_CONTENTS: Final = {"contents": "read"}
WRITE_CONTENTS: Final = {"contents": "write"}
READ_PULL_REQUESTS: Final = {"pull_requests": "read"}
READ_COMMIT_PULL_REQUESTS: Final = {"contents": "read", "pull_requests": "read"}
WRITE_PULL_REQUESTS: Final = {"pull_requests": "write"}
MERGE: Final = {"contents": "write", "pull_requests": "write"}
WRITE_CHECKS: Final = {"checks": "write"}
WRITE_DEPLOYMENTS: Final = {"deployments": "write"}
READ_MEMBERS: Final = {"members": "read"}
READ_ATTESTATIONS: Final = {"attestations": "read"}

ALL: Final = (
    READ_REPOSITORY,
    READ_CONTENTS,
    WRITE_CONTENTS,
    READ_PULL_REQUESTS,
    READ_COMMIT_PULL_REQUESTS,
    WRITE_PULL_REQUESTS,
    MERGE,
    WRITE_CHECKS,
    WRITE_DEPLOYMENTS,
    READ_MEMBERS,
    READ_ATTESTATIONS,
)

"""The contract itself: what it finds, and the examples that it hands out."""

from __future__ import annotations

import pytest

from tests.contract import published
from tests.contract.validator import Contract, Exchange


@pytest.fixture
def contract() -> Contract:
    published.required()
    found = published.contract()
    assert found is not None
    return found


def exchange(**changes: object) -> Exchange:
    usual: dict[str, object] = {
        "method": "POST",
        "path": "/repos/acme/shop/git/refs",
        "template": "/repos/{owner}/{repo}/git/refs",
        "query": {},
        "sent": {"ref": "refs/heads/x", "sha": "0" * 40},
        "status": 404,
        "received": {"message": "Not Found"},
    }
    return Exchange(**(usual | changes))  # type: ignore[arg-type]  # fields by name


def test_a_right_exchange_has_no_defect(contract: Contract) -> None:
    assert contract.check_exchange(exchange()) == []


@pytest.mark.parametrize(
    ("changes", "defect"),
    [
        ({"sent": {"ref": "refs/heads/x", "sha": "0", "forse": True}}, "unknown key forse"),
        ({"sent": {"ref": "refs/heads/x"}}, '"sha" is a required property'),
        ({"query": {"perpage": "3"}}, "unknown query parameter perpage"),
        ({"status": 201, "received": {"ref": "refs/heads/x"}}, '"node_id" is a required property'),
        ({"status": 418}, "this status is not documented"),
        ({"template": None}, "no such operation"),
    ],
)
def test_a_wrong_exchange_is_found(
    contract: Contract, changes: dict[str, object], defect: str
) -> None:
    assert any(defect in found for found in contract.check_exchange(exchange(**changes)))


def test_a_wrong_webhook_is_found(contract: Contract) -> None:
    assert contract.check_webhook("push", {"ref": "refs/heads/main"})
    assert contract.check_webhook("pull_request", {"action": "exploded"}) == [
        "webhook pull_request exploded: there is no such event"
    ]


@pytest.mark.parametrize(
    ("document", "variables", "defects"),
    [
        ("{ viewer { login } }", {}, 0),
        ("{ viewer { logn } }", {}, 1),
        ("{ viewer {", {}, 1),
        ("query($id: ID!) { node(id: $id) { id } }", {"id": {}}, 1),
    ],
)
def test_graphql_documents_and_variables_are_checked(
    contract: Contract, document: str, variables: dict[str, object], defects: int
) -> None:
    assert len(contract.check_graphql(document, variables)) == defects


def test_graphql_data_is_checked(contract: Contract) -> None:
    document = "{ viewer { login isHireable } }"
    right = {"viewer": {"login": "rita", "isHireable": False}}
    wrong = {"viewer": {"login": None, "isHireable": False}}

    assert contract.check_graphql(document, {}, right) == []
    assert contract.check_graphql(document, {}, wrong) == [
        "GraphQL: Cannot return null for non-nullable field User.login."
    ]


def test_there_are_all_published_example_payloads() -> None:
    examples = published.examples()

    assert len(examples) == 329
    assert {"push", "pull_request", "check_run"} <= {event for event, _ in examples}

"""The OpenAPI document is true: schemathesis asks what it allows and what it does not, and holds the answers to it."""

from pathlib import Path

import pytest
import schemathesis
from hypothesis import HealthCheck, given, settings
from schemathesis import GenerationMode
from schemathesis.checks import not_a_server_error
from schemathesis.specs.openapi.checks import (
    content_type_conformance,
    negative_data_rejection,
    response_schema_conformance,
    status_code_conformance,
)

from serving.live import Live, serving

CHECKS = [
    not_a_server_error,
    status_code_conformance,
    content_type_conformance,
    response_schema_conformance,
    negative_data_rejection,
]


@pytest.fixture(scope="module")
def little(served_runs: Path):
    """A server that writes little, whatever it is asked for."""
    with serving([served_runs / "poem"], max_new_tokens=64, time_limit=20) as live:
        yield live


PATHS = [
    *("/v1/models", "/v1/models/{model}", "/v1/completions", "/v1/chat/completions"),
    *("/v1/tokenize", "/v1/score", "/health", "/ready", "/metrics"),
]


WITH_BODY = ["/v1/completions", "/v1/chat/completions", "/v1/tokenize", "/v1/score"]


@pytest.fixture(scope="module")
def schema(little: Live):
    return schemathesis.openapi.from_url(f"{little.address}/openapi.json")


def hold(schema, path: str, mode: GenerationMode, examples: int) -> None:
    """Ask a route for what its schema allows, of a model that there is, or for what it does not allow."""
    (operation,) = schema[path].values()

    @given(operation.as_strategy(generation_mode=mode))
    @settings(
        max_examples=examples,
        deadline=None,
        derandomize=True,
        database=None,
        suppress_health_check=[HealthCheck.too_slow, HealthCheck.filter_too_much],
    )
    def holds(case: schemathesis.Case) -> None:
        if mode == GenerationMode.POSITIVE and isinstance(case.body, dict):
            case.body |= {"model": "poem"}
        case.call_and_validate(checks=CHECKS)

    holds()


@pytest.mark.parametrize("path", PATHS)
def test_what_the_schema_allows(schema, path: str):
    hold(schema, path, GenerationMode.POSITIVE, 12)


@pytest.mark.parametrize("path", [path for path in PATHS if path in WITH_BODY])
def test_what_the_schema_does_not_allow(schema, path: str):
    hold(schema, path, GenerationMode.NEGATIVE, 12)


@pytest.mark.slow
@pytest.mark.parametrize("path", PATHS)
def test_many_of_both(schema, path: str):
    hold(schema, path, GenerationMode.POSITIVE, 200)
    if path in WITH_BODY:
        hold(schema, path, GenerationMode.NEGATIVE, 200)


def test_every_route_is_told_of_with_an_example(little: Live):
    document = little.ask("GET", "/openapi.json").json
    assert list(document["paths"]) == PATHS
    for path in document["paths"].values():
        for operation in path.values():
            assert operation["summary"]
            assert operation["description"]
            assert "4XX" in operation["responses"]
            assert "422" not in operation["responses"]
            for content in operation.get("requestBody", {}).get("content", {}).values():
                name = content["schema"]["$ref"].rpartition("/")[2]
                example = document["components"]["schemas"][name]["examples"][0]
                assert example["model"] == "MODEL"

"""Every endpoint, fuzzed from the OpenAPI description: no fault, no undocumented answer, OpenAI's errors only."""

import pytest
import schemathesis
from hypothesis import HealthCheck, given, settings
from schemathesis.checks import not_a_server_error
from schemathesis.specs.openapi.checks import content_type_conformance, status_code_conformance

from tests.support import patient

ENDPOINTS = (
    *((f"/v1/audio/{kind}", "POST") for kind in ("transcriptions", "translations", "alignments", "peaks")),
    ("/v1/models", "GET"),
    *(("/v1/models/{id}", method) for method in ("GET", "POST", "DELETE")),
    *((path, "GET") for path in ("/health", "/ready", "/metrics")),
    *((f"/v1/realtime/{kind}", "POST") for kind in ("client_secrets", "transcription_sessions")),
)
CHECKS = [not_a_server_error, status_code_conformance, content_type_conformance]


@pytest.fixture(scope="module")
def description(server):
    return schemathesis.openapi.from_url(f"{server.url}/openapi.json", timeout=patient.SECONDS)


def test_every_endpoint_is_fuzzed(description):
    described = {(operation.ok().path, operation.ok().method.upper()) for operation in description.get_all_operations()}
    assert described == set(ENDPOINTS)


@pytest.mark.parametrize(("path", "method"), ENDPOINTS)
def test_endpoints(server, description, path, method):
    @settings(max_examples=20, deadline=None, suppress_health_check=list(HealthCheck), derandomize=True, database=None)
    @given(case=description[path][method].as_strategy())
    def fuzz(case):
        response = case.call(timeout=patient.SECONDS)
        case.validate_response(response, checks=CHECKS)
        assert "Traceback" not in response.text
        if response.status_code >= 400:
            assert set(response.json()["error"]) == {"message", "type", "param", "code"}

    fuzz()
    assert server.post().status_code == 200

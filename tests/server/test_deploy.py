"""The files for deployment name settings that exist, and keep to what the server promises."""

import configparser
import re
from pathlib import Path
from typing import Any, cast

import pytest

from whisper_max.errors import OptionError
from whisper_max.server.settings import Settings, read_environment

DEPLOY = Path(__file__).resolve().parents[2] / "deploy"
GRACE = Settings().grace


class Repeated(dict):
    """Values of a unit's keys, which may come more than once."""

    def __setitem__(self, key, value):
        super().__setitem__(key, [*self[key], *value] if key in self and isinstance(value, list) else value)


@pytest.fixture(scope="module")
def unit():
    parser = configparser.RawConfigParser(strict=False, dict_type=Repeated, comment_prefixes=("#",))
    parser.optionxform = str  # type: ignore[method-assign, assignment]
    parser.read(DEPLOY / "whisper_max.service")
    return {name: {key: value.split("\n") for key, value in parser[name].items()} for name in parser.sections()}


@pytest.fixture(scope="module")
def service():
    yaml = pytest.importorskip("yaml", reason="PyYAML is not installed")
    return yaml.safe_load((DEPLOY / "compose.yaml").read_text())["services"]["whisper_max"]


@pytest.fixture(scope="module")
def container():
    """(instruction, rest) of each line of the last stage."""
    text = (DEPLOY / "Containerfile").read_text().replace("\\\n", " ")
    lines = [line.split(maxsplit=1) for line in text.splitlines() if line and not line.startswith("#")]
    last = max(i for i, (name, _) in enumerate(lines) if name == "FROM")
    return lines[last:]


def settings_named(text):
    return set(re.findall(r"WHISPER_MAX_[A-Z_]+", text))


@pytest.mark.parametrize("name", ["whisper_max.service", "compose.yaml", "Containerfile"])
def test_every_variable_is_one(name):
    fields = {f"WHISPER_MAX_{field.upper()}" for field in Settings.__dataclass_fields__}
    known = fields | {"WHISPER_MAX_API_KEYS_FILE", "WHISPER_MAX_CACHE"}
    text = re.sub(r"WHISPER_MAX_\.\.\.", "", (DEPLOY / name).read_text())
    assert settings_named(text) <= known
    assert settings_named(text)


def test_the_unit_waits_for_the_grace_period(unit):
    service = unit["Service"]
    assert service["ExecStart"] == ["/opt/whisper_max/bin/python -m whisper_max serve"]
    assert float(service["TimeoutStopSec"][-1]) > GRACE
    assert service["KillSignal"] == ["SIGTERM"]
    assert service["Restart"] == ["on-failure"]
    assert service["DynamicUser"] == service["NoNewPrivileges"] == ["yes"]
    assert service["ProtectSystem"] == ["strict"]
    assert service["CapabilityBoundingSet"] == [""]


def test_compose_is_closed_but_for_loopback(service):
    assert service["ports"] == ["127.0.0.1:8000:8000"]
    assert service["read_only"] is True
    assert service["cap_drop"] == ["ALL"]
    assert service["security_opt"] == ["no-new-privileges:true"]
    assert float(service["stop_grace_period"].removesuffix("s")) > float(service["environment"]["WHISPER_MAX_GRACE"])
    assert service["environment"]["WHISPER_MAX_API_KEYS_FILE"] == "/run/secrets/api_keys"
    assert (DEPLOY / service["build"]["context"] / service["build"]["dockerfile"]).is_file()
    assert service["tmpfs"] == ["/tmp:size=4g"]  # uploads go there: all else can't be written but the volume
    assert int(service["environment"]["WHISPER_MAX_SPOOL_BUDGET"]) < 4096


def test_a_build_gets_the_package_and_nothing_else():
    lines = (DEPLOY.parent / ".dockerignore").read_text().splitlines()
    everything, *kept = [line for line in lines if not line.startswith("#")]
    assert everything == "*"
    assert kept == ["!whisper_max", "!pyproject.toml", "!README.md", "!LICENSE", "**/__pycache__"]
    assert all((DEPLOY.parent / name.removeprefix("!")).exists() for name in kept if name.startswith("!"))


def test_the_container_is_not_root_and_ends_on_sigterm(container):
    named = dict(container)
    names = [name for name, _ in container]
    assert named["USER"] == "whisper_max"
    assert names.index("USER") < names.index("CMD")
    assert named["STOPSIGNAL"] == "SIGTERM"
    assert named["CMD"] == '["python", "-m", "whisper_max", "serve"]'
    assert "/ready" in named["HEALTHCHECK"]


def test_the_container_does_not_start_without_a_key(container, tmp_path):
    variables: Any = dict(re.findall(r"(\w+)=(\S+)", next(rest for name, rest in container if name == "ENV")))
    with pytest.raises(OptionError, match="needs an API key"):
        Settings(**cast(dict[str, Any], read_environment(variables)))
    keys = tmp_path / "keys"
    keys.write_text("secret\n")
    found = read_environment({**variables, "WHISPER_MAX_API_KEYS_FILE": str(keys)})
    assert Settings(host=found["host"], api_keys=(found["api_keys"],)).hosts is None

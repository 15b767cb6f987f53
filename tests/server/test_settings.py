"""Settings: checked as a whole, from variables and flags; safe unless told otherwise."""

import pytest

from whisper_max.commands.main import main
from whisper_max.errors import OptionError
from whisper_max.server import run
from whisper_max.server.settings import Settings, read_environment


@pytest.mark.parametrize("host", ["127.0.0.1", "127.8.8.8", "::1", "localhost"])
def test_loopback_needs_no_key(host):
    assert Settings(host=host).is_loopback
    assert Settings(host=host).hosts == ("localhost", "127.0.0.1", "[::1]")


@pytest.mark.parametrize("host", ["0.0.0.0", "::", "", "192.168.1.2", "example.org"])
def test_beyond_loopback_a_key_or_a_flag_is_needed(host):
    with pytest.raises(OptionError, match=r"needs an API key.*allow_no_key"):
        Settings(host=host)
    assert Settings(host=host, api_keys=("k",)).hosts is None
    assert not Settings(host=host, allow_no_key=True).is_loopback
    assert Settings(host=host, api_keys=("k",), allowed_hosts=("stt.example.org",)).hosts == ("stt.example.org",)


@pytest.mark.parametrize(
    "wrong",
    [
        {"port": 65536},
        {"port": -1},
        {"batch_size": 0},
        {"max_requests": 0},
        {"max_connections": 0},
        {"max_upload": 0},
        {"decode_memory": 0},
        {"decode_timeout": 0},
        {"spool_budget": 0},
        {"max_seconds": 0},
        {"request_timeout": float("nan")},
        {"idle_timeout": -1},
        {"grace": -1},
        {"log_level": "loud"},
        {"wyoming": "localhost:1"},
        {"wyoming": "tcp://localhost"},
        {"wyoming": "tcp://localhost:x"},
        {"wyoming": "tcp://0.0.0.0:10300"},
        {"wyoming": "unix:///run/x"},
        {"tls_cert": "cert.pem"},
        {"tls_key": "key.pem"},
        {"log_format": "xml"},
        {"memory_budget": 0},
        {"api_keys": ("",)},
        {"api_keys": ("schlüssel",)},
        {"models": ("base",)},
        {"models": ("a=x", "a=y")},
        {"models": ("=x",)},
        {"models": ("x=",)},
        {"model": "/srv/models/mine"},
        {"models": ("./mine",)},
    ],
)
def test_impossible_settings(wrong):
    with pytest.raises(OptionError):
        Settings(**wrong)


def test_the_keys_are_not_shown():
    assert "hush" not in repr(Settings(api_keys=("hush",)))


def test_models_by_id():
    settings = Settings(model="base", models=("openai/whisper-tiny", "mine=/srv/models/mine"))
    assert list(settings.sources.items()) == [
        ("base", "base"),
        ("openai/whisper-tiny", "openai/whisper-tiny"),
        ("mine", "/srv/models/mine"),
    ]


def test_variables(tmp_path):
    keys = tmp_path / "keys"
    keys.write_text("one\ntwo\n")
    found = read_environment(
        {"WHISPER_MAX_PORT": "80", "WHISPER_MAX_API_KEYS": "three", "WHISPER_MAX_API_KEYS_FILE": str(keys), "PORT": "1"}
    )
    assert found == {"port": "80", "api_keys": "one,two,three"}
    with pytest.raises(OptionError, match="can't be read"):
        read_environment({"WHISPER_MAX_API_KEYS_FILE": str(tmp_path / "missing")})


def test_flags_win_over_variables(monkeypatch):
    served = []
    monkeypatch.setattr(run, "serve", lambda settings: served.append(settings) or 0)
    monkeypatch.setenv("WHISPER_MAX_PORT", "81")
    monkeypatch.setenv("WHISPER_MAX_OFFLINE", "1")
    monkeypatch.setenv("WHISPER_MAX_MEMORY_BUDGET", "500")
    flags = ["--port", "82", "--host", "0.0.0.0", "--allow-no-key", "--models", "tiny, m=./m", "--grace=2.5"]
    assert main(["serve", *flags]) == 0
    assert served == [
        Settings(
            host="0.0.0.0", port=82, allow_no_key=True, models=("tiny", "m=./m"), grace=2.5, offline=True,
            memory_budget=500,
        )
    ]  # fmt: skip


def test_wrong_flags(monkeypatch, capsys):
    monkeypatch.setattr(run, "serve", lambda settings: 0)
    assert main(["serve", "--port", "many"]) == 2
    assert main(["serve", "--host", "0.0.0.0"]) == 2
    assert main(["serve", "--allow_no_key", "perhaps"]) == 2
    assert capsys.readouterr().err.splitlines() == [
        "error: port: not a value: expected a whole number, found 'many'",
        "error: host: listening beyond this machine needs an API key: found 0.0.0.0; "
        "give --api_keys or WHISPER_MAX_API_KEYS; --allow_no_key does without",
        "error: allow_no_key: not a value: expected True or False, found 'perhaps'",
    ]


def test_every_setting_is_a_flag():
    from whisper_max.commands.serve import _GROUPS

    assert [name for _, group in _GROUPS for name, *_ in group] == list(Settings.__dataclass_fields__)

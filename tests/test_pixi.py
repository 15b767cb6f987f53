"""pixi's environments hold what pip's do, and its tasks are the Makefile's."""

import re
import tomllib
from pathlib import Path

REPOSITORY = Path(__file__).parents[1]
PROJECT = tomllib.loads((REPOSITORY / "pyproject.toml").read_text(encoding="utf-8"))
PIXI = tomllib.loads((REPOSITORY / "pixi.toml").read_text(encoding="utf-8"))
MAKEFILE = (REPOSITORY / "Makefile").read_text(encoding="utf-8")


def requirements(group):
    """Names and ranges of a dependency group, with extras as pixi has them; a name without a range may have any."""
    found = (re.fullmatch(r"([\w.-]+)(?:\[(.*)\])?(.*)", each) for each in PROJECT["dependency-groups"][group])
    ranges = ((each[1], each[2], each[3] or "*") for each in found)
    return {
        name: {"version": version, "extras": extras.split(",")} if extras else version
        for name, extras, version in ranges
    }


def test_features_are_the_dependency_groups():
    for group in ("dev", "benchmark", "docs", "release"):
        assert PIXI["feature"][group]["pypi-dependencies"] == requirements(group)


def test_the_package_comes_with_the_same_extras():
    extras = re.search(r"--editable '\.\[(.*)\]'", MAKEFILE)[1].split(",")
    assert PIXI["pypi-dependencies"]["whisper-max"]["extras"] == extras


def test_make_and_pixi_have_the_same_tasks():
    targets = set(re.search(r"^\.PHONY: (.*)$", MAKEFILE, re.MULTILINE)[1].split()) - {"help", "clean"}
    assert all(f'"make {target}' in MAKEFILE for target in targets)
    assert all(re.search(rf"^{target}:", MAKEFILE, re.MULTILINE) for target in targets)
    tasks = set(PIXI["tasks"]) | {task for feature in PIXI["feature"].values() for task in feature["tasks"]}
    assert tasks == targets

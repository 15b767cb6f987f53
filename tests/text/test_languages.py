import pytest

from whisper_max.errors import OptionError
from whisper_max.text.languages import ALIASES, LANGUAGES, language_code


def test_table_has_the_hundred_languages_in_token_order():
    codes = list(LANGUAGES)
    assert len(codes) == 100
    assert codes[:3] == ["en", "zh", "de"]
    assert codes[-2:] == ["su", "yue"]
    assert set(ALIASES.values()) <= set(codes)


@pytest.mark.parametrize(
    ("given", "code"),
    [
        ("en", "en"),
        ("English", "en"),
        ("GERMAN", "de"),
        (" castilian ", "es"),
        ("Haitian Creole", "ht"),
        ("YUE", "yue"),
    ],
)
def test_code_name_or_alias_in_any_case(given, code):
    assert language_code(given) == code


def test_unknown_language_offers_close_names():
    with pytest.raises(OptionError) as error:
        language_code("germann")
    assert (
        str(error.value) == "language: unknown language: found 'germann'; did you mean german or romanian or georgian?"
    )


def test_unknown_language_without_close_names():
    with pytest.raises(OptionError, match="found 'q7'; give a code such as en"):
        language_code("q7")

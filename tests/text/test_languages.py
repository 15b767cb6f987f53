import pytest

from whisper_max.errors import OptionError
from whisper_max.text.languages import ALIASES, LANGUAGES, language_code, spoken_language


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
        *((tag, "en") for tag in ("en-US", "en_us", "EN", "eng", "en-GB-oxendict", "en_US.UTF-8", "eng-USA", "en-001")),
        *((tag, "zh") for tag in ("zh-CN", "zh-TW", "zh-HK", "zh-Hant", "zh-Hans-CN", "cmn", "chi", "zho", "cmn-Hans")),
        *((tag, "yue") for tag in ("zh-yue", "yue-HK", "zho-yue-HK")),
        *((tag, "no") for tag in ("nb", "nb-NO", "no", "nob", "nor", "no_NO")),
        *((tag, "he") for tag in ("iw", "iw-IL", "heb")),
        *((tag, "de") for tag in ("deu", "ger", "de-CH-1996", "de_DE@euro")),
        *(("in", "id"), ("ji", "yi"), ("jv", "jw"), ("jav", "jw"), ("mo", "ro"), ("sh", "sr"), ("sr-Latn-RS", "sr")),
        *(("fil", "tl"), ("tgl", "tl"), ("nn-NO", "nn"), ("es-419", "es"), ("pt-BR", "pt"), ("ar-EG", "ar")),
        *(("Chinese (Simplified)", "zh"), ("Brazilian Portuguese", "pt"), ("Norwegian Bokmål", "no")),
        *(("Deutsch", "de"), ("Français", "fr"), ("ESPAÑOL", "es"), ("日本語", "ja"), ("Bahasa Indonesia", "id")),
        *(("Kreyol ayisyen", "ht"), ("MA\u0304ORI", "mi"), ("Oʻzbek", "uz"), ("o'zbek", "uz"), ("ไทย", "th")),
        *((name, "yue") for name in ("Chinese (Cantonese, Traditional)", "Yue Chinese", "Chinese, Yue", "粵語")),
        *((name, "nn") for name in ("Norwegian (Nynorsk)", "Nynorsk, Norwegian", "no-nyn")),
        *(
            ("Spanish; Castilian", "es"),
            ("Greek, Modern (1453-)", "el"),
            ("Serbian (Latin)", "sr"),
            ("Western Farsi", "fa"),
        ),
        *(("arz", "ar"), ("als_Latn", "sq"), ("azb", "az"), ("Filipino", "tl"), ("Bangla", "bn"), ("hbs", "sr")),
        *(("MANDARIN CHINESE", "zh"), ("Spanish (Latin America) ", "es"), ("American English", "en")),
    ],
)
def test_code_name_or_alias_in_any_case(given, code):
    assert language_code(given) == code


@pytest.mark.parametrize("given", [None, "", " ", "auto", "AUTO", "und"])
def test_no_language_is_to_be_detected(given):
    assert spoken_language(given) is None


@pytest.mark.parametrize(
    "given", ["mul", "xx", "xx-US", "eo", "tlh", "english-US", "-", "en-", "e", "zxx", "art-lojban", "x" * 5000]
)
def test_what_no_language_of_the_model_is(given):
    with pytest.raises(OptionError, match="unknown language"):
        spoken_language(given)


def test_a_wrong_code_gets_no_guess():
    with pytest.raises(OptionError, match="found 'mul'; give a code such as en or a name such as english"):
        language_code("mul")


@pytest.mark.parametrize(
    ("given", "code"), [("<|ckb|>", "<|ckb|>"), (" <|zh-TW|> ", "<|zh-TW|>"), ("<|en|>", "en"), ("<|EN|>", "en")]
)
def test_a_language_by_its_token(given, code):
    assert spoken_language(given) == code
    assert spoken_language(code) == code  # options are read again where they are changed


@pytest.mark.parametrize("given", ["<||>", "<|0.00|>", "<|a b|>", "ckb", "<|ckb|>x", "<|é|>"])
def test_what_is_no_token_of_a_language(given):
    with pytest.raises(OptionError, match="unknown language"):
        spoken_language(given)


def test_unknown_language_offers_close_names():
    with pytest.raises(OptionError) as error:
        language_code("germann")
    assert (
        str(error.value) == "language: unknown language: found 'germann'; did you mean german or romanian or georgian?"
    )


def test_unknown_language_without_close_names():
    with pytest.raises(OptionError, match="found 'q7'; give a code such as en"):
        language_code("q7")

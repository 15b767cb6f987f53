"""The languages of Whisper: codes, English names, aliases, and finding one by any of them, or by a tag or a locale.

The order of ``LANGUAGES`` is the order of the language tokens in every published vocabulary, so it must never change;
the first 99 are in all vocabularies, Cantonese only since large-v3.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Collection
from difflib import get_close_matches

from whisper_max.errors import OptionError

TASKS = ("transcribe", "translate")
"""What a model can do with speech: write it, or write it in English."""

# fmt: off
LANGUAGES: dict[str, str] = {
    "en": "english", "zh": "chinese", "de": "german", "es": "spanish", "ru": "russian", "ko": "korean",
    "fr": "french", "ja": "japanese", "pt": "portuguese", "tr": "turkish", "pl": "polish", "ca": "catalan",
    "nl": "dutch", "ar": "arabic", "sv": "swedish", "it": "italian", "id": "indonesian", "hi": "hindi",
    "fi": "finnish", "vi": "vietnamese", "he": "hebrew", "uk": "ukrainian", "el": "greek", "ms": "malay",
    "cs": "czech", "ro": "romanian", "da": "danish", "hu": "hungarian", "ta": "tamil", "no": "norwegian",
    "th": "thai", "ur": "urdu", "hr": "croatian", "bg": "bulgarian", "lt": "lithuanian", "la": "latin", "mi": "maori",
    "ml": "malayalam", "cy": "welsh", "sk": "slovak", "te": "telugu", "fa": "persian", "lv": "latvian",
    "bn": "bengali", "sr": "serbian", "az": "azerbaijani", "sl": "slovenian", "kn": "kannada", "et": "estonian",
    "mk": "macedonian", "br": "breton", "eu": "basque", "is": "icelandic", "hy": "armenian", "ne": "nepali",
    "mn": "mongolian", "bs": "bosnian", "kk": "kazakh", "sq": "albanian", "sw": "swahili", "gl": "galician",
    "mr": "marathi", "pa": "punjabi", "si": "sinhala", "km": "khmer", "sn": "shona", "yo": "yoruba", "so": "somali",
    "af": "afrikaans", "oc": "occitan", "ka": "georgian", "be": "belarusian", "tg": "tajik", "sd": "sindhi",
    "gu": "gujarati", "am": "amharic", "yi": "yiddish", "lo": "lao", "uz": "uzbek", "fo": "faroese",
    "ht": "haitian creole", "ps": "pashto", "tk": "turkmen", "nn": "nynorsk", "mt": "maltese", "sa": "sanskrit",
    "lb": "luxembourgish", "my": "myanmar", "bo": "tibetan", "tl": "tagalog", "mg": "malagasy", "as": "assamese",
    "tt": "tatar", "haw": "hawaiian", "ln": "lingala", "ha": "hausa", "ba": "bashkir", "jw": "javanese",
    "su": "sundanese", "yue": "cantonese",
}

ALIASES: dict[str, str] = {
    "burmese": "my", "valencian": "ca", "flemish": "nl", "haitian": "ht", "letzeburgesch": "lb", "pushto": "ps",
    "panjabi": "pa", "moldavian": "ro", "moldovan": "ro", "sinhalese": "si", "castilian": "es", "mandarin": "zh",
}
# fmt: on

UNSPACED = frozenset({"zh", "ja", "th", "lo", "my", "yue"})
"""Languages written without spaces between words."""

# fmt: off
_OTHER_CODES: dict[str, str] = {
    # ISO 639-2, bibliographic codes too, and ISO 639-3 for the spoken language that a two-letter code means.
    "afr": "af", "alb": "sq", "amh": "am", "ara": "ar", "arb": "ar", "arm": "hy", "asm": "as", "aze": "az", "azj": "az",
    "bak": "ba", "baq": "eu", "bel": "be", "ben": "bn", "bod": "bo", "bos": "bs", "bre": "br", "bul": "bg", "bur": "my",
    "cat": "ca", "ces": "cs", "chi": "zh", "cmn": "zh", "cym": "cy", "cze": "cs", "dan": "da", "deu": "de", "dut": "nl",
    "ekk": "et", "ell": "el", "eng": "en", "est": "et", "eus": "eu", "fao": "fo", "fas": "fa", "fin": "fi", "fra": "fr",
    "fre": "fr", "geo": "ka", "ger": "de", "glg": "gl", "gre": "el", "guj": "gu", "hat": "ht", "hau": "ha", "heb": "he",
    "hin": "hi", "hrv": "hr", "hun": "hu", "hye": "hy", "ice": "is", "ind": "id", "isl": "is", "ita": "it", "jav": "jw",
    "jpn": "ja", "kan": "kn", "kat": "ka", "kaz": "kk", "khk": "mn", "khm": "km", "kor": "ko", "lao": "lo", "lat": "la",
    "lav": "lv", "lin": "ln", "lit": "lt", "ltz": "lb", "lvs": "lv", "mac": "mk", "mal": "ml", "mao": "mi", "mar": "mr",
    "may": "ms", "mkd": "mk", "mlg": "mg", "mlt": "mt", "mon": "mn", "mri": "mi", "msa": "ms", "mya": "my", "nep": "ne",
    "nld": "nl", "nno": "nn", "nob": "no", "nor": "no", "npi": "ne", "oci": "oc", "pan": "pa", "per": "fa", "pes": "fa",
    "plt": "mg", "pol": "pl", "por": "pt", "pus": "ps", "ron": "ro", "rum": "ro", "rus": "ru", "san": "sa", "sin": "si",
    "slk": "sk", "slo": "sk", "slv": "sl", "sna": "sn", "snd": "sd", "som": "so", "spa": "es", "sqi": "sq", "srp": "sr",
    "sun": "su", "swa": "sw", "swe": "sv", "swh": "sw", "tam": "ta", "tat": "tt", "tel": "te", "tgk": "tg", "tgl": "tl",
    "tha": "th", "tib": "bo", "tuk": "tk", "tur": "tr", "ukr": "uk", "urd": "ur", "uzb": "uz", "uzn": "uz", "vie": "vi",
    "wel": "cy", "yid": "yi", "yor": "yo", "zho": "zh", "zsm": "ms",
    # Codes that were replaced, as IANA and CLDR have them.
    "iw": "he", "in": "id", "ji": "yi", "jv": "jw", "mo": "ro", "mol": "ro", "sh": "sr", "hbs": "sr", "scr": "hr",
    "scc": "sr",
    # Siblings whose speech the model has under one token: of most, ISO 639-3 has the two-letter code for all of them.
    "nb": "no", "fil": "tl", "prs": "fa", "als": "sq", "aln": "sq", "azb": "az", "pbt": "ps", "pbu": "ps", "pst": "ps",
    "uzs": "uz", "ydd": "yi", "yih": "yi", "zlm": "ms", "mvf": "mn", "acm": "ar", "acq": "ar", "aeb": "ar", "afb": "ar",
    "ajp": "ar", "apc": "ar", "apd": "ar", "arq": "ar", "ars": "ar", "ary": "ar", "arz": "ar", "ayl": "ar",
}
# fmt: on

DETECTED = frozenset({"", "auto", "und"})
"""What stands for no language: it is detected. ``und`` is ISO 639-2's undetermined."""

# fmt: off
_OWN_NAMES = {
    "中文": "zh", "deutsch": "de", "español": "es", "русский": "ru", "한국어": "ko", "français": "fr", "日本語": "ja",
    "português": "pt", "türkçe": "tr", "polski": "pl", "català": "ca", "nederlands": "nl", "العربية": "ar",
    "svenska": "sv", "italiano": "it", "bahasa indonesia": "id", "हिन्दी": "hi", "suomi": "fi", "tiếng việt": "vi",
    "עברית": "he", "українська": "uk", "ελληνικά": "el", "bahasa malaysia": "ms", "bahasa melayu": "ms",
    "čeština": "cs", "română": "ro", "dansk": "da", "magyar": "hu", "தமிழ்": "ta", "norsk": "no", "ไทย": "th",
    "اردو": "ur", "hrvatski": "hr", "български": "bg", "lietuvių": "lt", "lingua latina": "la", "māori": "mi",
    "മലയാളം": "ml", "cymraeg": "cy", "slovenčina": "sk", "తెలుగు": "te", "فارسی": "fa", "latviešu": "lv", "বাংলা": "bn",
    "српски": "sr", "srpski": "sr", "azərbaycan": "az", "slovenščina": "sl", "ಕನ್ನಡ": "kn", "eesti": "et",
    "македонски": "mk", "brezhoneg": "br", "euskara": "eu", "íslenska": "is", "հայերեն": "hy", "नेपाली": "ne",
    "монгол": "mn", "bosanski": "bs", "қазақ тілі": "kk", "қазақша": "kk", "shqip": "sq", "kiswahili": "sw",
    "galego": "gl", "मराठी": "mr", "ਪੰਜਾਬੀ": "pa", "සිංහල": "si", "ខ្មែរ": "km", "chishona": "sn", "èdè yorùbá": "yo",
    "soomaali": "so", "ქართული": "ka", "беларуская": "be", "тоҷикӣ": "tg", "سنڌي": "sd", "ગુજરાતી": "gu", "አማርኛ": "am",
    "ייִדיש": "yi", "ລາວ": "lo", "oʻzbek": "uz", "føroyskt": "fo", "kreyòl ayisyen": "ht", "پښتو": "ps",
    "türkmen dili": "tk", "türkmençe": "tk", "malti": "mt", "संस्कृत भाषा": "sa", "संस्कृतम्": "sa",
    "lëtzebuergesch": "lb", "မြန်မာ": "my", "བོད་སྐད་": "bo", "অসমীয়া": "as", "татар": "tt", "татарча": "tt",
    "ʻōlelo hawaiʻi": "haw", "lingála": "ln", "башҡорт теле": "ba", "башҡортса": "ba", "jawa": "jw", "basa jawa": "jw",
    "basa sunda": "su", "粵語": "yue", "粤语": "yue", "廣東話": "yue", "广东话": "yue",
}
"""What their speakers call them."""

_OTHER_NAMES = {
    "filipino": "tl", "bangla": "bn", "farsi": "fa", "dari": "fa", "bokmål": "no", "bokmaal": "no",
}
"""What else they are called in English."""
# fmt: on

_NARROWER = {"cantonese": "yue", "yue": "yue", "nynorsk": "nn"}
"""Names that count wherever they stand, as in ``Chinese (Cantonese, Traditional)``: their languages have tokens."""

_CODES = _OTHER_CODES | {code: code for code in LANGUAGES}
_NAMES = {name: code for code, name in LANGUAGES.items()} | ALIASES | _OTHER_NAMES | _OWN_NAMES
_OWN_SUBTAGS = {("zh", "yue"): "yue", ("no", "nyn"): "nn"}
"""What of a tag behind its code names another language of the model."""

_TAG = re.compile(r"([a-z]{2,3})(?:[-_]([a-z0-9]{1,8}))?(?:[-_][a-z0-9]{1,8})*(?:[.@].*)?")
"""A language tag (RFC 5646) or a POSIX locale: a code, and then what the model does not know, mostly."""
_TOKEN = re.compile(r"<\|([A-Za-z][A-Za-z0-9_-]*)\|>")
"""The token of a language, by which one is named that a fine-tuned model added."""
_ADDED = re.compile(r"\s*\([^()]*\)$")  # as in ``Chinese (Simplified)``
_BETWEEN = re.compile(r"[\s,;()]+")  # words of names, as in ``Spanish; Castilian``
_APOSTROPHES = "'`´‘’ʻʼʿ"


def _plain(name: str) -> str:
    """A name without accents, points and apostrophes, which not everybody writes, or writes as one character."""
    letters = unicodedata.normalize("NFD", name.casefold())
    return "".join(each for each in letters if unicodedata.category(each) != "Mn" and each not in _APOSTROPHES)


_BY_PLAIN_NAME = {_plain(name): code for name, code in _NAMES.items()}


def language_code(language: str, *, where: str | None = "language") -> str:
    """The code of a language given by code, tag, English name or its own, whatever the case and the accents.

    Codes may be of ISO 639-1, -2 or -3, or their predecessors; region and script of a tag are dropped (``pt-BR``,
    ``zh_Hant``, ``en_US.UTF-8``), and so is what stands before or behind a name (``Brazilian Portuguese``). A language
    that is not Whisper's is given by its token (``<|ckb|>``) and stays one: whether a model has it, the model tells.

    Raises:
        OptionError: the language is unknown; the message offers the closest names.
    """
    wanted = language.strip().lower()
    found = _by_token(language.strip()) or _by_tag(wanted) or _by_name(_plain(wanted))
    if found is not None:
        return found
    raise OptionError("unknown language", where=where, found=repr(language), hint=_suggestion(wanted))


def spoken_language(language: str | None, *, where: str | None = "language") -> str | None:
    """As ``language_code``; None where it is to be detected: for None, ``auto``, ``und`` and an empty text."""
    if language is None or language.strip().lower() in DETECTED:
        return None
    return language_code(language, where=where)


def language_name(code: str) -> str:
    """The English name of a language, in lower case; of one that Whisper does not know, its code."""
    return LANGUAGES.get(code, code)


def _by_token(wanted: str) -> str | None:
    """The code of a language of Whisper's, given by its token; another's token as it is."""
    token = _TOKEN.fullmatch(wanted)
    if token is None:
        return None
    return token[1].lower() if token[1].lower() in LANGUAGES else wanted


def code_in(languages: Collection[str], language: str) -> str:
    """The code of a language among those of a model, given by it, by its token or as ``language_code`` takes it.

    Raises:
        OptionError: as ``language_code`` does. A code that is not among them is none: the model tells.
    """
    if language in languages:
        return language
    code = language_code(language)
    token = _TOKEN.fullmatch(code)
    return token[1] if token else code


def _by_tag(wanted: str) -> str | None:
    tag = _TAG.fullmatch(wanted)
    if tag is None or tag[1] not in _CODES:
        return None
    return _OWN_SUBTAGS.get((_CODES[tag[1]], tag[2]), _CODES[tag[1]])


def _by_name(wanted: str) -> str | None:
    name = _ADDED.sub("", wanted)
    words = [word for word in _BETWEEN.split(name) if word]
    narrower = next((_NARROWER[word] for word in _BETWEEN.split(wanted) if word in _NARROWER), None)
    candidates = (name, words[-1], words[0]) if words else ()
    return narrower or next((_BY_PLAIN_NAME[each] for each in candidates if each in _BY_PLAIN_NAME), None)


def _suggestion(wanted: str) -> str:
    close = get_close_matches(wanted, list(_NAMES), n=3)
    if close:
        return "did you mean " + " or ".join(close) + "?"
    if re.fullmatch("[a-z]{2,3}", wanted):
        return f"give a code such as en or a name such as english; <|{wanted}|> if that is a token of the model"
    return "give a code such as en or a name such as english"

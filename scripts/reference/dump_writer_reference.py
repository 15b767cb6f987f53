"""Write tests/output/data/writer_reference.json: transcripts and what openai-whisper's writers make of them.

Run with the developers' dependencies: python scripts/reference/dump_writer_reference.py
"""

from __future__ import annotations

import io
import json
import random
from pathlib import Path
from typing import Any

from whisper.utils import get_writer

OUT = Path(__file__).resolve().parents[2] / "tests" / "output" / "data" / "writer_reference.json"
FORMATS = ("txt", "vtt", "srt", "tsv")
VOCABULARY = "And so my fellow Americans, ask not what your country — naïve 你好 über 'tis a --> b x & y"
LAYOUTS: list[dict[str, Any]] = [
    {},
    {"max_line_width": 20},
    {"max_line_width": 20, "max_line_count": 1},
    {"max_line_width": 30, "max_line_count": 2},
    {"max_words_per_line": 3},
    {"max_words_per_line": 2, "max_line_width": 8},
    {"highlight_words": True},
    {"highlight_words": True, "max_line_width": 16, "max_line_count": 2},
]


def transcript(rng: random.Random, n_segments: int, with_words: bool) -> dict[str, Any]:
    segments = []
    time = rng.choice([0.0, 0.42, 3590.0])
    for number in range(n_segments):
        words: list[dict[str, Any]] = []
        start = time
        for _ in range(rng.randrange(0 if number else 1, 12)):
            end = round(time + rng.choice([0.0, 0.18, 0.5]), 2)
            text = " " + rng.choice(VOCABULARY.split())
            words.append({"word": text.replace("-->", "->"), "start": time, "end": end, "probability": 0.5})
            time = round(end + rng.choice([0.0, 0.0, 0.3, 3.5]), 2)
        segment: dict[str, Any] = {"start": start, "end": time, "text": "".join(word["word"] for word in words)}
        if number % 3 == 2 and not with_words:
            segment["text"] += "\t--> end "
        segments.append(segment | ({"words": words} if with_words else {}))
    return {"text": "", "language": "en", "segments": segments}


def written(result: dict[str, Any], format: str, layout: dict[str, Any]) -> str:
    file = io.StringIO()
    get_writer(format, ".").write_result(result, file=file, options=layout)
    return file.getvalue()


def main() -> None:
    rng = random.Random(1)
    cases = []
    for with_words, n_segments in ((False, 0), (False, 5), (True, 1), (True, 6), (True, 9)):
        result = transcript(rng, n_segments, with_words)
        layouts = LAYOUTS if with_words else LAYOUTS[:1]
        outputs = [
            {"format": format, "layout": layout, "text": written(result, format, layout)}
            for layout in layouts
            for format in (FORMATS if not layout else ("vtt", "srt"))
        ]
        cases.append({"result": result, "outputs": outputs})
    OUT.parent.mkdir(parents=True, exist_ok=True)
    OUT.write_text(json.dumps(cases, ensure_ascii=False, indent=0), encoding="utf-8")
    print(OUT, OUT.stat().st_size, "bytes")


if __name__ == "__main__":
    main()

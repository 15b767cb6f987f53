"""``quantize`` on the command line: a model with narrow weights, in our format or another program's."""

from __future__ import annotations

import argparse
import shutil
from pathlib import Path
from typing import TYPE_CHECKING

from whisper_max.commands.checkpoint import add_checkpoint_options, checkpoint_from
from whisper_max.commands.console import EXIT_OK, print_progress
from whisper_max.commands.flags import Subcommands
from whisper_max.errors import OptionError, OutputError

if TYPE_CHECKING:
    from whisper_max.checkpoint import Checkpoint

FORMATS = ("whisper_max", "ctranslate2", "ggml-f16", "ggml-q8_0")
_SUFFIXES = {"whisper_max": ".safetensors", "ctranslate2": "", "ggml-f16": ".bin", "ggml-q8_0": ".bin"}


def add(commands: Subcommands) -> None:
    """Register the command."""
    parser = commands.add_parser(
        "quantize",
        help="a model with int8 weights, or in another program's format",
        description="Write a model with int8 weights to one file, which --model and load_model take; or as a folder of "
        "CTranslate2's (int8) or a file of whisper.cpp's (ggml, f16 or q8_0).",
        epilog="example: python -m whisper_max quantize tiny.en tiny-int8.safetensors",
    )
    add_checkpoint_options(parser)
    parser.add_argument("output", type=Path, metavar="OUT", help="the .safetensors or .bin file or the folder to write")
    parser.add_argument("--format", choices=FORMATS, default="whisper_max", help="whose format to write")
    parser.set_defaults(run=run)


def run(args: argparse.Namespace) -> int:
    """Write a model with narrow weights."""
    suffix = _SUFFIXES[args.format]
    if args.output.suffix != suffix:
        raise OptionError(f"the name must end in {suffix}" if suffix else "must be a folder's name", where=args.output)
    checkpoint = checkpoint_from(args)
    try:
        written = _write(checkpoint, args.output, args.format)
    except OSError as error:
        raise OutputError("can't be written", where=args.output, found=error.strerror or error) from error
    print_progress(f"{args.output}: {written.stat().st_size / 1e6:.0f} MB; load it by this path")
    return EXIT_OK


def _write(checkpoint: Checkpoint, output: Path, format: str) -> Path:
    """The file with the weights, once it is written."""
    if format == "whisper_max":
        from whisper_max.checkpoint.own_format import OwnModel, write_own_format
        from whisper_max.engine.weights import quantized

        model = OwnModel(
            checkpoint.dims, checkpoint.tensors, checkpoint.vocabulary, checkpoint.alignment_heads, checkpoint.name
        )
        write_own_format(output, model, quantized)
        return output
    if format == "ctranslate2":
        from whisper_max.checkpoint.ctranslate2_write import write_ctranslate2

        tokens, config = _tokens_and_config(checkpoint)
        write_ctranslate2(output, checkpoint.dims, checkpoint.tensors, checkpoint.vocabulary, tokens, config)
        tokenizer = (checkpoint.source if checkpoint.source.is_dir() else checkpoint.source.parent) / "tokenizer.json"
        if tokenizer.is_file() and tokenizer.parent != output:
            shutil.copyfile(tokenizer, output / tokenizer.name)  # faster-whisper fetches one where there is none
        return output / "model.bin"
    from whisper_max.audio.mel_filters import mel_filters
    from whisper_max.checkpoint.ggml_write import write_ggml

    filters = mel_filters(checkpoint.dims.n_mels)
    kind = format.removeprefix("ggml-")
    write_ggml(output, checkpoint.dims, checkpoint.tensors, checkpoint.vocabulary, filters, kind)
    return output


def _tokens_and_config(checkpoint: Checkpoint) -> tuple[dict[str, int], dict[str, object]]:
    """Every special token, and the config.json that CTranslate2's converter writes: heads, languages, suppressed."""
    from whisper_max.load import tokens_of
    from whisper_max.text.tokenizer import build_tokenizer

    vocabulary = tokens_of(checkpoint)
    tokenizer = build_tokenizer(vocabulary, multilingual=vocabulary.is_multilingual, language=None, task=None)
    specials = (tokenizer.sot, tokenizer.translate, tokenizer.transcribe, tokenizer.sot_lm, tokenizer.sot_prev)
    config: dict[str, object] = {
        "alignment_heads": [list(head) for head in checkpoint.alignment_heads or ()],
        "lang_ids": list(tokenizer.all_language_tokens),
        "suppress_ids": sorted({*tokenizer.non_speech_tokens, *specials, tokenizer.no_speech}),
        "suppress_ids_begin": [*tokenizer.encode(" "), tokenizer.eot],
    }
    return vocabulary.special_tokens, config

"""Opening a recording: what of it is to be transcribed, and what is known of it before a model hears it."""

from __future__ import annotations

from whisper_max.audio.mel import MelWindows
from whisper_max.audio.waveform import Waveform
from whisper_max.errors import OptionError
from whisper_max.text.tokenizer import Vocabulary
from whisper_max.transcribe.growing import Encode, GrowingRecording
from whisper_max.transcribe.options import TranscribeOptions
from whisper_max.transcribe.recording import Recording
from whisper_max.transcribe.sound import Sound
from whisper_max.transcribe.speakers import TellApart
from whisper_max.transcribe.speech import listen
from whisper_max.transcribe.tidy import Tidy
from whisper_max.transcribe.turns import Turns


def open_recording(
    waveform: Waveform,
    vocabulary: Vocabulary,
    n_mels: int,
    options: TranscribeOptions,
    *,
    as_openai: bool = False,
    channel: int | None = None,
    tell_apart: TellApart | None = None,
    encode: Encode | None = None,
) -> Recording:
    """A recording that waits for its model: what of it is to be transcribed, found where the options ask for that.

    Args:
        waveform: stays open as long as the recording is used.
        vocabulary, n_mels: of the model.
        options: checked by ``check_options``.
        as_openai: look for the language in silent windows too, and leave segments as openai-whisper has them.
        channel: which one it is, of several that are put together.
        tell_apart: finds the speakers, where the options ask for them.
        encode: encodes its first window, of which an earlier decoding heard most; all of it is heard, speech or not.

    Raises:
        OptionError: the extra ``vad`` is not installed, or speakers are asked for and can't be told apart.
        AudioError: a spooled recording can't be read back.
    """
    found, count = None, options.speaker_count
    if count is not None:
        if as_openai or tell_apart is None:
            raise OptionError("speakers are not told apart here", where="speakers", found=repr(options.speakers))
        found = tell_apart(waveform, count)
    heard, speech = listen(waveform, options)
    mel, warnings = MelWindows(heard, n_mels), [*waveform.warnings, *(found.warnings if found else ())]
    turns = None if found is None else Turns(None if found.later else found.turns, found.names)
    tidy = None if as_openai else Tidy(Sound(waveform, heard), turns)
    if encode is not None:
        return GrowingRecording(encode, vocabulary, mel, options, tidy, waveform)
    return Recording(vocabulary, mel, options, speech, warnings, tidy, channel, heard)

"""What stands between a path and Pillow."""

import io
import logging
import os
import sys
import threading
import warnings
from contextlib import suppress

import pytest
from PIL import Image

from gapfill.errors import UsageError, one_line
from gapfill.pictures import PictureError, read_mask, read_picture
from gapfill.reading.formats import jpeg_size
from gapfill.reading.noise import quiet
from gapfill.reading.regular import expand, is_there


def test_c_libraries_are_heard_and_not_printed(capfd):
    with quiet:
        start = quiet.said
        os.write(2, b"libsomething: bad\n")
        assert quiet.lines(start) == ["libsomething: bad"]
        assert quiet.lines(quiet.said) == []
    assert capfd.readouterr().err == ""


def test_what_no_decoder_said_is_handed_on(capfd):
    with quiet:
        os.write(2, b"somebody else's line\n")
    assert capfd.readouterr().err == "somebody else's line\n"


@pytest.mark.parametrize("compression", ["tiff_lzw", "tiff_deflate", "jpeg", "group4"])
def test_a_damaged_tiff_makes_no_noise(compression, capfd):
    picture = Image.effect_noise((64, 64), 80).convert("1" if compression == "group4" else "RGB")
    buffer = io.BytesIO()
    picture.save(buffer, "TIFF", compression=compression)
    data = bytearray(buffer.getvalue())
    for start in range(8, len(data) - 200, 60):
        data[start : start + 3] = b"\x03\xff\x80"
    with suppress(PictureError):
        read_picture(bytes(data))
    assert capfd.readouterr().err == ""


def test_warnings_and_logs_of_pillow_are_hidden_and_back_afterwards(capfd):
    logger = logging.getLogger("PIL.TiffImagePlugin")
    filters, level = list(warnings.filters), logger.getEffectiveLevel()
    with quiet, quiet:
        assert not logger.isEnabledFor(logging.ERROR)
    assert (warnings.filters, logger.getEffectiveLevel()) == (filters, level)


def test_stderr_is_itself_again_after_many_threads(capfd):
    def go():
        for _ in range(50):
            with quiet:
                pass

    threads = [threading.Thread(target=go) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    os.write(2, b"here\n")
    assert capfd.readouterr().err == "here\n"


def test_a_bar_is_shown_where_stderr_is_diverted(capfd):
    with quiet, quiet.terminal() as terminal:
        print("bar", file=terminal or sys.stderr)
    assert "bar" in capfd.readouterr().err


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="this system has no pipes")
@pytest.mark.parametrize("read", [read_picture, read_mask])
def test_a_pipe_or_device_is_no_picture(tmp_path, read):
    os.mkfifo(tmp_path / "a.png")
    with pytest.raises(PictureError, match=r"a\.png: not a regular file but a pipe"):
        read(tmp_path / "a.png")
    with pytest.raises(PictureError, match="Is a directory"):
        read(tmp_path)


def test_a_bomb_is_refused_by_our_limit_where_pillow_has_its_own():
    buffer = io.BytesIO()
    Image.new("1", (16000, 16000)).save(buffer, "PNG")
    with pytest.raises(PictureError, match="too many pixels; at most 128 megapixels are read"):
        read_picture(buffer.getvalue())


def test_a_size_is_read_from_a_header_alone():
    assert jpeg_size(b"\xff\xd8\xff\xc0\x00\x11\x08\x00\x10\x00\x20\x03") == (32, 16)
    for data in (
        b"",
        b"\xff\xd8",
        b"\x89PNG",
        b"\xff\xd8\xff\xda\x00\x08",
        b"\xff\xd8" + b"\xff" * 9,
    ):
        assert jpeg_size(data) is None


def test_paths_that_cannot_be_are_not_there():
    assert not is_there(expand("a" * 5000))
    with pytest.raises(UsageError, match="there is no such home folder here"):
        expand("~nobody-of-this-name/pictures")


def test_a_name_is_printable_on_one_line():
    assert one_line("a\nb\x1b[31m\udce9ä") == "a\\nb\\x1b[31m\\udce9ä"

"""What a shell is told to complete."""

from __future__ import annotations

import subprocess
import sys

import pytest

from vlcal.cli import main
from vlcal.commands.catalogue import EVERY_COMMAND

pytest.importorskip("shtab")


def completed(script: str, *words: str) -> list[str]:
    """What bash offers for the last word."""
    typed = " ".join(f"'{word}'" for word in ("vlcal", *words))
    asked = f"{script}\nCOMP_WORDS=({typed}); COMP_CWORD={len(words)}; _shtab_vlcal; echo ${{COMPREPLY[@]}}"
    return subprocess.run(["bash", "-c", asked], capture_output=True, text=True, check=True).stdout.split()


def test_a_shell_completes_every_command_and_its_options(capsys: pytest.CaptureFixture[str]) -> None:
    main(["completion", "bash"])
    script = capsys.readouterr().out

    assert {*EVERY_COMMAND} <= {*completed(script, "")}
    assert completed(script, "fi") == ["fit"] and completed(script, "ui", "--po") == ["--port"]


def test_a_shell_that_is_not_known_is_refused_with_those_that_are(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        main(["completion", "fish"])
    assert "bash" in capsys.readouterr().err


def test_a_missing_library_is_one_line_with_its_installation(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "shtab", None)
    with pytest.raises(SystemExit, match="`vlcal completion` needs shtab; .* 'vlcal.completion.'"):
        main(["completion", "bash"])

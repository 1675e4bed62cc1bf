import subprocess

import pytest

from tumorboard import optional
from tumorboard.cli import completion
from tumorboard.cli.main import main


def script(capsys, shell):
    assert main(["completion", shell]) == 0
    return capsys.readouterr().out


@pytest.mark.parametrize(
    ("words", "found"),
    [(["pred"], "predict"), (["serve", "--tok"], "--token-file")],
)
def test_bash_completes(capsys, tmp_path, words, found):
    (tmp_path / "script").write_text(script(capsys, "bash"))
    asked = f"COMP_WORDS=(tumorboard {' '.join(words)}); COMP_CWORD={len(words)}"
    source = f"source {tmp_path}/script; {asked}; _shtab_tumorboard 2>/dev/null; echo ${{COMPREPLY[@]}}"
    ran = subprocess.run(["bash", "-c", source], capture_output=True, text=True, timeout=30)
    assert found in ran.stdout.split()


@pytest.mark.parametrize("shell", completion.SHELLS)
def test_every_shell_has_a_script_that_names_the_commands(capsys, shell):
    text = script(capsys, shell)
    assert "tumorboard" in text
    for command in ("train", "predict", "serve"):
        assert command in text


def test_without_the_extra_it_says_how_to_install_it(monkeypatch, capsys):
    monkeypatch.setattr(optional, "find_spec", lambda name: None if name == "shtab" else name)
    assert main(["completion", "bash"]) == 2
    assert 'pip install "shtab>=' in capsys.readouterr().err

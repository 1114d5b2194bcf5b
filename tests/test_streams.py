"""stdout and stderr that close, fill up or lose their reader; variables of other software; a folder that is gone."""

import os
import signal
import subprocess
import sys

import pytest

from onsager_cli.cli.main import main
from onsager_cli.config import load
from onsager_cli.errors import UserError
from onsager_cli.store.variables import NOT_OURS

TOY = (
    "network=amp", "network.depth=2", "problem.N=20", "problem.M=10", "problem.selection_samples=8",
    "problem.test_samples=8", "plot.formats=[png]",
)  # fmt: skip
ONSAGER = f"{sys.executable} -m onsager_cli"


def shell(line: str, folder, **variables: str) -> "subprocess.CompletedProcess[str]":
    """Runs a line of bash in `folder`; a failure in a pipe is that of its first command."""
    environment = {**os.environ, **variables}
    return subprocess.run(
        ["bash", "-c", line], cwd=folder, capture_output=True, text=True, errors="replace", env=environment, check=False
    )


class TestOutput:
    def test_a_reader_that_leaves_ends_a_verb_that_prints(self, tmp_path):
        done = shell(f"{ONSAGER} list | head -1; echo ${{PIPESTATUS[0]}}", tmp_path)
        assert done.stdout.splitlines()[-1] == "0"
        assert done.stderr == ""

    @pytest.mark.parametrize("words", ["--version", "list"])
    def test_a_full_disk_is_told(self, words, tmp_path):
        done = shell(f"{ONSAGER} {words} > /dev/full", tmp_path)
        assert done.returncode == 1
        assert done.stderr == "onsager: cannot write to stdout: the disk is full\n"

    def test_a_closed_stdout_is_told(self, tmp_path):
        done = shell(f"{ONSAGER} list >&-", tmp_path)
        assert (done.returncode, done.stderr) == (1, "onsager: cannot write to stdout: it is closed\n")

    def test_letters_that_the_encoding_lacks_are_question_marks(self, tmp_path):
        done = shell(f"{ONSAGER} list", tmp_path, PYTHONIOENCODING="ascii")
        assert done.returncode == 0
        assert "(+experiment=?)" in done.stdout

    @pytest.mark.slow
    @pytest.mark.parametrize("streams", ["2>&1 | true", ">&- 2>&-", "2> /dev/full"])
    def test_a_training_ends_whoever_reads(self, streams, tmp_path):
        done = shell(f"set -o pipefail; {ONSAGER} train {' '.join(TOY)} output=results {streams}", tmp_path)
        assert done.returncode == 0
        assert (tmp_path / "results/figures/amp_l1-gaussian/amp_l1-gaussian.png").is_file()


class TestEnvironment:
    @pytest.fixture(autouse=True)
    def folder(self, tmp_path, monkeypatch):
        monkeypatch.chdir(tmp_path)

    def test_variables_that_change_numbers_are_dropped(self, monkeypatch, capsys):
        for name in NOT_OURS:
            monkeypatch.setenv(name, "1")
        assert main(["--version"]) == 0
        assert not set(NOT_OURS) & set(os.environ)

    @pytest.mark.slow
    @pytest.mark.parametrize(
        ("name", "value"), [("MPLBACKEND", "module://matplotlib_inline.backend_inline"), ("JAX_ENABLE_X64", "1")]
    )
    def test_a_notebook_or_a_shell_profile_changes_nothing(self, name, value, tmp_path):
        line = f"{ONSAGER} train {' '.join(TOY)} output=results"
        tables = [tmp_path / place / "results/figures/amp_l1-gaussian/curves.csv" for place in ("a", "b")]
        for place, variables in (("a", {}), ("b", {name: value})):
            (tmp_path / place).mkdir()
            done = shell(line, tmp_path / place, **variables)
            assert done.returncode == 0, done.stderr
        first, second = ([row.split(",")[:8] for row in table.read_text().splitlines()] for table in tables)
        assert first == second

    @pytest.mark.slow
    @pytest.mark.parametrize("platform", ["cuda", "gpuu"])
    def test_a_device_that_is_not_there_is_named(self, platform, tmp_path):
        done = shell(f"{ONSAGER} train {' '.join(TOY)}", tmp_path, JAX_PLATFORMS=platform)
        assert done.returncode == 2
        assert done.stderr.startswith(f"onsager: JAX_PLATFORMS={platform}: JAX finds no such device here")
        assert len(done.stderr.splitlines()) == 1

    def test_a_folder_that_was_deleted(self, tmp_path, monkeypatch, capsys):
        (tmp_path / "gone").mkdir()
        monkeypatch.chdir(tmp_path / "gone")
        (tmp_path / "gone").rmdir()
        assert main(["train"]) == 2
        assert capsys.readouterr().err == "onsager: the working directory was deleted: cd to another one\n"


class TestErrors:
    @pytest.fixture(autouse=True)
    def folder(self, tmp_path, monkeypatch):
        monkeypatch.chdir(tmp_path)

    def failing(self, monkeypatch, fail):
        monkeypatch.setattr(load, "load_parsed", lambda _: fail())

    def test_one_without_words_says_where(self, monkeypatch, capsys):
        def fail():
            raise AssertionError

        self.failing(monkeypatch, fail)
        assert main(["plot"]) == 1
        assert "AssertionError: at test_streams.py:" in capsys.readouterr().err

    def test_memory(self, monkeypatch, capsys):
        def fail():
            raise MemoryError

        self.failing(monkeypatch, fail)
        assert main(["plot"]) == 1
        assert "out of memory" in capsys.readouterr().err

    def test_nothing_that_a_terminal_obeys(self, capsys):
        assert main(["\x1b[31mtrain"]) == 2
        err = capsys.readouterr().err
        assert "\\x1b[31mtrain" in err
        assert err.removesuffix("\n").isprintable()

    def test_a_line_has_an_end(self, capsys):
        assert main(["train", f"++key=[{'1,' * 5000}1"]) == 2
        line = capsys.readouterr().err
        assert line.startswith("onsager: cannot read the override")
        assert len(line) < 2100

    @pytest.mark.parametrize(("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
    def test_a_signal_comes_before_what_it_became(self, number, code, monkeypatch, capsys):
        """While a config is composed, Hydra makes an error of its own of a Ctrl-C."""

        def fail():
            try:
                os.kill(os.getpid(), number)
            except BaseException:
                raise UserError("cannot compose the config") from None

        self.failing(monkeypatch, fail)
        assert main(["plot"]) == code
        assert capsys.readouterr().err.startswith("onsager: stopped")

    def test_a_signal_that_was_swallowed_stops_it_too(self, monkeypatch, capsys):
        def fail():
            try:
                os.kill(os.getpid(), signal.SIGINT)
            except KeyboardInterrupt:
                return load.load_experiment(["network=amp"])

        self.failing(monkeypatch, fail)
        assert main(["train", "--cfg", "job"]) == 130

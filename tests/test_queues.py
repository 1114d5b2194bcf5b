"""Slurm without Slurm: what is asked of sbatch, squeue and sacct, and what they answer."""

import re
import sys
from pathlib import Path

import pytest
from test_cluster import SLURM, empty_folder, jobs, numbers  # noqa: F401

from onsager_cli.cli.queues import Seen, SlurmQueue
from onsager_cli.config.launchers import Slurm
from onsager_cli.config.overrides import parse
from onsager_cli.config.sweeping import launcher_of
from onsager_cli.errors import UserError


class TestSlurmWithoutSlurm:
    """What is asked of sbatch, and what it answers, with a stand-in for the commands of Slurm."""

    @pytest.fixture(autouse=True)
    def commands(self, tmp_path, monkeypatch):
        pytest.importorskip("submitit")
        folder = tmp_path / "bin"
        folder.mkdir()
        for name, text in {
            "srun": "", "squeue": "echo '17_0|RUNNING|None|/a|b'; echo broken", "sacct": "echo 'TIMEOUT'",
            "sbatch": 'cat "$1" > sbatch.txt; cat answer >&2; [ -s answer ] && exit 1; echo Submitted batch job 17',
        }.items():  # fmt: skip
            (folder / name).write_text(f"#!/bin/sh\n{text}\n")
            (folder / name).chmod(0o755)
        monkeypatch.setenv("PATH", str(folder), prepend=":")
        Path("answer").write_text("")

    @staticmethod
    def queue(*words: str) -> SlurmQueue:
        launcher = launcher_of(parse([SLURM, *words]))
        assert isinstance(launcher, Slurm)
        return SlurmQueue(launcher, Path.cwd() / "logs", "fig10")

    def test_the_keys_become_options_of_sbatch(self):
        words = (
            "timeout_min=30", "mem_gb=3", "partition=gpu", "account=us", "cpus_per_task=2", "gpus_per_node=1",
            "array_parallelism=4", "signal_delay_s=60", "setup=[module load x]",
            "additional_parameters={mail-type: END, exclusive: true}",
        )  # fmt: skip
        queue = self.queue(*(f"hydra.launcher.{word}" for word in words))
        assert list(queue.submit([lambda: None] * 5, ["9_1", "9_2"])) == [f"17_{number}" for number in range(5)]
        script = Path("sbatch.txt").read_text()
        for option in (
            "time=30", "mem=3GB", "partition=gpu", "account=us", "cpus-per-task=2", "gpus-per-node=1", "array=0-4%4",
            "signal=USR2@60", "job-name=fig10", "mail-type=END", "dependency=afterany:9_1:9_2",
        ):  # fmt: skip
            assert f"#SBATCH --{option}\n" in script
        for option in ("requeue", "exclusive"):
            assert f"#SBATCH --{option}\n" in script
        assert "\nmodule load x\n" in script
        assert re.search(r"^srun .* --cpus-per-task=2 sh -c", script, re.MULTILINE)
        assert f"""sh -c 'trap "" TERM USR2; exec "$0" "$@"' {sys.executable} -P -u -m submitit""" in script
        assert queue.log("17_3") == Path.cwd() / "logs/17_3_0_log.out"
        assert queue.cancel_command(["17_0", "17_4", "9_1"]) == ["scancel", "17", "9_1"]
        assert queue.states() == {"17_0": Seen("RUNNING", "None", "/a|b")}
        assert queue.last_state("17_0") == "TIMEOUT"
        assert list(queue.submit([lambda: None])) == ["17"]
        assert "dependency" not in Path("sbatch.txt").read_text()

    def test_a_job_in_a_job_does_not_inherit_its_size(self, monkeypatch):
        for name in ("SLURM_JOB_ID", "SLURM_NTASKS", "SLURM_CONF", "SBATCH_ACCOUNT"):
            monkeypatch.setenv(name, "5")
        (Path("bin/sbatch")).write_text("#!/bin/sh\nenv > env.txt\necho Submitted batch job 17\n")
        assert list(self.queue().submit([lambda: None])) == ["17"]
        inherited = [line for line in Path("env.txt").read_text().splitlines() if line.startswith(("SLURM", "SBATCH"))]
        assert sorted(inherited) == ["SBATCH_ACCOUNT=5", "SLURM_CONF=5"]

    @pytest.mark.parametrize(
        ("answer", "words", "line"),
        [
            ("Invalid partition name specified", "partition=gpu", "name specified (here hydra.launcher.partition=gpu)"),
            ("Requested time limit is invalid (…)", "", "(…) (here hydra.launcher.timeout_min=240)"),
            ("Invalid account or account/partition combination specified", "account=us", "hydra.launcher.account=us)"),
            ("Unable to contact slurm controller", "", "Slurm refuses the jobs: Unable to contact slurm controller"),
        ],
    )
    def test_a_refusal_is_one_line_with_the_keys_that_it_is_about(self, answer, words, line):
        Path("answer").write_text(f"sbatch: warning: hm\nsbatch: error: Batch job submission failed: {answer}\n")
        with pytest.raises(UserError) as error:
            list(self.queue(*(f"hydra.launcher.{word}" for word in words.split())).submit([lambda: None]))
        assert str(error.value).endswith(line)
        assert "\n" not in str(error.value)

    def test_a_machine_without_slurm(self, monkeypatch):
        monkeypatch.setenv("PATH", "/nowhere")
        with pytest.raises(UserError, match="Slurm is not installed here"):
            self.queue()

    def test_without_the_commands_of_accounting_nothing_is_known(self):
        for name in ("squeue", "sacct"):
            Path("bin", name).write_text("#!/bin/sh\nexit 1\n")
        assert self.queue().states() is None
        assert self.queue().last_state("17_0") == ""

"""The command: help without heavy imports, exit codes, sweeps, completion."""

import json
import os
import signal
import subprocess
import sys
import types
from pathlib import Path

import pytest
from conftest import slow

import onsager_cli
from onsager_cli.cli.main import main
from onsager_cli.cli.sweep import figure_suffixes
from onsager_cli.cli.verbs import VERBS
from onsager_cli.config import catalog
from onsager_cli.errors import UserError

HEAVY = ("jax", "flax", "optax", "hydra", "omegaconf", "matplotlib", "scipy", "numpy")


@pytest.fixture(autouse=True)
def empty_folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("ONSAGER_DEBUG", raising=False)


@pytest.fixture
def engine(monkeypatch):
    """Stands in for `onsager_cli.run`, so that the command is tested without training; notes what it is asked."""
    fake = types.ModuleType("onsager_cli.run")
    asked: list = []

    def train(experiment, report):
        asked.append(experiment)
        if failure := fake.failures.get(experiment.parts[0].curves[0].settings.seed):
            raise failure
        return []

    fake.asked, fake.failures = asked, {}  # type: ignore[attr-defined]
    fake.train = train  # type: ignore[attr-defined]
    fake.plot = lambda experiment: ([experiment.output / f"{experiment.name}.pdf"], ["oracle"])  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, "onsager_cli.run", fake)
    monkeypatch.setattr(onsager_cli, "run", fake, raising=False)
    return fake


def python(code: str, **options) -> "subprocess.CompletedProcess[str]":
    """Runs Python code in a fresh interpreter, where nothing heavy is imported yet."""
    return subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False, **options)


class TestLightVerbs:
    @pytest.mark.parametrize(
        "arguments",
        [["train", "--help"], ["bench", "--help"], ["verify", "--help"], ["clean", "--help"], ["list"], ["completion", "--words", "onsager train +experiment="],
         *slow([], ["--help"], ["--version"], ["completion", "bash"])],
    )  # fmt: skip
    def test_import_nothing_heavy(self, arguments):
        result = python(
            "import sys; from onsager_cli.cli.main import main; "
            f"code = main({arguments!r}); print([m for m in {HEAVY!r} if m in sys.modules]); sys.exit(code)"
        )
        assert result.returncode == 0, result.stderr
        assert result.stdout.splitlines()[-1] == "[]"

    def test_plot_and_its_mistakes_do_without_jax(self):
        result = python(
            "import sys; from onsager_cli.cli.main import main; main(['plot', 'seed=x']); print('jax' in sys.modules)"
        )
        assert result.stdout == "False\n"

    def test_the_module_is_the_command(self):
        command = [sys.executable, "-m", "onsager_cli", "--version"]
        assert subprocess.check_output(command, text=True) == f"onsager {onsager_cli.__version__}\n"

    def test_alone_it_names_the_verbs_and_three_examples(self, capsys):
        assert main([]) == 0
        lines = capsys.readouterr().out.splitlines()
        for name, verb in VERBS.items():
            assert f"  onsager {name:<11} {verb.summary}" in lines
        examples = lines[lines.index("Examples:") + 1 :][:3]
        assert all(line.startswith("  onsager ") for line in examples)

    @pytest.mark.parametrize("verb", VERBS)
    def test_every_verb_has_help(self, verb, capsys):
        assert main([verb, "--help"]) == 0
        assert capsys.readouterr().out.startswith(f"usage: onsager {verb}")

    @pytest.mark.parametrize(
        ("verb", "option"), [("bench", "--override KEY=VALUE"), ("verify", "--vocabulary"), ("report", "--output")]
    )
    def test_help_tells_the_options(self, verb, option, capsys):
        main([verb, "--help"])
        told = capsys.readouterr().out
        assert any(line.startswith(f"  {option} ") for line in told.splitlines())
        for asked in ["help", verb], ["--help", verb], ["help", verb, "--help"]:
            assert main(asked) == 0
            assert capsys.readouterr().out == told

    def test_list_names_every_option_with_a_title(self, capsys):
        assert main(["list"]) == 0
        lines = capsys.readouterr().out.splitlines()
        for group in catalog.GROUPS:
            for name in catalog.config_files(group):
                found = [line for line in lines if line.split()[:1] == [name]]
                assert found
                assert all(len(line.split(maxsplit=1)[1]) > 10 for line in found)

    def test_list_of_one_section(self, capsys):
        assert main(["list", "networks"]) == 0
        assert "lamp" in (out := capsys.readouterr().out)
        assert "kappa15" not in out

    def test_list_in_the_order_of_the_paper(self):
        names = list(catalog.config_files("experiment"))
        assert names.index("fig9") < names.index("fig10")

    def test_a_reader_that_leaves_early(self):
        command = f"{sys.executable} -m onsager_cli list | head -c 1; exit ${{PIPESTATUS[0]}}"
        result = subprocess.run(["bash", "-c", command], capture_output=True, text=True, check=False)
        assert (result.returncode, result.stderr) == (0, "")


class TestTrain:
    def test_trains_then_draws(self, engine, capsys):
        assert main(["train", "+experiment=quick", "output=o"]) == 0
        out, err = capsys.readouterr()
        assert [experiment.name for experiment in engine.asked] == ["quick"]
        assert out == "o/quick.pdf\n"
        assert err == "missing in quick: oracle\n"

    def test_prints_the_config(self, engine, capsys):
        assert main(["train", "problem=kappa15", "--cfg", "job"]) == 0
        assert "kappa: 15" in capsys.readouterr().out
        assert engine.asked == []
        assert os.listdir() == []

    def test_prints_the_config_with_a_key_that_only_a_curve_has(self, engine, capsys):
        assert main(["train", "+experiment=fig1a", "network.weight=vamp", "--cfg", "job"]) == 0
        assert "weight: vamp" in capsys.readouterr().out

    def test_words_may_stand_between_options(self, engine, capsys):
        command = "train seed=1 --cfg job network.depth=2 --resolve problem.snr_db=30"
        assert main(command.split()) == 0
        out = capsys.readouterr().out
        assert all(text in out for text in ("seed: 1\n", "depth: 2\n", "snr_db: 30\n"))

    def test_record_tells_what_it_wrote(self, engine, capsys):
        engine.record = lambda experiment, force, tell: ([Path("experiments/fig8/README.md")], [])
        assert main(["record", "+experiment=fig8"]) == 0
        assert capsys.readouterr().out == "experiments/fig8/README.md\n"


class TestExitCodes:
    @pytest.mark.parametrize(
        ("failure", "code", "line"),
        [
            (UserError("problem.N must be smaller"), 2, "onsager: problem.N must be smaller\n"),
            (
                KeyboardInterrupt(),
                130,
                "onsager: stopped; run the same command again to resume: onsager train 'plot.formats=[png]'\n",
            ),
            (RuntimeError("two\nlines"), 1, "onsager: RuntimeError: two lines (ONSAGER_DEBUG=1 shows the traceback)\n"),
        ],
    )
    def test_failures(self, engine, capsys, failure, code, line):
        engine.failures[0] = failure
        assert main(["train", "plot.formats=[png]"]) == code
        assert capsys.readouterr().err == line

    @pytest.mark.parametrize("failure", [UserError("mistake"), RuntimeError("crash")])
    def test_debug_shows_the_traceback(self, engine, capsys, monkeypatch, failure):
        monkeypatch.setenv("ONSAGER_DEBUG", "1")
        engine.failures[0] = failure
        main(["train"])
        err = capsys.readouterr().err
        assert "Traceback" in err
        assert err.splitlines()[-1].startswith("onsager: ")

    @pytest.mark.parametrize(("number", "code"), [(signal.SIGINT, 130), *slow((signal.SIGTERM, 143))])
    def test_signals_end_a_training_in_order(self, tmp_path, number, code):
        script = (
            "import sys, time, types\n"
            "fake = types.ModuleType('onsager_cli.run')\n"
            "def train(experiment, report):\n"
            "    try:\n        print('training', flush=True)\n        time.sleep(60)\n"
            "    finally:\n        print('cleaned up', flush=True)\n"
            "fake.train = train\n"
            "import onsager_cli; sys.modules['onsager_cli.run'] = onsager_cli.run = fake\n"
            "from onsager_cli.cli.main import main; sys.exit(main(['train']))\n"
        )
        command = [sys.executable, "-c", script]
        with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as process:
            assert process.stdout is not None
            assert process.stdout.readline() == "training\n"
            process.send_signal(number)
            out, err = process.communicate(timeout=30)
        assert (process.returncode, out) == (code, "cleaned up\n")
        assert err == "onsager: stopped; run the same command again to resume: onsager train\n"


class TestSweep:
    def test_runs_the_product(self, engine, capsys):
        command = "sweep problem=gaussian,kappa15 network=lamp shrinkage=bg,pwlin network.depth=2"
        assert main(command.split()) == 0
        assert [experiment.name for experiment in engine.asked] == [
            "lamp_tied_bg-gaussian",
            "lamp_tied_pwlin-gaussian",
            "lamp_tied_bg-kappa15",
            "lamp_tied_pwlin-kappa15",
        ]
        assert {experiment.curves[0].settings.network.depth for experiment in engine.asked} == {2}
        assert "job 4/4: problem=kappa15 network=lamp shrinkage=pwlin" in capsys.readouterr().err

    def test_no_job_writes_over_the_figure_of_another(self, engine):
        assert main(["sweep", "problem.snr_db=20,40", "problem.gamma=0.05", "plot.formats=[svg],[png]"]) == 0
        assert [experiment.name for experiment in engine.asked[::2]] == [
            f"lamp_tied_pwlin-gaussian-snr_db={level}" for level in (20, 40)
        ]
        assert [experiment.figure.name for experiment in engine.asked] == [e.name for e in engine.asked]

    def test_nor_where_values_are_alike_as_names_of_files(self):
        jobs = [[f"problem.matrix={name}.npy"] for name in ("a/1", "a_1", "b")]
        assert figure_suffixes(jobs, [(Path("figures"), "mine")] * 3) == ["-matrix=a_1.npy", "-2", "-matrix=b.npy"]

    @pytest.mark.slow
    def test_nor_with_two_networks_long_values_or_panels(self, engine):
        assert main(["sweep", "network=lamp,amp", "problem.snr_db=20,40", "plot.formats=[svg],[png]"]) == 0
        assert [experiment.name for experiment in engine.asked[::2]] == [
            f"{slug}-gaussian-snr_db={level}" for slug in ("lamp_tied_pwlin", "amp_l1") for level in (20, 40)
        ]
        engine.asked.clear()
        steps = ",".join(f"[{number},{'9,' * 20}9]" for number in (1, 2))
        assert main(["sweep", f"training.lamp.steps={steps}"]) == 0
        assert [experiment.name[-2:] for experiment in engine.asked] == ["-1", "-2"]
        engine.asked.clear()
        assert main(["sweep", "+experiment=fig1,fig8", "seed=0,1"]) == 0
        parts = [part.name for experiment in engine.asked for part in experiment.parts]
        assert parts == ["fig1a-seed=0", "fig1b-seed=0", "fig1a-seed=1", "fig1b-seed=1", "fig8-seed=0", "fig8-seed=1"]

    @pytest.mark.slow
    def test_over_experiments(self, engine):
        assert main(["sweep", "+experiment=fig8,fig9", "network.depth=2"]) == 0
        assert [experiment.name for experiment in engine.asked] == ["fig8", "fig9"]

    @pytest.mark.slow
    def test_over_a_range_and_a_glob(self, engine):
        assert main(["sweep", "seed=range(0,2)", "problem=glob(kappa*)"]) == 0
        jobs = [experiment.curves[0].settings for experiment in engine.asked]
        assert {(job.seed, job.problem.name) for job in jobs} == {
            (0, "kappa15"), (0, "kappa100"), (1, "kappa15"), (1, "kappa100"),
        }  # fmt: skip

    def test_finds_the_own_conf(self, engine):
        Path("conf/problem").mkdir(parents=True)
        Path("conf/problem/small.yaml").write_text("defaults: [gaussian]\nname: small\nN: 50\nM: 25\n")
        assert main(["sweep", "problem=small,gaussian"]) == 0
        assert [experiment.curves[0].settings.problem.N for experiment in engine.asked] == [50, 500]

    @pytest.mark.slow
    def test_over_a_key_that_only_curves_have(self, engine, capsys):
        assert main(["sweep", "+experiment=fig1a", "network.weight=amp,vamp", "only=[ista]"]) == 0
        assert [experiment.curves[0].settings.network.weight for experiment in engine.asked] == ["amp", "vamp"]
        assert "job 2/2: +experiment=fig1a network.weight=vamp only=[ista]\n" in capsys.readouterr().err

    @pytest.mark.slow
    def test_a_schedule_counts_if_one_job_is_trained_by_it(self, engine, capsys):
        assert main(["sweep", "network=lamp,lista", "training.lamp.steps=[7]"]) == 0
        assert [experiment.curves[0].settings.training.descent.steps[0] for experiment in engine.asked] == [7, 400]
        assert main(["sweep", "network=lista,lvamp", "training.lamp.steps=[7],[8]"]) == 2
        assert len(engine.asked) == 2
        last = capsys.readouterr().err.splitlines()[-1]
        assert last.endswith("no curve uses training.lamp; the curves use training.lista or training.lvamp")

    def test_a_mistake_in_the_last_job_ends_it_before_the_first(self, engine, capsys):
        assert main(["sweep", "network.depth=3,2,0"]) == 2
        assert engine.asked == []
        assert capsys.readouterr().err == "onsager: network.depth must be at least 1, got 0\n"

    @pytest.mark.parametrize(("failure", "code"), [*slow((UserError("disk full"), 2)), (RuntimeError("crash"), 1)])
    def test_a_job_that_fails_does_not_stop_the_others(self, engine, capsys, failure, code):
        engine.failures[1] = failure
        assert main(["sweep", "seed=0,1,2"]) == code
        assert len(engine.asked) == 3
        *_, reason, count = capsys.readouterr().err.splitlines()
        assert reason.startswith("onsager: job 2/3 (seed=1): ")
        assert str(failure) in reason
        assert count == "onsager: 1 of 3 jobs failed"

    @pytest.mark.slow
    def test_leaves_the_process_as_it_was(self, engine):
        argv, environment = list(sys.argv), dict(os.environ)
        main(["sweep", "seed=0,1"])
        assert (sys.argv, dict(os.environ)) == (argv, environment)
        assert main(["sweep", "seed=0,1"]) == 0


@pytest.mark.slow
class TestProcessPool:
    """The joblib launcher (extra `sweep`), with real, tiny trainings: its jobs run in processes of their own."""

    SIZE = (
        "hydra/launcher=joblib", "hydra.launcher.n_jobs=2", "network=amp", "network.depth=2", "problem.N=20",
        "problem.M=10", "problem.selection_samples=8", "problem.test_samples=8", "plot.formats=[png]",
    )  # fmt: skip

    @pytest.fixture(autouse=True)
    def launcher(self):
        pytest.importorskip("joblib")

    @staticmethod
    def onsager(*arguments: str) -> "subprocess.CompletedProcess[str]":
        command = [sys.executable, "-m", "onsager_cli", *arguments]
        return subprocess.run(command, capture_output=True, text=True, check=False)

    def test_runs_the_product(self):
        result = self.onsager("sweep", *self.SIZE, "problem=gaussian,kappa15", "shrinkage=bg,soft")
        assert result.returncode == 0, result.stderr
        drawn = {path.name for path in Path("outputs/figures").glob("[!s]*/*.png")}
        assert Path(result.stdout.splitlines()[-1]).match("figures/sweep-problem+shrinkage-*/*.png")
        assert drawn == {f"amp_{label}-{name}.png" for label in ("bg", "l1") for name in ("gaussian", "kappa15")}

    def test_jobs_that_want_the_same_curve_train_it_once_and_as_one_process_does(self):
        size = [text.replace("network=amp", "network=lamp") for text in self.SIZE if "formats" not in text]
        schedule = ["training.lamp.steps=[50]", "training.lamp.batch=8"]
        result = self.onsager("sweep", *size, *schedule, "plot.formats=[png],[svg]")
        assert result.returncode == 0, result.stderr
        (log,) = Path("outputs/curves").glob("*/log.jsonl")
        assert log.read_text().count('"event": "curve"') == 1
        machine = json.loads((log.parent / "made.json").read_text())["machine"]
        # Two jobs share the cores; on a single one there is nothing to share.
        assert machine.get("threads", machine["cores"]) == max(1, machine["cores"] // 2)
        assert len(list(Path("outputs/figures").glob("*/*.[ps][nv]g"))) == 2
        alone = [text for text in size if not text.startswith("hydra")]
        assert self.onsager("train", *alone, *schedule, "plot.formats=[png]", "output=alone").returncode == 0
        networks = [next(Path(root, "curves").glob("*/network.npz")) for root in ("outputs", "alone")]
        assert networks[0].read_bytes() == networks[1].read_bytes()

    def test_a_mistake_that_only_a_job_can_find_comes_back(self):
        Path("outputs").mkdir()
        Path("outputs/curves").write_text("a file where a folder has to be")
        result = self.onsager("sweep", *self.SIZE, "seed=0,1")
        assert result.returncode == 2, result.stderr
        *_, reason, count = result.stderr.splitlines()
        assert reason.startswith("onsager: jobs 1, 2 of 2: cannot")
        assert count == "onsager: 2 of 2 jobs failed"

"""What a sweep asks for: its jobs and its launcher, and every mistake in one line before a job starts."""

import re
from pathlib import Path

import pytest
import yaml
from conftest import slow

import onsager_cli
from onsager_cli.cli.main import main
from onsager_cli.config import catalog, launchers
from onsager_cli.config.overrides import parse
from onsager_cli.config.sweeping import jobs_of, launcher_of
from onsager_cli.errors import UserError
from onsager_cli.kinds.checks import known_keys

SLURM = "hydra/launcher=submitit_slurm"


@pytest.fixture(autouse=True)
def empty_folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)


def jobs(*words: str) -> list[list[str]]:
    return jobs_of(parse(words, sweep=True))


def launcher(*words: str):
    return launcher_of(parse(words, sweep=True))


def slurm(*words: str) -> launchers.Slurm:
    made = launcher(*words)
    assert isinstance(made, launchers.Slurm)
    return made


class TestJobs:
    def test_are_the_product_with_the_last_word_fastest(self):
        assert jobs("problem=gaussian,kappa15", "seed=range(0,3)", "network.depth=2") == [
            [f"problem={problem}", f"seed={seed}", "network.depth=2"]
            for problem in ("gaussian", "kappa15")
            for seed in range(3)
        ]

    def test_of_a_glob_are_the_options_that_match(self):
        assert jobs("problem=glob(kappa*)") == [["problem=kappa15"], ["problem=kappa100"]]
        assert jobs("+experiment=glob([fig1*,quick],exclude=fig1?*)") == [["+experiment=fig1"], ["+experiment=quick"]]

    def test_of_a_glob_know_the_own_conf(self):
        Path("conf/problem").mkdir(parents=True)
        Path("conf/problem/kappa7.yaml").write_text("defaults: [kappa15]\n")
        assert ["problem=kappa7"] in jobs("problem=glob(kappa*)")

    def test_leave_the_launcher_out(self):
        assert jobs("seed=1", SLURM, "hydra.launcher.timeout_min=5") == [["seed=1"]]

    @pytest.mark.parametrize(
        ("words", "fragments"),
        [
            ("seed=glob(*)", ["seed=glob(*)", "glob chooses options", "experiment, problem"]),
            ("problem=glob(x*)", ["problem=glob(x*) matches no problem", "kappa15"]),
            ("seed=interval(0,1)", ["seed=interval(0,1)", "seed=range("]),
            ("seed=range(1,3,0)", ["seed=range(1,3,0)", "step that is not 0"]),
            ("problem.kappa=range(1.5,3.5,0)", ["step that is not 0"]),
            ("seed=range(3,1)", ["seed=range(3,1) lists no value"]),
            ("seed=range(0,1e9)", ["1,000,000,000 jobs", "at most 10000"]),
            ("seed=range(0,1e400)", ["far too many jobs"]),
            ("seed=shuffle(range(0,1000000000000))", ["1,000,000,000,000 jobs"]),
            ("seed=range(0,101) network.depth=range(1,101)", ["10,100 jobs"]),
            ("seed=1,2,1", ["seed=1,2,1 names seed=1 more than once"]),
        ],
    )
    def test_that_cannot_be(self, words, fragments):
        with pytest.raises(UserError) as error:
            jobs(*words.split())
        assert all(fragment in str(error.value) for fragment in fragments), error.value

    def test_may_be_ten_thousand(self):
        assert len(jobs("seed=range(0,100)", "network.depth=range(0,-100,-1)")) == 10_000
        assert jobs("problem.kappa=range(1,2,0.25)") == [[f"problem.kappa={value}"] for value in (1.0, 1.25, 1.5, 1.75)]


class TestLauncher:
    def test_is_basic_without_a_word(self):
        assert launcher("seed=1") is launcher("hydra/launcher=basic") is None

    def test_has_the_values_of_its_file_and_of_the_command(self):
        made = slurm(SLURM, "hydra.launcher.timeout_min=30", "hydra.launcher.mem_gb=1.5")
        assert (made.timeout_min, made.mem_gb, made.partition, made.max_num_timeout) == (30, 1.5, None, 20)
        assert launcher("hydra/launcher=joblib", "hydra.launcher.n_jobs=3") == launchers.Joblib("joblib", 3)

    def test_takes_the_text_of_slurm_as_it_is_typed(self):
        made = slurm(
            SLURM, "hydra.launcher.exclude=n1,n2", "hydra.launcher.constraint=a100&nvme",
            "hydra.launcher.additional_parameters.mail-type=END", "+hydra.launcher.additional_parameters.nice=5",
        )  # fmt: skip
        assert (made.exclude, made.constraint) == ("n1,n2", "a100&nvme")
        assert made.additional_parameters == {"mail-type": "END", "nice": 5}

    def test_may_be_a_file_of_the_own_conf(self):
        Path("conf/hydra/launcher").mkdir(parents=True)
        Path("conf/hydra/launcher/ours.yaml").write_text(
            "defaults: [submitit_slurm]\npartition: gpu\ntimeout_min: 90\n"
        )
        made = slurm("hydra/launcher=ours", "hydra.launcher.timeout_min=60")
        assert (made.partition, made.timeout_min, made.signal_delay_s) == ("gpu", 60, 120)

    def test_that_is_a_file_for_a_plugin_says_how_to_begin(self):
        Path("conf/hydra/launcher").mkdir(parents=True)
        Path("conf/hydra/launcher/ours.yaml").write_text(
            "_target_: hydra_plugins.submitit.SlurmLauncher\npartition: gpu\n"
        )
        with pytest.raises(UserError, match=r"conf/hydra/launcher/ours.yaml: begin it with defaults: \[joblib\]"):
            launcher("hydra/launcher=ours")

    @pytest.mark.parametrize(
        ("words", "fragments"),
        [
            ("hydra/launcher=ray", ["unknown launcher 'ray'", "basic, joblib, submitit_local or submitit_slurm"]),
            ("hydra/launcher=dask", ["unknown launcher 'dask'", "basic, joblib, submitit_local or submitit_slurm"]),
            ("hydra/launcher=null", ["unknown launcher null"]),
            ("hydra/launcher=[joblib]", ["unknown launcher ['joblib']"]),
            ("hydra/launcher=joblib,basic", ["write one value"]),
            (f"{SLURM} hydra.launcher.timeout_min=10,20", ["timeout_min=10,20", "write one value"]),
            (f"{SLURM} hydra.launcher.time=10", ["unknown key 'hydra.launcher.time'", "did you mean timeout_min?"]),
            (f"{SLURM} hydra.launcher.mem=10", ["did you mean mem_gb?"]),
            (f"{SLURM} +hydra.launcher.partitoin=gpu", ["did you mean partition?"]),
            (f"{SLURM} hydra.launcher.xyz=1", ["the launcher has partition, account"]),
            (f"{SLURM} hydra.launcher.kind=local", ["unknown key 'hydra.launcher.kind'"]),
            (f"{SLURM} hydra.launcher.partition.x=1", ["unknown key 'hydra.launcher.partition.x'"]),
            (f"{SLURM} hydra.launcher.timeout_min=1h", ["hydra.launcher.timeout_min must be a whole number", "'1h'"]),
            (f"{SLURM} hydra.launcher.mem_gb=0", ["hydra.launcher.mem_gb must be greater than 0"]),
            (f"{SLURM} hydra.launcher.timeout_min=2", ["signal_delay_s must be less than timeout_min=2 (120 s)"]),
            (f"{SLURM} hydra.launcher.additional_parameters=[1]", ["must map names to text"]),
            (f"{SLURM} hydra.launcher.setup=date", ["must be a list of lines of text"]),
            ("hydra/launcher=joblib hydra.launcher.n_jobs=0", ["n_jobs must be a whole number of processes", "got 0"]),
            ("hydra.launcher.n_jobs=2", ["hydra.launcher.n_jobs=2", "the basic launcher has no keys", "hydra/launcher=joblib"]),
        ],
    )  # fmt: skip
    def test_that_cannot_be(self, words, fragments):
        with pytest.raises(UserError) as error:
            launcher(*words.split())
        assert "\n" not in str(error.value)
        assert all(fragment in str(error.value) for fragment in fragments), error.value

    @pytest.mark.parametrize("name", ["joblib", "submitit_local", "submitit_slurm"])
    def test_has_a_file_with_every_key_and_its_unit(self, name):
        path = catalog.package_conf() / "hydra/launcher" / f"{name}.yaml"
        values = yaml.safe_load(path.read_text())
        assert list(values) == known_keys(launchers.KINDS[values["kind"]])
        for key, unit in (("timeout_min", "minutes"), ("signal_delay_s", "seconds"), ("mem_gb", "GB")):
            if key in values:
                assert re.search(rf"^{key}: .*# .*{unit}", path.read_text(), re.MULTILINE)

    @pytest.mark.parametrize(
        ("word", "instead"),
        [
            ("hydra/sweeper=optuna", "onsager sweep KEY=A,B"),
            *slow(
                ("hydra.sweep.dir=x", "output=FOLDER"), ("hydra.job.env_set.A=1", "set the variable before the command")
            ),
        ],
    )
    def test_is_all_that_a_sweep_takes_of_hydra(self, word, instead, capsys):
        assert main(["sweep", "seed=1,2", word]) == 2
        err = capsys.readouterr().err
        assert f"{word} has no effect" in err
        assert instead in err


def test_cfg_prints_the_launcher_and_the_first_job(capsys):
    words = [SLURM, "hydra.launcher.partition=gpu", "hydra.launcher.exclude=n1,n2", "seed=4,5"]
    assert main(["sweep", *words, "--cfg", "hydra"]) == 0
    out, err = capsys.readouterr()
    printed = yaml.safe_load(out)["hydra"]["launcher"]
    assert (printed["partition"], printed["exclude"], printed["timeout_min"]) == ("gpu", "n1,n2", 240)
    assert err == "onsager: the config of job 1 of 2\n"
    assert not Path("outputs").exists()


@pytest.mark.slow
def test_cfg_job_of_a_sweep(capsys):
    assert main(["sweep", SLURM, "seed=4,5", "--cfg", "job", "--resolve"]) == 0
    assert yaml.safe_load(capsys.readouterr().out)["seed"] == 4
    assert main(["sweep", "seed=4,5", "--resolve"]) == 2
    assert "--resolve needs --cfg" in capsys.readouterr().err


def test_no_text_offers_another_project():
    """On the package index, `onsager` is another project: nothing says to install it, or to import it."""
    package, root = Path(onsager_cli.__file__).parent, catalog.package_conf().parent
    folders = [package, catalog.package_conf(), *(root / name for name in ("docs", "tests", ".ci"))]
    kinds = {".py", ".toml", ".yaml", ".md", ".j2", ".bash", ".zsh", ".fish", ""}
    texts = [path for folder in folders for path in folder.rglob("*") if path.suffix in kinds and path.is_file()]
    texts += [
        path for path in root.glob("*") if path.suffix in {".md", ".toml", ".cff"} and path.name != "CHANGELOG.md"
    ]
    wrong = re.compile(r"pip install[^`\n&]*\bonsager(?!\w|-(?!cli))|\b(?:import|from) onsager(?![\w-])")
    for path in texts:
        if path != Path(__file__) and not {"__pycache__", "_build"} & set(path.parts):
            assert not wrong.search(path.read_text(encoding="utf-8", errors="ignore")), path

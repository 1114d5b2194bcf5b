"""The command `onsager`: verbs, help, exit codes. The only file that touches sys.argv and runs Hydra.

Exit codes: 0 done, 2 a mistake of the user (one line on stderr), 130 Ctrl-C, 143 SIGTERM, 1 anything else. Everything
heavy (JAX, Hydra, Matplotlib) is imported by the verb that needs it.
"""

import os
import shlex
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from importlib import import_module
from typing import TYPE_CHECKING

from onsager_cli import __version__
from onsager_cli.errors import UserError, notices_to
from onsager_cli.text import did_you_mean, one_of

if TYPE_CHECKING:
    from onsager_cli.config.experiment import Experiment

EXAMPLES = """\
Examples:
  onsager train +experiment=quick
  onsager train problem=kappa15 network=lamp network.tied=false shrinkage=bg network.depth=8
  onsager sweep problem=gaussian,kappa15 network=lamp shrinkage=bg,pwlin"""

OVERRIDES = """\
Overrides choose options (problem=kappa15) and set values (network.depth=8). `onsager list` names the options,
conf/ holds every key with its unit; options in ./conf of the working directory are found too.
"""

HELP = ("-h", "--help", "help")


@dataclass(frozen=True)
class Verb:
    """One word after `onsager`: what it does, how it is called, what runs it (arguments → exit code)."""

    summary: str
    usage: str
    help: str
    run: Callable[[list[str]], int]
    options: str | None = None  # the module whose `parser` has them


def train(arguments: list[str]) -> int:
    """`onsager train`: one experiment or one curve."""
    from onsager_cli.cli import jobs

    return jobs.run_train(arguments)


def sweep(arguments: list[str]) -> int:
    """`onsager sweep`: every combination of the alternatives."""
    from onsager_cli.cli import jobs

    return jobs.run_sweep(arguments)


def plot(arguments: list[str]) -> int:
    """`onsager plot`: draws what is trained."""
    from onsager_cli.cli import jobs

    jobs.draw(_experiment(arguments))
    return 0


def record(arguments: list[str]) -> int:
    """`onsager record`: copies a finished experiment into the published record."""
    from onsager_cli.cli import jobs

    jobs.record(_experiment(arguments))
    return 0


def verify(arguments: list[str]) -> int:
    """`onsager verify`: judges the claims on the recorded tables."""
    from onsager_cli.claims import verify as claims

    return claims.main(arguments)


def report(arguments: list[str]) -> int:
    """`onsager report`: the record as one HTML page."""
    from onsager_cli.record import report as record_page

    return record_page.main(arguments)


def list_options(arguments: list[str]) -> int:
    """`onsager list`: the options of every group, or what is stored."""
    if arguments[:1] == ["runs"]:
        from onsager_cli.cli import runs

        print(runs.listing(arguments[1:]))
        return 0
    from onsager_cli.config.catalog import listing

    print(listing(arguments))
    return 0


def clean(arguments: list[str]) -> int:
    """`onsager clean`: removes what nothing refers to."""
    from onsager_cli.cli import runs

    return runs.clean(arguments)


def bench(arguments: list[str]) -> int:
    """`onsager bench`: measures this machine."""
    from onsager_cli.cli import bench as benchmark

    return benchmark.main(arguments) or 0


def completion(arguments: list[str]) -> int:
    """`onsager completion`: prints the script for a shell, or (for that script) the words that can follow."""
    from onsager_cli.cli import completion as words

    if arguments[:1] == ["--words"]:
        print("\n".join(words.candidates(" ".join(arguments[1:]))))
        return 0
    if len(arguments) != 1 or arguments[0] not in words.SCRIPTS:
        got = f", got {' '.join(arguments)!r}" if arguments else ""
        raise UserError(f"completion needs the name of a shell, {one_of(words.SCRIPTS)}{got}")
    print(words.SCRIPTS[arguments[0]], end="")
    return 0


VERBS = {
    "train": Verb(
        "train what is missing of a figure or of one curve, then draw it",
        "onsager train [OVERRIDE ...] [--cfg job|hydra|all [--resolve]]",
        "Trains the curves of +experiment=NAME, or one curve if there is no experiment, and draws the figure.\n"
        "A curve that is stored is not trained again; a stopped one goes on, a minute of work at most being lost.\n"
        "--cfg job prints the composed config and stops; hydra: what Hydra adds, all: both; --resolve: with\n"
        "interpolations replaced by values.",
        train,
    ),
    "sweep": Verb(
        "train every combination of values given as a,b,c",
        "onsager sweep KEY=A,B [OVERRIDE ...]",
        "Trains the product of all alternatives, one after the other. On a process pool: hydra/launcher=joblib\n"
        "(pip install 'onsager[sweep]'); on a Slurm cluster: hydra/launcher=submitit_slurm ('onsager[slurm]').",
        sweep,
    ),
    "plot": Verb(
        "draw what is trained so far, and say what is missing",
        "onsager plot [OVERRIDE ...]",
        "Takes the overrides of the training; trains nothing. Writes pdf, svg, png and the table (curves.csv).",
        plot,
    ),
    "record": Verb(
        "write the published record of a trained experiment (experiments/)",
        "onsager record +experiment=NAME [OVERRIDE ...]",
        "Writes experiments/NAME: table, figure, and how, where and how fast it was made.",
        record,
    ),
    "verify": Verb(
        "judge every claim of the paper, or your own, on the recorded tables",
        "onsager verify [EXPERIMENT|CLAIM ...] [--folder DIR] [--json|--markdown|--vocabulary]",
        "One line per claim of experiments/*/claims.yaml: holds, fails or not run, with the measured number, the paper's,\n"
        "and the margin to the limit. Reads the tables in experiments/, or in DIR (outputs/figures: what is not recorded\n"
        "yet). Exit code 1 if a claim fails that is not declared a known failure. --vocabulary says how to write claims.",
        verify,
        "claims.verify",
    ),
    "report": Verb(
        "write the record as one HTML page: figures, claims, how each was made",
        "onsager report [--output FILE] [--folder DIR]",
        "A page that needs nothing beside it (default: outputs/report.html), from the tables, drawings and READMEs in\n"
        "experiments/, or in DIR.",
        report,
        "record.report",
    ),
    "list": Verb(
        "name the experiments, problems, networks, shrinkages and schedules; list runs: what is stored",
        "onsager list [experiments] [problems] [networks] [shrinkages] [schedules] | runs [output=FOLDER]",
        "Names every option with its title, those of ./conf included. `onsager list runs` shows the stored curves:\n"
        "layers, NMSE of the deepest network, seed, size, date, and whether the training is complete.",
        list_options,
    ),
    "clean": Verb(
        "remove what nothing refers to, after asking",
        "onsager clean [--yes] [output=FOLDER]",
        "Names temporary files of killed processes, curves of other versions of the numerics and damaged files,\n"
        "asks, and removes them. What a running training holds is left alone.",
        clean,
    ),
    "bench": Verb(
        "measure the speed of training on this machine",
        "onsager bench [OPTION ...]",
        "Milliseconds per step by network, depth and batch, beside the rate of plain matrix products.",
        bench,
        "cli.bench",
    ),
    "completion": Verb(
        "print the completion script of bash, zsh or fish",
        "onsager completion bash|zsh|fish",
        "bash:  onsager completion bash > ~/.local/share/bash-completion/completions/onsager\n"
        "zsh:   onsager completion zsh > a file named _onsager in a folder of $fpath\n"
        "fish:  onsager completion fish > ~/.config/fish/completions/onsager.fish",
        completion,
    ),
}


def overview() -> str:
    """The text of `onsager` alone."""
    lines = [
        "onsager: learned sparse recovery (LISTA, LAMP, LVAMP), from the paper's figures to your own",
        "",
    ]
    lines += [f"  onsager {name:<11} {verb.summary}" for name, verb in VERBS.items()]
    return "\n".join([*lines, "", EXAMPLES, "", "onsager VERB --help tells more; onsager --version."])


def verb_help(name: str) -> str:
    """The text of `onsager VERB --help`."""
    verb = VERBS[name]
    more = f"\n{OVERRIDES}" if "OVERRIDE" in verb.usage else ""
    if verb.options is not None:
        more = f"\n{import_module(f'onsager_cli.{verb.options}').parser().format_help()}"
    return f"usage: {verb.usage}\n\n{verb.summary[0].upper()}{verb.summary[1:]}.\n\n{verb.help}\n{more}"


def _experiment(arguments: list[str]) -> "Experiment":
    """The experiment that overrides ask for; UserError for options, which these verbs do not have."""
    from onsager_cli.cli.jobs import experiment_of

    for argument in arguments:
        if argument.startswith("-"):
            raise UserError(f"unknown option '{argument}': this verb takes overrides only")
    return experiment_of(arguments)


def _dispatch(arguments: list[str]) -> int:
    """Runs one command line. Raises UserError and whatever the verb raises."""
    if not arguments or arguments[0] in HELP:
        about = [word for word in arguments[1:] if word not in HELP]
        if not about:
            print(overview())
            return 0
        arguments = [about[0], "--help"]
    name, rest = arguments[0], arguments[1:]
    if name in ("-V", "--version"):
        print(f"onsager {__version__}")
        return 0
    if name not in VERBS:
        raise UserError(f"unknown verb '{name}'{did_you_mean(name, VERBS)}: {one_of(VERBS)}")
    if ("-h" in rest or "--help" in rest) and rest[:1] != ["--words"]:
        print(verb_help(name), end="")
        return 0
    return VERBS[name].run(rest)


def main(argv: Sequence[str] | None = None) -> int:
    """The entry point: runs a command line (default: the process's own) and returns the exit code."""
    arguments = list(sys.argv[1:] if argv is None else argv)
    try:
        with notices_to(lambda text: print(f"onsager: warning: {text}", file=sys.stderr)):
            code = _dispatch(arguments)
        sys.stdout.flush()
        return code
    except UserError as error:
        return _fail(error, str(error), 2)
    except KeyboardInterrupt as error:
        again = shlex.join(["onsager", *arguments])
        return _fail(error, f"stopped; the same command goes on: {again}", getattr(error, "exit_code", 130))
    except BrokenPipeError:
        # The reader (`| head`) has gone; without this, Python complains once more when it closes stdout.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 0
    except Exception as error:
        line = " ".join(f"{type(error).__name__}: {error}".split())
        return _fail(error, f"{line} (ONSAGER_DEBUG=1 shows the traceback)", 1)


def _fail(error: BaseException, line: str, code: int) -> int:
    """Says on stderr in one line why the command ends, with the traceback if ONSAGER_DEBUG is set."""
    if os.environ.get("ONSAGER_DEBUG"):
        import traceback

        traceback.print_exception(error)
    print(f"onsager: {' '.join(line.split())}", file=sys.stderr)
    return code

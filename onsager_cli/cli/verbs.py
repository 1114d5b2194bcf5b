"""The verbs of the command and its one parser. A verb's module is imported only when its options are needed.

The module of a verb has `main(options)`, which does the work and returns the exit code. If the verb has options,
`add_options(parser)` adds them.
"""

from dataclasses import dataclass
from importlib import import_module

from onsager_cli import __version__
from onsager_cli.cli.options import Parser


@dataclass(frozen=True)
class Verb:
    """One word after `onsager`: what it does in a line, its module, more help, and whether it takes overrides."""

    summary: str
    module: str
    description: str
    overrides: bool = False


VERBS = {
    "train": Verb("train what is missing of a figure or of one curve, then draw it", "cli.train", """\
Trains the curves of +experiment=NAME, or one curve if no experiment is named, and draws the figure. onsager does not
train a stored curve again. A stopped training resumes; at most a minute of work is lost.""", overrides=True),
    "sweep": Verb("train every combination of values given as a,b,c", "cli.sweep", """\
An override KEY=A,B names alternatives. onsager trains all combinations, one after the other.
On a process pool: hydra/launcher=joblib (pip install 'onsager[sweep]').
On a Slurm cluster: hydra/launcher=submitit_slurm (pip install 'onsager[slurm]').""", overrides=True),
    "plot": Verb("draw what is trained so far, and name what is missing", "cli.plot", """\
Takes the overrides of `onsager train` and trains nothing. Writes the figure (pdf, svg, png) and its table
(curves.csv).""", overrides=True),
    "record": Verb("write the published record of a trained experiment (experiments/)", "cli.record", """\
Takes +experiment=NAME and the overrides of its training. Writes experiments/NAME: the table, the figure, and a page
that says how, where and how fast the curves were trained.""", overrides=True),
    "verify": Verb("judge every claim of the paper, or your own, on the recorded tables", "cli.verify", """\
Prints one line per claim of experiments/*/claims.yaml: holds, fails or not run, with the measured number, the number
of the paper, and the margin to the limit. Reads the tables in experiments/, or in the folder that you name
(outputs/figures for results that are not recorded yet). The exit code is 1 if a claim fails that is not declared a
known failure. --vocabulary explains how to write claims."""),
    "report": Verb("write the record as one HTML page: figures, claims, how each was made", "cli.report", """\
Writes one self-contained HTML page from the tables, drawings and READMEs in experiments/, or in the folder that you
name."""),
    "list": Verb("list experiments, problems, networks, shrinkages, schedules, or stored runs", "cli.show", """\
`onsager list` names every option with its title, including those in ./conf. Name sections to see fewer.
`onsager list runs [output=FOLDER]` shows the stored curves: layers, NMSE of the deepest network, seed, size, date,
and whether the training is complete."""),
    "clean": Verb("remove files that nothing refers to, after asking", "cli.clean", """\
Lists temporary files of killed processes, curves of other numerics versions and damaged files, asks, and removes them.
onsager leaves alone what a running training uses."""),
    "bench": Verb("measure the speed of training on this machine", "cli.bench", """\
Prints milliseconds per step by network, depth and batch, and compares them with the rate of plain matrix products."""),
    "completion": Verb("print the completion script of bash, zsh or fish", "cli.completion", """\
bash:  onsager completion bash > ~/.local/share/bash-completion/completions/onsager
zsh:   onsager completion zsh > a file named _onsager in a folder of $fpath
fish:  onsager completion fish > ~/.config/fish/completions/onsager.fish"""),
}  # fmt: skip

EXAMPLES = """\
Examples:
  onsager train +experiment=quick
  onsager train problem=kappa15 network=lamp network.tied=false shrinkage=bg network.depth=8
  onsager sweep problem=gaussian,kappa15 network=lamp shrinkage=bg,pwlin"""

OVERRIDES = """\
Overrides choose options (problem=kappa15) and set values (network.depth=8). `onsager list` names the options.
The files in conf/ describe every key with its unit. onsager also reads ./conf of the working directory."""


def parser(chosen: str | None = None) -> Parser:
    """The parser of the whole command, with the options of the verb `chosen`; of the other verbs it has the names."""
    made = Parser("onsager")
    made.add_argument("--version", "-V", action="version", version=f"onsager {__version__}")
    verbs = made.add_subparsers(metavar="verb", prog="onsager")
    for name in VERBS:
        one = verbs.add_parser(name, add_help=True)
        if name == chosen:
            fill(one, name)
    return made


def fill(empty: Parser, name: str) -> Parser:
    """Add the description and the options of a verb to its parser; return the parser."""
    verb = VERBS[name]
    module = import_module(f"onsager_cli.{verb.module}")
    empty.description = f"{verb.summary[0].upper()}{verb.summary[1:]}.\n\n{verb.description}"
    if verb.overrides:
        empty.epilog = OVERRIDES
        empty.add_argument("overrides", nargs="*", metavar="OVERRIDE", help="such as problem=kappa15")
    if hasattr(module, "add_options"):
        module.add_options(empty)
    empty.set_defaults(main=module.main)
    return empty


def overview() -> str:
    """The text of `onsager` alone."""
    title = "onsager: learned sparse recovery (LISTA, LAMP, LVAMP), from the paper's figures to your own"
    lines = [f"  onsager {name:<11} {verb.summary}" for name, verb in VERBS.items()]
    return "\n".join([
        title, "", *lines, "", EXAMPLES, "", "onsager VERB --help tells more; onsager --version.",
    ])  # fmt: skip

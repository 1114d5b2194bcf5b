"""The verbs of the command and its one parser. A verb's module is imported only when its options are needed.

A module of a verb has `add_options(parser)`, which adds description and options, and `main(options)`, which does the
work and returns the exit code.
"""

from dataclasses import dataclass
from importlib import import_module

from onsager_cli import __version__
from onsager_cli.cli.options import Parser


@dataclass(frozen=True)
class Verb:
    """One word after `onsager`: what it does in one line, and the module in this folder that does it."""

    summary: str
    module: str


VERBS = {
    "train": Verb("train what is missing of a figure or of one curve, then draw it", "train"),
    "sweep": Verb("train every combination of values given as a,b,c", "sweep"),
    "plot": Verb("draw what is trained so far, and name what is missing", "plot"),
    "record": Verb("write the published record of a trained experiment (experiments/)", "record"),
    "verify": Verb("judge every claim of the paper, or your own, on the recorded tables", "verify"),
    "report": Verb("write the record as one HTML page: figures, claims, how each was made", "report"),
    "list": Verb("list experiments, problems, networks, shrinkages, schedules, or stored runs", "show"),
    "clean": Verb("remove files that nothing refers to, after asking", "clean"),
    "bench": Verb("measure the speed of training on this machine", "bench"),
    "completion": Verb("print the completion script of bash, zsh or fish", "completion"),
}

EXAMPLES = """\
Examples:
  onsager train +experiment=quick
  onsager train problem=kappa15 network=lamp network.tied=false shrinkage=bg network.depth=8
  onsager sweep problem=gaussian,kappa15 network=lamp shrinkage=bg,pwlin"""


def parser(chosen: str | None = None) -> Parser:
    """The parser of the whole command, with the options of the verb `chosen`; the other verbs have their names alone."""
    made = Parser("onsager")
    made.add_argument("--version", "-V", action="version", version=f"onsager {__version__}")
    verbs = made.add_subparsers(metavar="verb", prog="onsager")
    for name, verb in VERBS.items():
        one = verbs.add_parser(name, help=verb.summary, add_help=True)
        if name == chosen:
            fill(one, name)
    return made


def fill(empty: Parser, name: str) -> Parser:
    """Add the options and the description of a verb to its parser; return the parser."""
    verb = VERBS[name]
    module = import_module(f"onsager_cli.cli.{verb.module}")
    empty.set_defaults(main=module.main)
    module.add_options(empty)
    summary = f"{verb.summary[0].upper()}{verb.summary[1:]}."
    empty.description = f"{summary}\n\n{empty.description}" if empty.description else summary
    return empty


def overview() -> str:
    """The text of `onsager` alone."""
    lines = [
        "onsager: learned sparse recovery (LISTA, LAMP, LVAMP), from the paper's figures to your own",
        "",
    ]
    lines += [f"  onsager {name:<11} {verb.summary}" for name, verb in VERBS.items()]
    return "\n".join([*lines, "", EXAMPLES, "", "onsager VERB --help tells more; onsager --version."])

"""Random command lines: from a grammar of verbs, options, keys and values, and good command lines with a slip."""

import random
from collections.abc import Callable
from typing import Any

import yaml

from onsager_cli.cli.options import Parser
from onsager_cli.cli.verbs import VERBS, fill
from onsager_cli.config import catalog

Words = list[str]
WITH_OVERRIDES = [name for name, verb in VERBS.items() if verb.overrides]

GOOD = [
    "train", "train +experiment=quick", "plot +experiment=fig10 only=[lamp_tied_bg,oracle] network.depth=4",
    "train problem=kappa15 network=lamp network.tied=false shrinkage=bg network.depth=8",
    "sweep problem=gaussian,kappa15 network=lamp shrinkage=bg,pwlin", "sweep seed=range(0,3) problem.snr_db=20,40",
    "train network=lista shrinkage=threshold training=thorough", "train network=em_vamp network.depth=5 seed=4",
    "plot +experiment=fig1 plot.formats=[png]", "record +experiment=fig10", "verify mine --folder experiments",
    "verify --json", "report --folder experiments --output page.html", "list experiments networks", "list runs",
    "clean --yes output=outputs", "completion bash", "train --cfg job network=lvamp", "train --cfg all --resolve",
    "train training.lamp.steps=[20,30] training.lamp.batch=50 'figure.title=An example'",
    "train problem=random_access problem.embedding=complex network=lamp problem.channel.paths=3",
    "train shrinkage.theta=[1,2.2] 'output=a folder'", "plot network=amp figure.kind=qq", "bench --depth 2 --json",
    "train +experiment=fig8 seeds=[0,1,2] precision=high", "bench --quality --network lista --seed 1",
    "train +curves.mine='network=lamp network.depth=3'", "train ~figure.inset +figure.labels={amp_l1:AMP}",
]  # fmt: skip

HOSTILE = [
    "", " ", "''", '""', "'", '"', "\\", "=", "==", "a=b", ",", ",,", "[", "]", "[]", "[[]]", "[[[[[[[[[[]]]]]]]]]]", "{", "}", "{}",
    "{a:b}", "{a:{b:{c:1}}}", "[1,[2,[3]]]", "(", ")", "$", "$$", "${", "${}", "${seed}", "${nothing}", "${output}",
    "${oc.env:HOME}", "${oc.env:NOTHING}", "${oc.decode:1}", "${oc.create:{}}", "${hydra:job.name}", "${seed:${seed}}", "???", "!!python/object:os.system",
    "null", "None", "~", "true", "false", "True", "yes", "nan", "inf", "-inf", ".inf", "NaN", "0", "-0", "-1", "+1", "1.", ".5", "1e5", "1e400",
    "1e-400", "-1e308", "1_000", "0x10", "0b1", "1,5", "1;2", "9" * 30, "9" * 400, "9" * 5000, "1" + "0" * 50, "1.5", "2.5e0",
    "a b", "a\tb", "a\nb", "a\rb", "\x1b[31mred", "\x1b]0;title\x07", "\x07", "\x7f", "\x85", "\u2028", "\u202ereversed", "\ufeff", "\u00a0",
    "é", "Jürgen", "中文", "🙂", "e\u0301", "\udcff", "x\udc80y", "ﬁ", "İ", "ß", "–", "“quoted”", "x" * 300, "x" * 5000, "é" * 200, "-" * 100,
    "[" * 200, "[" * 200 + "]" * 200, "{a:" * 60 + "1" + "}" * 60, "[" + ",".join(["1"] * 3000) + "]", ",".join("abcdefgh"),
    "a,b", "1,2", "1,2,", "gaussian,kappa15", "gaussian,,kappa15", "range(3)", "range(0,3)", "range(1,3,0)", "range(3,0)", "range(0,3,-1)",
    "range(0,1e9)", "range(0,1000000000)", "range(0,0.001,1e-9)", "range(a)", "range()", "interval(0,1)", "interval(1)", "glob(*)", "glob(*,exclude=a*)",
    "glob(nothing*)", "choice(a,b)", "choice()", "choice(1,[2,3],{a:1})", "shuffle(1,2,3)", "shuffle(range(3))", "sort(3,1,2)", "sort(3,1,2,reverse=true)",
    "tag(t,choice(a,b))", "int(3.5)", "int(a)", "float(1)", "str(1)", "bool(1)", "json_str({a:1})", "extend_list(1)", "nothing(1)", "range(int(3))",
    "..", "../x", "../../../../x", "/", "/dev/null", "/dev/null/x", "/proc/self/mem", "~/x", "~nobody/x", "./", "a/b", "a//b", "C:\\x", "a\\b",
    ".", ".hidden", "-", "--", "-x", "*", "?", "a*b", "%s", "%n", "{0}", "$(id)", "`id`", "; id", "| id", "&", "#", "a#b", "@", "a@b", ":", "a:b", "a: b",
    "!", "<b>", "$x^2$", "$\\frac{1}{2}$", "$\\nothing{$", "$" + "\\sqrt{" * 60 + "x" + "}" * 60 + "$", "_", "__class__", "{x.__class__}", "\\N{BULLET}",
    "2024-01-01", "12:30", "1:2:3", "0o7", "007", "1e", "e5", "- a", "? a", "| a", "> a", "&a b", "*a", "[a: b]", "[1,2", "1,2]", "{a:1,a:2}", "[nan]", "[null]", "[1e400]",
    "[-1]", "[0]", "[a]", "['a','b']", "[true]", "[[1,2],[3,4]]", "[1,2.2]", "[[1,2.2]]",
]  # fmt: skip

EXTRA_KEYS = [
    "only", "seeds", "curves", "curves.x", "+curves.x", "+curves.mine", "panels", "figure", "plot", "problem", "network", "training", "shrinkage",
    "+experiment", "experiment", "hydra", "hydra.run.dir", "hydra.sweep.dir", "hydra.sweep.subdir", "hydra.job.chdir", "hydra.verbose",
    "hydra.searchpath", "hydra.mode", "hydra.job.name", "hydra.output_subdir", "hydra.launcher.n_jobs", "hydra.callbacks", "+hydra.callbacks.x._target_",
    "hydra/launcher", "hydra/sweeper", "hydra/job_logging", "hydra/nothing", "problem@x", "network@problem", "network.depth.deeper", "defaults", "+defaults",
    "network.kind", "problem.kind", "shrinkage.family", "training.kind", "problem.name", "network.name", "network._target_", "+x._target_", "_target_",
    "__class__", "network.__class__", "figure.labels.lamp", "+figure.labels.lamp_tied_bg", "training.lamp", "training.nothing.steps", "+a.b", "+a", "a", "A.b", "1", "1.2",
    "network.", ".depth", "network..depth", "network[depth]", "network.learn[0]", "shrinkage.theta[0]", "problem.channel", "a/b", "../x", "+../x", "é", "net work", "",
]  # fmt: skip
OPTIONS = [
    "--help", "-h", "--version", "-V", "--cfg", "--cfg=job", "-c", "--resolve", "--yes", "--json", "--markdown", "--vocabulary", "--folder", "--output",
    "--words", "--multirun", "-m", "-cn", "--config-name=fig10", "--config-dir", "--resume", "--info", "--run", "--hydra-help", "--package", "--experimental-rerun",
    "--depth", "--network", "--batch", "--override", "--quality", "--seed", "--seconds", "-", "--", "-x", "--=", "--nothing=1", "-🙂", "--folder=", "--output=",
]  # fmt: skip
WORDS = [
    "fig10", "quick", "mine", "lamp", "train", "help", "runs", "experiments", "networks", "problems", "shrinkages", "schedules", "bash", "zsh", "fish", "job", "hydra", "all",
    "output=outputs", "output=", "output=..", "output=~/x", "experiments", "nowhere", "mine-oracle", "10-shrink", "conf", "2", "-1", "lista", "lamp-bg", "page.html", "/dev/null",
]  # fmt: skip


class Lines:
    """Draws command lines, as lists of words after `onsager`."""

    def __init__(self) -> None:
        self.groups = {group: list(catalog.config_files(group)) for group in catalog.GROUPS}
        self.values = _values()
        self.options = {name: fill(Parser(f"onsager {name}", add_help=True), name).option_words() for name in VERBS}
        self.keys = [*self.values, *EXTRA_KEYS]

    def line(self, rng: random.Random) -> Words:
        """One command line: from the grammar, or a good one that is changed."""
        if rng.random() < 0.35:
            return self.changed(rng)
        verb = rng.choice([*VERBS, *WITH_OVERRIDES * 3]) if rng.random() < 0.97 else self.text(rng)
        words = [verb]
        if verb in WITH_OVERRIDES:
            words += self.overrides(rng)
        else:
            words += [rng.choice(WORDS) if rng.random() < 0.8 else self.text(rng) for _ in range(rng.randint(0, 3))]
        for _ in range(rng.choice((0, 0, 0, 1, 2))):
            known = self.options.get(verb) or OPTIONS
            word = rng.choice(known) if rng.random() < 0.6 else rng.choice(OPTIONS)
            words.insert(rng.randint(1, len(words)), word)
            if rng.random() < 0.5:
                words.insert(words.index(word) + 1, rng.choice(WORDS) if rng.random() < 0.7 else self.text(rng))
        return words

    def overrides(self, rng: random.Random) -> Words:
        """Some overrides; options of the groups come before values."""
        words = []
        for group, names in self.groups.items():
            if rng.random() < (0.25 if group == "experiment" else 0.3):
                plus = "+" if group == "experiment" else ""
                words.append(f"{plus}{group}={rng.choice(names)}")
        for _ in range(rng.choice((0, 1, 1, 1, 2, 3, 5))):
            words.append(self.override(rng))
        return words

    def override(self, rng: random.Random) -> str:
        """`key=value`: most with a known key and a value that is right, nearly right or hostile."""
        key = rng.choice(self.keys)
        key = self.slip(rng, key) if rng.random() < 0.05 else key
        prefix = rng.choices(("", "+", "++", "~"), (90, 4, 4, 3))[0]
        if prefix == "~" and rng.random() < 0.5:
            return f"~{key}"
        return f"{prefix}{key}={self.value(rng, key)}"

    def value(self, rng: random.Random, key: str) -> str:
        good = self.values.get(key) or self.groups.get(key.lstrip("+")) or ["1"]
        how = rng.random()
        if how < 0.3:
            return str(rng.choice(good))
        if how < 0.45:
            return self.slip(rng, str(rng.choice(good)))
        if how < 0.55:
            return _as_list(rng, [str(rng.choice(good)) for _ in range(rng.randint(0, 4))])
        if how < 0.6:
            return ",".join(str(rng.choice(good)) for _ in range(rng.randint(2, 4)))
        if how < 0.7:
            return _number(rng)
        if how < 0.95:
            return rng.choice(HOSTILE)
        return self.text(rng)

    def changed(self, rng: random.Random) -> Words:
        """A good command line with one to three changes."""
        import shlex

        words = shlex.split(rng.choice(GOOD))
        changes: list[Callable[[Words], object]] = [
            lambda words: words.append(self.override(rng)),
            lambda words: words.pop(rng.randrange(len(words))),
            lambda words: words.insert(rng.randint(0, len(words)), rng.choice(words)),
            lambda words: rng.shuffle(words),
            lambda words: self._change(rng, words, lambda word: self.slip(rng, word)),
            lambda words: self._change(rng, words, lambda word: word.partition("=")[0] + "=" + rng.choice(HOSTILE)),
            lambda words: self._change(rng, words, lambda word: word + rng.choice(HOSTILE)),
            lambda words: self._change(rng, words, lambda word: rng.choice(HOSTILE) + word),
            lambda words: words.insert(rng.randint(1, max(1, len(words))), rng.choice(OPTIONS)),
            lambda words: words.__setitem__(0, rng.choice(list(VERBS))) if words else None,
        ]
        for _ in range(rng.randint(1, 3)):
            if words:
                rng.choice(changes)(words)
        return words

    def _change(self, rng: random.Random, words: Words, change: Callable[[str], str]) -> None:
        number = rng.randrange(len(words))
        words[number] = change(words[number])

    def slip(self, rng: random.Random, word: str) -> str:
        """A word with a letter too many, too few, wrong or in the wrong place."""
        place = rng.randint(0, max(0, len(word) - 1))
        other = rng.choice("abcdefghijklmnopqrstuvwxyz0123456789.,=_-+[]{}()$'\" ~/\\é\x1b")
        return rng.choice((
            word[:place] + other + word[place:], word[:place] + word[place + 1 :], word[:place] + other + word[place + 1 :],
            word[:place] + word[place : place + 2][::-1] + word[place + 2 :], word.upper(), word + word,
        ))  # fmt: skip

    def text(self, rng: random.Random) -> str:
        """Random characters, of no control or of all kinds; never NUL, which no command line can hold."""
        kinds = ((32, 126), (32, 126), (161, 591), (0x400, 0x4FF), (1, 31), (0x1F300, 0x1F6FF), (0x300, 0x36F))
        low, high = rng.choice(kinds)
        return "".join(chr(rng.randint(low, high)) for _ in range(rng.randint(1, 12)))


def _values() -> dict[str, list[Any]]:
    """Dotted key → values that config files of the package give it, as they are typed."""
    found: dict[str, list[Any]] = {}
    conf = catalog.package_conf()
    for path in sorted(conf.rglob("*.yaml")):
        tree = yaml.safe_load(path.read_text(encoding="utf-8")) or {}
        group = str(path.parent.relative_to(conf)).replace(".", "")
        inside = "" if group in ("", "experiment") or group in tree else f"{group}."
        for key, value in _flat(tree, inside):
            if not key.startswith(("defaults", "hydra", "curves")):
                found.setdefault(key, []).append(typed(value))
    return found


def _flat(tree: dict[str, Any], prefix: str) -> list[tuple[str, Any]]:
    pairs = []
    for key, value in tree.items():
        inner = _flat(value, f"{prefix}{key}.") if isinstance(value, dict) and value else [(f"{prefix}{key}", value)]
        pairs += inner
    return pairs


def typed(value: object) -> str:
    """A value of a config as an override spells it."""
    if isinstance(value, list):
        return "[" + ",".join(map(typed, value)) + "]"
    if value is None or isinstance(value, bool):
        return str(value).lower().replace("none", "null")
    text = str(value)
    return f"'{text}'" if isinstance(value, str) and not text.replace("_", "").isalnum() else text


def _as_list(rng: random.Random, items: list[str]) -> str:
    return rng.choice(("[{}]", "[{}]", "[{},]", "[[{}]]", "({})", "{{{}}}", "choice({})")).format(",".join(items))


def _number(rng: random.Random) -> str:
    size = rng.choice((1, 1, 10, 100, 1e4, 1e9, 1e18, 1e300))
    number = rng.choice((rng.randint(-3, 30), rng.uniform(-1, 1) * size, round(rng.uniform(0, 1) * min(size, 1e30))))
    return repr(number)

"""Overrides → plain config dictionaries, by Hydra, with every mistake as one line.

Hydra's own messages span several lines and name its internals, so the overrides are looked at before Hydra sees
them: syntax, options of a group, keys. What Hydra still refuses is shortened to its first line.
"""

import re
from collections.abc import Callable, Iterator, Mapping, MutableMapping, Sequence
from contextlib import ExitStack, contextmanager
from functools import cache, lru_cache
from typing import TYPE_CHECKING, Any, NamedTuple

from onsager_cli.config import catalog, plain
from onsager_cli.config.overrides import fits, is_group, is_plain, typed
from onsager_cli.errors import UserError
from onsager_cli.store.files import LARGEST_TEXT, below, read_bytes
from onsager_cli.store.yaml_files import check_size, read_yaml

if TYPE_CHECKING:
    from hydra.core.override_parser.types import Override
    from omegaconf import DictConfig


def search_path_override(lines: Sequence[str]) -> list[str]:
    """The override that makes Hydra search the user's `./conf` too; [] if there is none or `lines` set a path."""
    folder = catalog.user_conf()
    if folder is None or any(line.startswith("hydra.searchpath") for line in lines):
        return []
    for group in catalog.GROUPS:
        catalog.config_files(group)  # a name that is taken is an error even if no override mentions it
    # Imported here: most commands have no such folder.
    from onsager_cli.config.own_files import SCHEME, register

    register()
    quoted = str(folder).replace("\\", "\\\\").replace("'", "\\'")
    return [f"hydra.searchpath=['{SCHEME}://{quoted}']"]


def check_own_files() -> None:
    """Looks at the files of the user's `./conf` before Hydra copies them, with everything that an alias stands for.

    Raises UserError for one that is too large or too deep.
    """
    folder = catalog.user_conf()
    for path in below(folder, "*.yaml") if folder else ():
        check_size(path, read_bytes(path, LARGEST_TEXT))


def own_mistake() -> str | None:
    """What is wrong with the first file of the user's `./conf` that cannot be read; None if all can."""
    folder = catalog.user_conf()
    for path in below(folder, "*.yaml") if folder else ():
        try:
            read_yaml(path)
        except UserError as error:
            return str(error)
    return None


def version_base() -> dict[str, str]:
    """The argument that chooses Hydra's behaviour of 1.3; from 1.4 on there is no other, and saying so is deprecated."""
    from hydra import __version__

    return {"version_base": "1.3"} if __version__.startswith("1.3.") else {}


@contextmanager
def composer() -> "Iterator[Composer]":
    """Yields a `Composer`, good for any number of compositions within the block."""
    check_own_files()
    search_path_override(())  # refuses own files with the names of built-in options
    with ExitStack() as hydra:
        yield Composer(lambda: hydra.enter_context(_hydra()))


@contextmanager
def _hydra() -> Iterator[None]:
    """Within the block, Hydra composes configs; it starts up for a tenth of a second."""
    from hydra import initialize_config_dir
    from hydra.core.global_hydra import GlobalHydra

    # Hydra composes for one program at a time; in a job of a sweep that is the sweep.
    program = GlobalHydra.instance()
    outer, program.hydra = program.hydra, None
    try:
        with initialize_config_dir(str(catalog.package_conf()), job_name="onsager", **version_base()):
            _forget_launchers()
            yield
    finally:
        program.hydra = outer


def _forget_launchers() -> None:
    """Take the launchers of Hydra's plugins out of Hydra's store, where it checks the files of the same name against them."""
    from hydra.core.config_store import ConfigStore

    registered = ConfigStore.instance().repo.get("hydra", {}).get("launcher", {})
    for name in catalog.config_files("hydra/launcher"):
        registered.pop(f"{name}.yaml", None)


class Composed(NamedTuple):
    """A config as a plain, resolved dictionary, its dotted keys, and the keys of the overrides that it contains.

    `config["@experiment"]` is the chosen experiment or None.
    """

    config: dict[str, Any]
    keys: frozenset[str]
    used: set[str]


class Composer:
    """Composes the primary config with overrides.

    The curves of a figure differ mostly in values. So each choice of options is composed once, without Hydra where
    that is possible (`plain`), and values are set on a copy as Hydra would. Files of the package stay as they are
    while a process runs; the user's own may change from one `Composer` to the next.
    """

    def __init__(self, start_hydra: Callable[[], None]) -> None:
        self._start_hydra = cache(start_hydra)
        self._with_own_files = cache(_compose)
        self._ordinary: dict[tuple[tuple[str, str], ...], tuple[dict[str, Any], str | None, frozenset[str]] | None] = {}

    def __call__(self, overrides: "Sequence[Override]") -> Composed:
        """The config of the overrides, without the values that it has no place for.

        Raises UserError whatever Hydra, OmegaConf or PyYAML dislike.
        """
        import copy

        from omegaconf import OmegaConf

        groups = [item for item in overrides if is_group(item)]
        keys = self._keys(groups)
        values = [item for item in overrides if not is_group(item) and fits(item, keys)]
        special = [item for item in values if not is_plain(item)]
        if not special and (found := self._plain(groups, values)) is not None:
            return found
        shared, experiment, _ = self._composed([*groups, *special])
        # Hydra, OmegaConf and PyYAML raise their own classes and bare ValueError, TypeError, AttributeError, …, all
        # for the same reason: the config or an override cannot be composed.
        try:
            config = copy.deepcopy(shared)
            for item in values:
                if is_plain(item):
                    OmegaConf.update(config, item.key_or_group, item.value(), merge=True)
            result = OmegaConf.to_container(config, resolve=True)
        except Exception as error:
            raise UserError(first_line(error)) from error
        assert isinstance(result, dict)
        found = {**{str(key): value for key, value in result.items()}, "@experiment": experiment}
        used = {item.key_or_group for item in (*groups, *values)}
        return Composed(found, keys | flat_keys(found) if special else keys, used)

    def training(self, overrides: "Sequence[Override]") -> str | None:
        """The kind of training that the options among the overrides choose."""
        groups = [item for item in overrides if is_group(item)]
        shared = (self._ordinary_of(groups) or self._composed(groups))[0]
        return (shared.get("training") or {}).get("kind")

    def _keys(self, groups: "Sequence[Override]") -> frozenset[str]:
        """The dotted keys of the config of these options."""
        return (self._ordinary_of(groups) or self._composed(groups))[2]

    def _ordinary_of(self, groups: "Sequence[Override]") -> tuple[dict[str, Any], str | None, frozenset[str]] | None:
        """`_compose` of these options without Hydra, from memory if it was asked before; None if that is not possible."""
        chosen = {item.key_or_group: item.value() for item in groups if not item.is_delete() and item.package is None}
        if len(chosen) < len(groups) or not all(isinstance(name, str) for name in chosen.values()):
            return None
        key = tuple((str(group), str(name)) for group, name in chosen.items())
        if key not in self._ordinary:
            composed = plain.compose(dict(key))
            if composed is not None:
                config, experiment = composed
                _complete_schedules(config)
                composed = config, experiment, frozenset({*flat_keys(config), "@experiment"})
            self._ordinary[key] = composed  # type: ignore[assignment]
        return self._ordinary[key]

    def _plain(self, groups: "Sequence[Override]", values: "Sequence[Override]") -> Composed | None:
        """The config without Hydra; None if that is not possible."""
        import copy

        if (composed := self._ordinary_of(groups)) is None:
            return None
        config, experiment, keys = composed
        config = copy.deepcopy(config)
        if not all(plain.put(config, item.key_or_group, item.value()) for item in values):
            return None
        return Composed({**config, "@experiment": experiment}, keys, {item.key_or_group for item in (*groups, *values)})

    def launcher(self, overrides: "Sequence[Override]") -> dict[str, Any]:
        """The keys of the launcher that the overrides choose. Raises UserError as `__call__` does."""
        from hydra import compose
        from omegaconf import OmegaConf

        lines = typed(overrides)
        self._start_hydra()
        try:
            config = compose("config", [*lines, *search_path_override(lines)], return_hydra_config=True)
            found = OmegaConf.to_container(config.hydra.launcher, resolve=True)
        except Exception as error:
            raise UserError(first_line(error)) from error
        return {str(key): value for key, value in found.items()} if isinstance(found, dict) else {}

    def _composed(self, overrides: "Sequence[Override]") -> "tuple[DictConfig, str | None, frozenset[str]]":
        """`_compose` of the overrides, from memory if it was asked before."""
        lines = typed(overrides)
        lines += tuple(search_path_override(lines))
        own_files = any(line.startswith("hydra.searchpath") for line in lines)
        self._start_hydra()
        try:
            return (self._with_own_files if own_files else _of_package)(lines)
        except (ArithmeticError, AttributeError, LookupError, ValueError) as error:
            # PyYAML does not say which file has a value that its type does not take.
            raise UserError((own_files and own_mistake()) or first_line(error)) from error
        except Exception as error:
            raise UserError(first_line(error)) from error


def _compose(lines: tuple[str, ...]) -> "tuple[DictConfig, str | None, frozenset[str]]":
    """The unresolved config without Hydra's own part, the chosen experiment, and the config's dotted keys."""
    from hydra import compose
    from omegaconf import OmegaConf, open_dict
    from omegaconf.errors import OmegaConfBaseException

    config = compose("config", list(lines), return_hydra_config=True)
    keys: list[Any] = [key for key in config if key != "hydra"]  # a key that is no text is found with the others
    own = OmegaConf.masked_copy(config, keys)
    with open_dict(own):
        _complete_schedules(own)
    try:
        found = OmegaConf.to_container(own, resolve=True)
    except OmegaConfBaseException:  # a reference that goes nowhere is found with the values
        found = OmegaConf.to_container(own, resolve=False)
    assert isinstance(found, dict)
    return own, config.hydra.runtime.choices.get("experiment"), frozenset({*flat_keys(found), "@experiment"})


def _complete_schedules(config: "DictConfig | dict[str, Any]") -> None:
    """A schedule that a network's own file begins has the keys of the default schedule where it says nothing."""
    from omegaconf import OmegaConf

    training = config.get("training")
    if not isinstance(training, MutableMapping) or not isinstance(default := training.get("default"), Mapping):
        return
    for name, schedule in list(training.items()):
        if isinstance(schedule, Mapping) and len(schedule) < len(default):
            whole = {**default, **schedule} if isinstance(schedule, dict) else OmegaConf.merge(default, schedule)
            training[name] = whole


_of_package = lru_cache(maxsize=100)(_compose)


def first_line(error: Exception) -> str:
    """The line of a composition error that says what is wrong, with the place for YAML errors."""
    if (mark := getattr(error, "problem_mark", None)) is not None:
        return f"{mark.name}, line {mark.line + 1}: {getattr(error, 'problem', None) or 'not valid YAML'}"
    if (missing := getattr(error, "missing_cfg_file", None)) is not None:
        return f"no config '{missing}'"
    text = " ".join(str(error).split())
    if unset := re.search(r"Environment variable '([^']*)' not found", text):
        return f"the environment variable {unset[1]} is not set"
    text = re.sub(r"^\w+ raised while resolving interpolation:", "an interpolation cannot be resolved:", text)
    cause = " ".join(str(error.__cause__ or "").split())
    if cause and cause not in text:
        text = ": ".join(filter(None, (text, cause)))
    return f"cannot compose the config: {text or type(error).__name__}"


def flat_keys(config: Mapping[Any, object], prefix: str = "") -> set[str]:
    """Dotted names of every node of a nested mapping, groups included."""
    keys = {f"{prefix}{key}" for key in config}
    return keys.union(
        *(flat_keys(node, f"{prefix}{key}.") for key, node in config.items() if isinstance(node, Mapping))
    )

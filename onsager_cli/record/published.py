"""Other people's numbers, each with its source, and our results beside them: on the 2017 instances, and of experiments.

Every other number of this program is computed. These are typed in, here and nowhere else.
"""

from collections.abc import Sequence
from dataclasses import dataclass

from onsager_cli.store.tables import Row, by_curve


@dataclass(frozen=True)
class Reference:
    """Somebody else's NMSE in dB of one curve; `first` is the layer of the first value, None for a level.

    The numbers belong to the curve of the name `curve` with the stated network; None: whatever the column holds. `layers`
    are those of the values where they do not follow each other. `experiment` names the one whose conditions are those
    of the numbers; "": the published instance, in any experiment.
    """

    problem: str
    curve: str
    network: str
    shrinkage: str | None
    tied: bool | None
    first: int | None
    values: tuple[float, ...]
    source: str
    layers: tuple[int, ...] = ()
    experiment: str = ""

    def by_layer(self) -> dict[int | None, float]:
        """Layer (None for a level) → NMSE in dB."""
        if self.layers:
            return dict(zip(self.layers, self.values, strict=True))
        return {None: self.values[0]} if self.first is None else dict(enumerate(self.values, self.first))

    def describes(self, row: Row) -> bool:
        """Whether `row` belongs to the curve that the numbers are of.

        The name decides, since variants of a network (without Onsager correction, with an estimated A) have its other
        columns. The columns must fit too, since an experiment may give its curves any names.
        """
        stated = {name: getattr(self, name) for name in ("problem", "curve", "network", "shrinkage", "tied")}
        return all(value in (None, row[name]) for name, value in stated.items())


_THIRD_PARTY = "third-party run of the authors' code, same instance"
_PLOT_SCRIPT = "authors' plot script, other samples"
_FLOAT64 = "independent float64 NumPy implementation, same instance"
_LOGS = "training log of the NA-ALISTA authors' code: best epoch by its test set, one seed, other samples"
_LAYERS = (1, 2, 4, 6, 8, 10, 12, 14, 16)


def _of_logs(experiment: str, curve: str, *values: float) -> Reference:
    """The log of a network in the setting of an experiment; ±1.5 dB from run to run."""
    return Reference("gaussian", curve, curve, None, None, 1, values, _LOGS, _LAYERS, experiment)


# fmt: off
_ALISTA = (-4.269, -8.314, -17.477, -26.532, -32.424, -35.900, -37.766, -38.336, -39.073)
LISTA = Reference(
    "gaussian", "lista_tied", "lista", None, True, 1, (-6.411, -11.508, -14.653, -17.421, -20.134, -22.269), _THIRD_PARTY,
)
LAMP = Reference(
    "gaussian", "lamp_tied_bg", "lamp", "bg", True, 1, (-6.580, -12.150, -17.511, -23.022, -28.883, -34.373), _THIRD_PARTY,
)
REFERENCES = (
    LISTA,
    LAMP,
    Reference(
        "gaussian", "matched_vamp", "vamp", "bg", None, 1,
        (-6.747, -12.569, -18.878, -25.715, -32.810, -39.179, -43.320, -44.922, -45.368, -45.478),
        "authors' README, other samples",
    ),
    Reference(
        "gaussian", "matched_vamp", "vamp", "bg", None, 1,
        (-6.76, -12.53, -18.74, -25.49, -32.43, -38.78, -43.04, -44.85, -45.41, -45.55), _FLOAT64,
    ),
    Reference("gaussian", "oracle", "oracle", None, None, None, (-45.97,), _PLOT_SCRIPT),
    Reference("gaussian", "oracle", "oracle", None, None, None, (-46.03,), _FLOAT64),
    Reference("kappa15", "oracle", "oracle", None, None, None, (-44.7,), _PLOT_SCRIPT),
    _of_logs("rivals", "alista", *_ALISTA),
    _of_logs("rivals_na", "alista", *_ALISTA),
    _of_logs("rivals", "aglista", -5.664, -8.808, -18.648, -27.131, -33.001, -36.625, -39.233, -40.339, -41.345),
    _of_logs("rivals", "alista_at", -4.269, -8.307, -17.315, -25.541, -32.889, -37.094, -39.764, -41.197, -41.966),
    _of_logs("rivals_na", "na_alista", -4.277, -8.195, -17.695, -27.616, -34.236, -38.597, -40.769, -41.666, -42.189),
    _of_logs("rivals_n2000", "alista", -1.957, -3.703, -7.440, -11.769, -15.736, -18.817, -21.702, -23.904, -25.182),
    _of_logs("rivals_n2000", "aglista", -3.106, -4.541, -7.494, -11.707, -15.924, -18.966, -21.201, -24.407, -25.607),
    _of_logs("rivals_n2000", "alista_at", -1.957, -3.704, -7.368, -11.244, -15.662, -18.212, -21.520, -23.288, -26.083),
)
# fmt: on


@dataclass(frozen=True)
class Comparison:
    """One curve against one reference at the layers both have (None: a level); NMSE in dB."""

    curve: str
    source: str
    layers: tuple[int | None, ...]
    here: tuple[float, ...]
    there: tuple[float, ...]

    @property
    def differences(self) -> tuple[float, ...]:
        """here - there, dB."""
        return tuple(ours - theirs for ours, theirs in zip(self.here, self.there, strict=True))

    @property
    def largest(self) -> tuple[float, int | None]:
        """The difference (dB) of the largest size, and its layer."""
        return max(zip(self.differences, self.layers, strict=True), key=lambda item: abs(item[0]))


def comparisons(rows: Sequence[Row], experiment: str = "") -> list[Comparison]:
    """Compare every curve of a table with every reference that describes it, in the order of the table.

    `experiment` is the one whose table it is.
    """
    found = []
    for slug, points in by_curve(row for row in rows if row["nmse_db"] is not None).items():
        published = [row for row in points if row["instance"] == "authors2017"]
        for reference in REFERENCES:
            # On other matrices than the published one, numbers differ by more than what a comparison could show.
            points_there = (
                published if not reference.experiment else points if reference.experiment == experiment else []
            )
            if not points_there:
                continue
            first = points_there[0]["seed"]
            here = {row["layer"]: row["nmse_db"] for row in points_there if row["seed"] == first}
            there = reference.by_layer()
            common = tuple(layer for layer in there if layer in here)
            if common and reference.describes(points_there[0]):
                ours, theirs = (tuple(of[layer] for layer in common) for of in (here, there))
                found.append(Comparison(slug, reference.source, common, ours, theirs))
    return found

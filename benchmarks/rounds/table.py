"""The tables of a report, as markdown."""

from collections.abc import Sequence

from benchmarks.rounds.compared import OURS, Bar, Spread, Sweep, of_all, over_limits, ratios, spread, walls

_SYSTEMS = (
    "system", "N", "s/round", "x ours", "server CPU s/round", "x ours", "silos' CPU s/round", "server peak MiB",
    "above idle", "one silo's MiB", "MB/round on loopback", "first round s", "load",
)  # fmt: skip
_LIMITS = ("N", "loopback up s", "down s", "SHA-256 s", "write + fsync s", "combine s", "sum s", "ours / sum", "copy s")


def systems_table(sweeps: Sequence[Sweep]) -> str:
    """A row for each system and number of silos: medians, and least to largest in brackets."""
    pairs = dict.fromkeys((one.silos, one.system) for sweep in sweeps for one in sweep.systems)
    return markdown(
        _SYSTEMS, [_system_row(sweeps, system, silos) for silos, system in sorted(pairs, key=lambda p: p[0])]
    )


def limits_table(sweeps: Sequence[Sweep]) -> str:
    """A row for each number of silos."""
    numbers = sorted({one.silos for sweep in sweeps for one in sweep.limits})
    return markdown(_LIMITS, [_limits_row(sweeps, silos) for silos in numbers])


def bars_table(found: Sequence[Bar]) -> str:
    """A row for each bar, and whether it holds."""
    rows = [
        [
            bar.what,
            _full(bar.measured),
            f"{'>=' if bar.at_least else '<='} {bar.limit:.3g}",
            "yes" if bar.holds else "NO",
        ]
        for bar in found
    ]
    return markdown(("bar", "measured", "limit", "holds"), rows)


def problems(sweeps: Sequence[Sweep]) -> list[str]:
    """A line for each measurement that did not come to its end."""
    return [
        f"{one.system}, {one.silos} silos: {one.problem}" for sweep in sweeps for one in sweep.systems if one.problem
    ]


def _system_row(sweeps: Sequence[Sweep], system: str, silos: int) -> list[str]:
    runs = of_all(sweeps, system, silos)

    def of(name: str) -> Spread:
        return spread([float(getattr(run, name)) for run in runs])

    return [
        f"**{system}**" if system == OURS else system,
        str(silos),
        _full(walls(sweeps, system, silos)),
        _full(ratios(sweeps, system, silos, of=lambda one: one.wall), digits=1),
        _full(of("server_cpu_seconds")),
        _full(ratios(sweeps, system, silos, of=lambda one: one.server_cpu_seconds), digits=1),
        _short(of("silos_cpu_seconds")),
        _full(of("peak_mib"), digits=0),
        _short(of("above_idle_mib"), digits=0),
        _short(of("silo_peak_mib"), digits=0),
        _short(spread([run.loopback_bytes / 1e6 for run in runs]), digits=0),
        _full(of("first_seconds"), digits=1),
        _short(of("load_average"), digits=1),
    ]


def _limits_row(sweeps: Sequence[Sweep], silos: int) -> list[str]:
    rows = [one for sweep in sweeps if (one := sweep.limit(silos))]
    names = ("loopback_up", "loopback_down", "sha256", "write", "combine", "total")
    cells = [_short(spread([float(getattr(row, name)) for row in rows])) for name in names]
    return [str(silos), *cells, _full(over_limits(sweeps, silos)), _short(spread([row.copy for row in rows]))]


def _full(value: Spread, *, digits: int = 2) -> str:
    if not value:
        return "-"
    return f"{value.median:.{digits}f} ({value.least:.{digits}f}..{value.largest:.{digits}f})"


def _short(value: Spread, *, digits: int = 2) -> str:
    return f"{value.median:.{digits}f}" if value else "-"


def markdown(head: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """A table of these cells."""
    lines = [head, ["---"] * len(head), *rows]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)

"""`merged`: what several processes count, as one reading of metrics. Place: cluster; pure.

Each sample gets a label `worker` that says whose it is; what is known of a metric besides is said once. Nothing is added up: of a sum nobody could tell that a worker began anew, and a process's own numbers have none.
"""

from collections.abc import Mapping

__all__ = ["merged"]

_END = "# EOF"


def merged(readings: Mapping[str, str]) -> str:
    """One text of those of several workers, by their numbers: Prometheus' text format or OpenMetrics, as they are."""
    families: dict[str, tuple[list[str], list[str]]] = {}
    end = ""
    for worker, text in readings.items():
        heads, samples = families.setdefault("", ([], []))
        for line in text.splitlines():
            if line == _END:
                end = f"{_END}\n"
            elif line.startswith("#"):
                _, word, name, *_ = line.split(" ", 3)
                heads, samples = families.setdefault(name, ([], []))
                if not any(known.startswith(f"# {word} ") for known in heads):
                    heads.append(line)
            else:
                samples.append(_marked(line, worker))
    lines = [line for heads, samples in families.values() for line in (*heads, *samples)]
    return "".join(f"{line}\n" for line in lines) + end


def _marked(line: str, worker: str) -> str:
    name, brace, rest = line.partition("{")
    if brace and " " not in name:
        return f'{name}{{worker="{worker}",{rest}'
    name, _, value = line.partition(" ")
    return f'{name}{{worker="{worker}"}} {value}'

"""Runs every benchmark, one after the other, and prints what docs/performance.md quotes."""

from __future__ import annotations

from benchmarks import gateway, machine, overload, startup


def main() -> None:
    """Print the machine, then a table for each benchmark."""
    print(machine.describe(), "\n")
    print("## Start and idle memory\n")
    print(startup.report(startup.measure()), "\n")
    print("## Gateway alone\n")
    print(gateway.report(gateway.measure()), "\n")
    print("## Overload\n")
    print(overload.report(overload.measure()))


if __name__ == "__main__":
    main()

"""The programs: each a function that is given a `World` and says what the program costs and leaves behind there."""

import dataclasses
import typing


@dataclasses.dataclass(frozen=True)
class Program:
    """Something that people do with a mount."""

    name: str
    # What is checked, in a line.
    says: str
    # What has to be installed, as `need` of scripts/packages.sh takes it: PROGRAM:PACKAGE.
    needs: tuple
    # Whether only --all runs it: its packages are large, or do something by themselves once they are there.
    large: bool
    run: typing.Callable


PROGRAMS = []


def program(name, needs="", large=False):
    """Adds the function below it to the programs; its doc comment says what is checked."""

    def add(function):
        says = " ".join(function.__doc__.split())
        PROGRAMS.append(Program(name, says, tuple(needs.split()), large, function))
        return function

    return add

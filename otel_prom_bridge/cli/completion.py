"""``completion``: what a shell needs to complete commands, options and files."""

from __future__ import annotations

import argparse
import importlib
from collections.abc import Mapping

from otel_prom_bridge.cli.output import PROGRAM, write

_BASH = """\
_{function}() {{
    local word=${{COMP_WORDS[COMP_CWORD]}} words
    case ${{COMP_WORDS[1]}} in
{cases}
    *) words={commands} ;;
    esac
    COMPREPLY=($(compgen -W "$words" -- "$word"))
    [[ $COMP_CWORD -gt 1 && $word != -* ]] && COMPREPLY+=($(compgen -f -- "$word"))
}}
complete -o filenames -F _{function} {program}
"""
_ZSH = "autoload -U +X bashcompinit && bashcompinit\n"


def add(command: argparse.ArgumentParser) -> None:
    """Describe the command."""
    command.description = "Print what a shell needs to complete commands, options and files."
    command.epilog = (
        "examples:\n"
        '  eval "$(otel-prom-bridge completion bash)"    # in ~/.bashrc\n'
        '  eval "$(otel-prom-bridge completion zsh)"     # in ~/.zshrc, after compinit'
    )
    command.add_argument("shell", choices=["bash", "zsh"], help="which shell")
    command.set_defaults(run=_completion)


def _completion(options: argparse.Namespace) -> int:
    script = bash_script(options_of_commands())
    return write((_ZSH if options.shell == "zsh" else "") + script.rstrip("\n"))


def options_of_commands() -> dict[str, list[str]]:
    """The options of every command."""
    from otel_prom_bridge.cli.parser import COMMANDS

    found = {}
    for name in COMMANDS:
        parser = argparse.ArgumentParser()
        importlib.import_module(f"{__package__}.{name}").add(parser)
        found[name] = sorted(
            option
            for action in parser._actions
            for option in action.option_strings
            if option.startswith("--")
        )
    return found


def bash_script(options: Mapping[str, list[str]]) -> str:
    """The function that bash calls."""
    cases = "\n".join(f"    {name}) words='{' '.join(words)}' ;;" for name, words in options.items())
    return _BASH.format(
        function=PROGRAM.replace("-", "_"),
        cases=cases,
        commands=f"'{' '.join([*options, '--help', '--version'])}'",
        program=PROGRAM,
    )

"""Shell completion: the words that options take, and the scripts that request them. Nothing here imports torch."""

from collections.abc import Callable, Iterable

from mnfpn_cli.errors import MnfpnError, Problem, UsageError
from mnfpn_cli.text import did_you_mean

SHELLS = ("bash", "zsh", "fish", "powershell", "pwsh")
AUTO = "auto"
"""Stands for the shell that mnfpn is started from."""

VARIABLE = "_MNFPN_COMPLETE"
"""The environment variable that makes mnfpn complete: typer's protocol."""

ASKED = '_TYPER_COMPLETE_FISH_ACTION=get-args _TYPER_COMPLETE_ARGS="$line" _MNFPN_COMPLETE=complete_fish'

BASH = f"""\
# Completion of mnfpn, for bash.
_mnfpn_completion() {{
    local line="${{COMP_LINE:0:COMP_POINT}}" IFS=$'\\n' sign word
    COMPREPLY=( $( env {ASKED} "$1" 2>/dev/null ) )
    COMPREPLY=( "${{COMPREPLY[@]%%$'\\t'*}}" )
    word="${{line##* }}"
    for sign in = :; do  # bash starts a new word after these signs
        if [[ $COMP_WORDBREAKS == *$sign* && $word == *$sign* ]]; then
            COMPREPLY=( "${{COMPREPLY[@]#"${{word%"$sign"*}}$sign"}}" )
            word="${{word##*"$sign"}}"
        fi
    done
    [[ ${{#COMPREPLY[@]}} -eq 1 && ${{COMPREPLY[0]}} == *= ]] && compopt -o nospace
    return 0
}}
complete -o default -F _mnfpn_completion mnfpn
"""

ZSH = f"""\
#compdef mnfpn
# Completion of mnfpn, for zsh.
_mnfpn_completion() {{
    local line="${{words[1,$CURRENT]}}" one
    local -a lines open closed
    lines=( "${{(@f)$( env {ASKED} $words[1] 2>/dev/null )}}" )
    for one in $lines; do
        local value="${{one%%$'\\t'*}}" text="${{one#*$'\\t'}}"
        local described="${{value//:/\\\\:}}"
        [[ $text != $one ]] && described+=":$text"
        if [[ $value == *= ]]; then open+=( "$described" ); else closed+=( "$described" ); fi
    done
    (( $#open + $#closed )) || {{ _files; return }}
    (( $#closed )) && _describe -V value closed
    (( $#open )) && _describe -V key open -S ''
}}
if [[ $funcstack[1] == _mnfpn ]]; then _mnfpn_completion "$@"; else compdef _mnfpn_completion mnfpn; fi
"""

SCRIPTS = {"bash": BASH, "zsh": ZSH}
"""Our own scripts: those of typer do not complete a value after a sign, as in ``--set pyramid.smooth=``."""


def words(*choices: str) -> Callable[[str], list[str]]:
    """Complete one of these words, also after a comma."""
    return offering(lambda: choices)


def offering(choices: Callable[[], Iterable[str]]) -> Callable[[str], list[str]]:
    """Complete one of the words that ``choices`` returns, also after a comma."""

    def complete(incomplete: str) -> list[str]:
        before, comma, _ = incomplete.rpartition(",")
        return [f"{before}{comma}{one}" for one in choices()]

    return complete


def preset_words() -> list[str]:
    """Return the names of the presets."""
    from mnfpn_cli.settings.files import preset_names

    return preset_names()


def runtime_words() -> list[str]:
    """Return the names of the runtimes, and ``all``."""
    from mnfpn_cli.settings.measuring import runtime_names

    return [*runtime_names(), "all"]


def document_words() -> tuple[str, ...]:
    """Return the names of the documents that have a schema."""
    from mnfpn_cli.documents.schema import NAMES

    return NAMES


def complete_setting(incomplete: str) -> list[str]:
    """Complete ``--set``: a key, and after ``=`` the words that it takes."""
    from mnfpn_cli.settings.problems import all_keys, allowed_words

    key, equals, value = incomplete.partition("=")
    if equals:
        before, comma, _ = value.rpartition(",")
        return [f"{key}={before}{comma}{one}" for one in allowed_words(key)]
    keys = list(all_keys())
    whole = {"stages", *(one.rpartition(".")[0] for one in keys)}
    return [f"{one}=" for one in keys if one not in whole and "[]" not in one]


def script(shell: str) -> str:
    """Return the script that makes a shell complete mnfpn.

    Raises:
        UsageError: if the shell is unknown.
    """
    from typer._completion_shared import get_completion_script

    shell = _shell("--show-completion", shell)
    if shell in SCRIPTS:
        return SCRIPTS[shell]
    return get_completion_script(prog_name="mnfpn", complete_var=VARIABLE, shell=shell) + "\n"


def install(shell: str) -> str:
    """Install the script where the shell reads it; return a sentence that names the file.

    Raises:
        UsageError: if the shell is unknown.
        MnfpnError: if the files cannot be written.
    """
    from typer._completion_shared import install as install_script

    shell = _shell("--install-completion", shell)
    try:
        _, path = install_script(shell=shell, prog_name="mnfpn", complete_var=VARIABLE)
        if shell in SCRIPTS:
            path.write_text(SCRIPTS[shell])
    except OSError as error:
        raise MnfpnError(Problem("--install-completion", f"could not be written: {error}")) from None
    return f"The completion for {shell} is in {path}. Start a new shell to use it.\n"


def _shell(option: str, name: str) -> str:
    if name != AUTO:
        if name not in SHELLS:
            raise UsageError(
                Problem(option, f"must be one of {', '.join(SHELLS)}", f"'{name}'", did_you_mean(name, SHELLS))
            )
        return name
    import psutil

    parents = [one.name().lstrip("-").removesuffix(".exe") for one in psutil.Process().parents()]
    found = next((one for one in parents if one in SHELLS), None)
    if found is None:
        raise UsageError(Problem(option, f"must name a shell, as the current one is not one of {', '.join(SHELLS)}"))
    return found

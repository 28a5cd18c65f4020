"""
Completion in bash, zsh and fish.

Click's own scripts lose values behind a file name in bash, need C{compinit} in zsh, and cut descriptions at a comma in
fish. These scripts hand over the line up to the cursor, and leave it to Python to split it.
"""

from __future__ import annotations

from typing import ClassVar

from click.shell_completion import (
    BashComplete,
    CompletionItem,
    FishComplete,
    ShellComplete,
    ZshComplete,
    add_completion_class,
    split_arg_string,
)

from confd.codec.text import printable

#: Characters of a description that a shell shows beside a value.
_MAX_HELP_CHARS = 60

_BASH = r"""
%(complete_func)s() {
    local IFS=$'\n' type value response
    local -a files=()
    local cur="${COMP_WORDS[COMP_CWORD]}"
    [[ $cur == '=' || $cur == ':' ]] && cur=''
    response=$(env COMP_LINE="${COMP_LINE:0:COMP_POINT}" %(complete_var)s=bash_complete "$1" 2>/dev/null)
    COMPREPLY=()
    while IFS=, read -r type value; do
        if [[ $type == dir ]]; then
            files+=($(compgen -d -- "$cur"))
        elif [[ $type == file ]]; then
            files+=($(compgen -f -- "$cur"))
        elif [[ $type == plain ]]; then
            COMPREPLY+=("$(printf %%q "$value")")
            [[ $value == *= ]] && compopt -o nospace
        fi
    done <<< "$response"
    if [[ ${#COMPREPLY[@]} -eq 0 ]]; then
        compopt -o filenames
        COMPREPLY=("${files[@]}")
    else
        for value in "${files[@]}"; do
            [[ -d $value ]] && value+=/ && compopt -o nospace
            COMPREPLY+=("$(printf %%q "$value")")
        done
    fi
}
complete -o nosort -F %(complete_func)s %(prog_name)s
"""

_ZSH = r"""#compdef %(prog_name)s

%(complete_func)s() {
    local -a plain open described response
    local type key descr files=0
    response=("${(@f)$(env COMP_LINE="${words[1,CURRENT]}" %(complete_var)s=zsh_complete ${words[1]} 2>/dev/null)}")
    for type key descr in "${response[@]}"; do
        if [[ $type == file || $type == dir ]]; then
            files=1
        elif [[ $type == plain && $key == *= ]]; then
            open+=("$key")
        elif [[ $type == plain && $descr == _ ]]; then
            plain+=("$key")
        elif [[ $type == plain ]]; then
            described+=("${key//:/\\:}:$descr")
        fi
    done
    # The controller's values are for the part behind the equals sign of an option.
    [[ $PREFIX == --*=* ]] && compset -P '*='
    (( $#described )) && _describe -V values described
    (( $#plain )) && compadd -V plain -a plain
    (( $#open )) && compadd -V open -S '' -a open
    (( files )) && _files
    return 0
}

if [[ $zsh_eval_context[-1] == loadautofunc ]]; then
    %(complete_func)s "$@"
else
    (( $+functions[compdef] )) || { autoload -Uz compinit && compinit -i }
    compdef %(complete_func)s %(prog_name)s
fi
"""

_FISH = r"""function %(complete_func)s
    set -l line (commandline -cp | string collect)
    for completion in (env COMP_LINE="$line" %(complete_var)s=fish_complete %(prog_name)s 2>/dev/null)
        set -l parts (string split --max 1 "," -- $completion)
        switch $parts[1]
            case dir
                __fish_complete_directories $parts[2]
            case file
                __fish_complete_path $parts[2]
            case plain
                printf '%%s\n' $parts[2]
        end
    end
end

complete --no-files --keep-order --command %(prog_name)s --arguments "(%(complete_func)s)"
"""


def _split_line(shell: ShellComplete) -> tuple[list[str], str] | None:
    """
    Return the words of the line before the cursor behind the name of the program, and the word at the cursor.

    @return: C{None} if the script of an older release asks, which hands over words.
    """
    line = shell.ctx_args["obj"].environ.get("COMP_LINE")
    if line is None:
        return None
    words = split_arg_string(line)[1:]
    if not words or line[-1:].isspace():
        return words, ""
    return words[:-1], words[-1]


def _help(item: CompletionItem) -> str:
    return printable(item.help or "", _MAX_HELP_CHARS)


class _Bash(BashComplete):
    source_template: ClassVar[str] = _BASH

    def get_completion_args(self) -> tuple[list[str], str]:
        return _split_line(self) or super().get_completion_args()


class _Zsh(ZshComplete):
    source_template: ClassVar[str] = _ZSH

    def get_completion_args(self) -> tuple[list[str], str]:
        return _split_line(self) or super().get_completion_args()

    def format_completion(self, item: CompletionItem) -> str:
        return f"{item.type}\n{item.value}\n{_help(item) or '_'}"


class _Fish(FishComplete):
    source_template: ClassVar[str] = _FISH

    def get_completion_args(self) -> tuple[list[str], str]:
        return _split_line(self) or super().get_completion_args()

    def get_completions(self, args: list[str], incomplete: str) -> list[CompletionItem]:
        found = super().get_completions(args, incomplete)
        option, equals, _ = incomplete.partition("=")
        if option.startswith("--") and equals:
            # fish compares a value with the whole word.
            return [CompletionItem(f"{option}={each.value}", each.type, _help(each)) for each in found]
        return found

    def format_completion(self, item: CompletionItem) -> str:
        return f"{item.type},{item.value}\t{_help(item)}".rstrip("\t")


SHELLS: dict[str, type[ShellComplete]] = {"bash": _Bash, "zsh": _Zsh, "fish": _Fish}

for _name, _class in SHELLS.items():
    add_completion_class(_class, _name)

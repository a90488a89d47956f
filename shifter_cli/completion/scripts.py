# SPDX-License-Identifier: BSD-3-Clause
"""What shells load to complete our commands; each asks the command itself at every <TAB>.

An answer has lines `word:WORD<TAB>HELP` and, where a file may stand, `file:`.
"""

from __future__ import annotations

SHELLS = ("bash", "zsh", "fish")
PROGRAMS = ("shifterimg", "shifter", "shifter-admin")

# Where each shell looks for the file of a program, below PREFIX/share.
PLACES = {
    "bash": "bash-completion/completions/{program}",
    "zsh": "zsh/site-functions/_{program}",
    "fish": "fish/vendor_completions.d/{program}.fish",
}

_BASH = r"""# bash completion of {program}
{function}() {{
    local line
    COMPREPLY=()
    while IFS= read -r line; do
        case $line in
            word:*) line=${{line%%$'\t'*}} && COMPREPLY+=("${{line#word:}}") ;;
            file:*) compopt -o default ;;
        esac
        [[ ${{line: -1}} != [=/] ]] || compopt -o nospace
    done < <(_SHIFTER_COMPLETE=bash:{program} COMP_LINE=${{COMP_LINE:0:COMP_POINT}} \
        COMP_WORDBREAKS=$COMP_WORDBREAKS {asked} 2>/dev/null)
}}
complete -F {function} {program}
"""

_ZSH = r"""#compdef {program}
{function}() {{
    local line
    local -a values shown begun
    for line in "${{(@f)$(_SHIFTER_COMPLETE=zsh:{program} COMP_LINE="${{(j: :)words[1,CURRENT]}}" \
        {asked} 2>/dev/null)}}"; do
        case $line in
            word:*)
                line=${{line#word:}}
                if [[ $line == *= ]]; then
                    begun+=("$line")
                else
                    values+=("${{line%%$'\t'*}}")
                    shown+=("${{line/$'\t'/  -- }}")
                fi
                ;;
            file:*) _files ;;
        esac
    done
    (( ! ${{#begun}} )) || compadd -S '' -a begun
    (( ! ${{#values}} )) || compadd -l -d shown -a values
}}
if [[ $funcstack[1] == {function} ]]; then
    {function} "$@"
else
    compdef {function} {program}
fi
"""

_FISH = r"""# fish completion of {program}
function {function}
    set -l typed (commandline -cp | string collect)
    for line in (env _SHIFTER_COMPLETE=fish:{program} COMP_LINE=$typed {asked} 2>/dev/null)
        switch $line
            case 'word:*'
                string sub -s 6 -- $line
            case 'file:*'
                __fish_complete_path (commandline -ct)
        end
    end
end
complete --no-files --command {program} --arguments '({function})'
"""

_TEMPLATES = {"bash": _BASH, "zsh": _ZSH, "fish": _FISH}
# The set-uid program answers no such question: shifterimg beside it does.
_ASKED = {
    "bash": {"shifter": '"${1%shifter}shifterimg"', "": '"$1"'},
    "zsh": {"shifter": '"${words[1]%shifter}shifterimg"', "": '"$words[1]"'},
    "fish": {"": "{program}", "shifter": "shifterimg"},
}


def script(shell: str, program: str) -> str:
    """What a shell loads to complete a program."""
    asked = _ASKED[shell].get(program, _ASKED[shell][""]).replace("{program}", program)
    function = f"_{program.replace('-', '_')}"
    if shell == "fish":
        function = f"__{program.replace('-', '_')}_complete"
    return _TEMPLATES[shell].format(program=program, function=function, asked=asked)

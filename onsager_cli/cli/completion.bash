# bash completion of onsager
_onsager() {
    local line=${COMP_LINE:0:COMP_POINT}
    local word=${line##*[[:space:]]}
    local IFS=$'\n'
    local -a words
    words=($(onsager completion --words "$line" 2>/dev/null))
    # Readline splits words at '=' and ':' and wants back only what comes after the last of them.
    local before=""
    [[ $word == *[=:]* ]] && before=${word%"${word##*[=:]}"}
    COMPREPLY=("${words[@]#"$before"}")
    [[ ${#COMPREPLY[@]} -eq 1 && ${COMPREPLY[0]} == *[=.] ]] && compopt -o nospace
}
complete -o bashdefault -o default -F _onsager onsager

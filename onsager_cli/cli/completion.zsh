#compdef onsager
# zsh completion of onsager
_onsager() {
    local -a words_found open closed
    words_found=("${(@f)$(onsager completion --words "$LBUFFER" 2>/dev/null)}")
    open=(${(M)words_found:#*[=.]})
    closed=(${words_found:#*[=.]})
    (( $#open )) && compadd -Q -S '' -- $open
    (( $#closed )) && compadd -Q -- $closed
}
if [ "$funcstack[1]" = "_onsager" ]; then
    _onsager
else
    compdef _onsager onsager
fi

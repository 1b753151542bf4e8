
# The names of sources, where one can stand; everything else as above.
_packhorse_with_sources() {
    local command="" config="" expects="" typed="$2" word name quoted begun i
    for ((i = 1; i < COMP_CWORD; i++)); do
        word="${COMP_WORDS[i]}"
        if [[ -n "${expects}" ]]; then
            # The = of --config=FILE is a word of its own here.
            [[ "${word}" == "=" ]] || { config="${word}" expects=""; }
            continue
        fi
        case "${word}" in
            -c|--config) expects=1 ;;
            -c?*) config="${word#-c}" ;;
            --config=*) config="${word#--config=}" ;;
            -*) ;;
            *) [[ -n "${command}" ]] || command="${word}" ;;
        esac
    done
    if [[ "${command}" != sample || -n "${expects}" || "${typed}" == -* ]]; then
        _packhorse "$@"
        return
    fi
    config="${config//[\"\'\\]/}"
    config="${config/#\~\//${HOME}/}"
    # What stands before a colon in a name is a word of its own here, and stays.
    begun="${COMP_LINE:0:COMP_POINT}"
    begun="${begun##*[[:space:]]}"
    [[ "${begun}" == *:* ]] && begun="${begun%:*}:" || begun=""
    COMPREPLY=()
    compopt +o default +o bashdefault 2>/dev/null
    while IFS= read -r name; do
        [[ "${name}" == "${begun}"* ]] || continue
        name="${name#"${begun}"}"
        printf -v quoted %q "${name}"
        [[ "${name}" == "${typed}"* || "${quoted}" == "${typed}"* ]] || continue
        case "${COMP_WORDS[COMP_CWORD]}" in
            [\"\']*) COMPREPLY+=("${name}") ;;
            *) COMPREPLY+=("${quoted}") ;;
        esac
    done < <("$1" ${config:+--config "${config}"} sample --list 2>/dev/null)
}

complete -F _packhorse_with_sources -o bashdefault -o default packhorse

(( $+functions[_packhorse_sources] )) ||
_packhorse_sources() {
    local -a line config names
    local i
    line=(${(Q)${(z)LBUFFER}})
    for (( i = 2; i <= $#line; i++ )); do
        case $line[i] in
            (-c|--config) config=(--config ${line[i+1]/#\~\//$HOME/}) ;;
            (--config=*) config=(--config ${${line[i]#--config=}/#\~\//$HOME/}) ;;
            (-c?*) config=(--config ${${line[i]#-c}/#\~\//$HOME/}) ;;
        esac
    done
    names=("${(@f)$(${line[(r)*packhorse]:-packhorse} $config sample --list 2>/dev/null)}")
    compadd -a names
}


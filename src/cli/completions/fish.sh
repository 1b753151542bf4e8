
function __fish_packhorse_sources
    set -l words (commandline -opc)
    set -l config
    argparse -i 'c/config=' -- $words[2..-1] 2>/dev/null
    and set -q _flag_config
    and set config --config (string replace -r '^~/' "$HOME/" -- $_flag_config[-1])
    $words[1] $config sample --list 2>/dev/null
end

complete -c packhorse -n "__fish_packhorse_using_subcommand sample" -f -a "(__fish_packhorse_sources)" -d 'Source'

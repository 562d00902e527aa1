# What both scripts begin with: $1 is a server's data directory.
set -u
fail() {
    printf '%s\n' "$*"
    exit 1
}

[ "$(id -u)" = 0 ] || fail "only root sees and ends every server; log in as root"
dir=$(cd -- "$1" 2>/dev/null && pwd -P) || fail "there is no folder $1 on this host"
[ -d "$dir/mysql" ] || fail "$dir is no data directory: it holds no folder mysql"

# The processes of the server: both flavours work in their data directory. One whose first thread has ended shows none, and
# may have others left.
servers() {
    for proc in /proc/[0-9]*; do
        name=
        { read -r name <"$proc/comm"; } 2>/dev/null
        case $name in mysqld | mariadbd) ;; *) continue ;; esac
        if cwd=$(readlink "$proc/cwd" 2>/dev/null); then
            [ "$cwd" = "$dir" ] && printf '%s ' "${proc#/proc/}"
        else
            set -- "$proc"/task/*
            [ $# -gt 1 ] && printf '%s ' "${proc#/proc/}"
        fi
    done
}

end() {
    pids=$(servers)
    # shellcheck disable=SC2086
    [ -z "$pids" ] || kill -KILL $pids 2>/dev/null
}

# Sets up to the whole seconds for which the host is up.
uptime() {
    read -r up _ </proc/uptime
    up=${up%%.*}
}

# For $1 seconds, beside this connection and beyond it: whatever starts the server again meanwhile, it does not get far.
keep() {
    (
        trap '' HUP
        uptime
        last=$((up + $1))
        while [ "$up" -le $last ]; do
            end
            sleep 0.1
            uptime
        done
    ) </dev/null >/dev/null 2>&1 &
    keeper=$!
}

# Sets list to the list of the binlog's files: $1, or, if nobody knows where it is, the one in the data directory.
find_list() {
    list=$1
    if [ -z "$list" ]; then
        for each in "$dir"/*.index; do
            case ${each##*/} in *relay* | '*.index') continue ;; esac
            [ -z "$list" ] || fail "$list and $each may both be the list of its binlog's files: name it as binlog_index in the cluster file"
            list=$each
        done
        [ -n "$list" ] || fail "$dir holds no list of binlog files: name it as binlog_index in the cluster file"
    fi
    [ -f "$list" ] || fail "$list: No such file, and the list of its binlog's files was there: name it as binlog_index in the cluster file"
    [ -r "$list" ] || fail "$list cannot be read by $(id -un): let the account that [ssh] logs in as read it"
}

# Where a line of the list leads.
path_of() {
    case $1 in
    /*) printf '%s' "$1" ;;
    *) printf '%s' "${list%/*}/${1#./}" ;;
    esac
}

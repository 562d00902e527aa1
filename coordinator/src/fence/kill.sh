# Ends the server of the data directory $1 with SIGKILL, keeps it from starting for $2 seconds, and says "gone" when no
# process of it is left and nobody listens where it did ($3, a pattern of /proc/net/tcp). Anything else it says is why not.
set -u
fail() {
    printf '%s\n' "$*"
    exit 1
}

[ "$(id -u)" = 0 ] || fail "only root sees and ends every server; log in as root"
dir=$(cd -- "$1" 2>/dev/null && pwd -P) || fail "there is no folder $1 on this host"
[ -d "$dir/mysql" ] || fail "$dir is no data directory: it holds no folder mysql"
kept=$2 pattern=$3

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

# Beside this connection and beyond it: whatever starts the server again meanwhile, it does not get far.
(
    trap '' HUP
    rounds=$((kept * 10))
    while [ $rounds -gt 0 ]; do
        end
        sleep 0.1
        rounds=$((rounds - 1))
    done
) </dev/null >/dev/null 2>&1 &
keeper=$!

rounds=0
while end; pids=$(servers); [ -n "$pids" ]; do
    rounds=$((rounds + 1))
    [ $rounds -lt 1200 ] || fail "the process $pids does not end"
    sleep 0.05
done
if grep -qE "$pattern" /proc/net/tcp /proc/net/tcp6 2>/dev/null; then
    fail "no server runs in $dir, but one listens at its address: is data_dir right?"
fi
kill -0 $keeper 2>/dev/null || fail "nothing keeps it from starting again"
echo gone

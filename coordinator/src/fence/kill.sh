# Ends the server of the data directory $1 with SIGKILL, keeps it from starting for $2 seconds, and says "gone" when no
# process of it is left and nobody listens where it did ($3, a pattern of /proc/net/tcp). Anything else it says is why not.
# With $4 = readable it is ended only if its binlog's files are there to be read afterwards; $5 is their list, if known.
kept=$2 pattern=$3
if [ "${4-}" = readable ]; then
    find_list "${5-}"
    newest=
    while IFS= read -r line || [ -n "$line" ]; do
        [ -z "$line" ] || newest=$(path_of "$line")
    done <"$list"
    [ -r "$newest" ] || fail "${newest:-what $list names} cannot be read, so that what it holds would be lost: it was not ended"
    # MySQL's encrypted files begin otherwise.
    magic=$(head -c 4 -- "$newest" | od -An -tx1 | tr -d ' \n')
    [ "$magic" = fe62696e ] || fail "$newest is no binlog that can be read without its server (encrypted?): it was not ended"
fi
keep "$kept"

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

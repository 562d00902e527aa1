# Tells what is needed to read the binlog of the server of the data directory $1, which is gone: the list of its files ($2, if
# known), for how many seconds the host is up, and each file with its size and the time of its last change. Keeps the server
# from starting for $3 seconds more. Ends with "listed"; anything else that it says at its end is why not.
[ -z "$(servers)" ] || fail "a server runs in $dir again: what it held before is not certain"
find_list "$2"
keep "$3"
printf 'list %s\n' "$list"
uptime
printf 'up %s\n' "$up"
while IFS= read -r line || [ -n "$line" ]; do
    [ -n "$line" ] || continue
    file=$(path_of "$line")
    if [ ! -e "$file" ]; then
        printf 'missing %s\n' "$file"
    elif [ ! -r "$file" ]; then
        printf 'refused %s\n' "$file"
    else
        printf 'file %s %s\n' "$(stat -L -c '%s %Y' -- "$file")" "$file"
    fi
done <"$list"
[ -z "$(servers)" ] || fail "a server runs in $dir again: what it held before is not certain"
kill -0 $keeper 2>/dev/null || fail "nothing keeps it from starting again"
echo listed

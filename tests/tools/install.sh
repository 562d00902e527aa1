#!/usr/bin/env bash
# Installs what the demo and the lab need and says what; does nothing when all is there.
#
#   install.sh [base] [net] [mysql] [feed] [ssh] [proxies] [browser]
#
# base   compiler, MariaDB server, Redis, HAProxy           (demo, lab on loopback)
# net    namespaces, kernel rules, address announcements, Galera's library    (lab in namespaces, tests of nodes)
# mysql  a MySQL 9.x server, unpacked into the cache, unless MYSQL_BASEDIR names one (any 8.0 or newer tree)
#
# feed   node and npm                                       (stock Socket.IO clients)
# ssh    ssh, and an sshd of the cache's own                (fences through ssh)
# proxies  nginx, unpacked into the cache                    (viewers behind proxies)
# browser  chromium, and what makes it trust a certificate  (the dashboard)
#
# Only packages without services are installed, so nothing starts on this machine. TASUKI_CACHE moves the cache.
set -euo pipefail

cache=${TASUKI_CACHE:-${XDG_CACHE_HOME:-$HOME/.cache}/tasuki}
export PATH=$PATH:/usr/sbin:/sbin DEBIAN_FRONTEND=noninteractive

say() { printf 'tools: %s\n' "$*"; }
die() { printf 'tools: ERROR: %s\n' "$*" >&2; exit 1; }
has() { command -v "$1" >/dev/null 2>&1; }

# Runs a command as root: as it is, or by sudo when that asks nothing or somebody can answer.
as_root() {
    if [ "$(id -u)" = 0 ]; then "$@"
    elif has sudo && { sudo -n true 2>/dev/null || [ -t 0 ]; }; then sudo --preserve-env=DEBIAN_FRONTEND "$@"
    else die "root is needed for: $* ; run it yourself as root, then repeat this"
    fi
}

apt_options=(--no-upgrade -o DPkg::Lock::Timeout=300 -o Acquire::Retries=2 -o Acquire::http::Timeout=20 -o Acquire::https::Timeout=20)

# Installs packages: with the lists as they are, and once more with fresh ones.
apt_install() {
    has apt-get || die "apt-get is missing and so are: $* ; install the programs that they hold by hand"
    say "installing $*"
    local log=$work/apt.log
    if as_root timeout -k 10 300 apt-get install -y -q --no-install-recommends "${apt_options[@]}" "$@" >"$log" 2>&1; then return; fi
    say "the package lists are missing or old, updating them"
    as_root timeout -k 10 120 apt-get update -q "${apt_options[@]:1}" >>"$log" 2>&1 || true
    as_root timeout -k 10 300 apt-get install -y -q --no-install-recommends "${apt_options[@]}" "$@" >>"$log" 2>&1 && return
    tail -n 20 "$log" >&2
    die "apt-get could not install: $* ; see above, repair apt (network, sources, a broken package) and repeat"
}

# want PROGRAM PACKAGE...: remembers the packages when the program is missing.
missing=()
want() {
    if ! has "$1"; then missing+=("${@:2}"); fi
}

install_base() {
    want cc gcc libc6-dev
    want mariadbd mariadb-server-core mariadb-client-core
    want mariadb-install-db mariadb-server-core
    want mariadb-binlog mariadb-client
    want mariadb-backup mariadb-backup
    want my_print_defaults mariadb-client-core
    want redis-check-rdb redis-tools
    want flock util-linux
    want timeout coreutils
    want systemd-analyze systemd
}

install_net() {
    want ip iproute2
    want arping iputils-arping
    want nft nftables
    # A Galera node, which a test shows to be left alone.
    [ -e /usr/lib/galera/libgalera_smm.so ] || missing+=(galera-4)
}

install_feed() {
    want node nodejs
    want npm npm
    # For python-socketio.
    python3 -m pip --version >/dev/null 2>&1 || missing+=(python3 python3-pip)
}

# unpack PACKAGE PROGRAM FLAG: the program of a package that brings a service: only the program is wanted, so it is unpacked
# into the cache; its libraries are installed.
unpack() {
    local package=$1 program=$2 flag=$3 libraries
    has "$program" && return
    [ -x "$cache/tools/usr/sbin/$program" ] && return
    say "unpacking $package into $cache/tools"
    ( cd "$work" && { timeout 60 apt-get download -q "$package" || { as_root timeout 120 apt-get update -q && timeout 60 apt-get download -q "$package"; }; } ) \
        >"$work/$package.log" 2>&1 || { tail "$work/$package.log" >&2; die "$package could not be downloaded; install it by hand"; }
    mapfile -t libraries < <(apt-cache depends "$package" | sed -n 's/^ *Depends: \(lib[^ ]*\)$/\1/p')
    apt_install "${libraries[@]}"
    mkdir -p "$cache/tools"
    dpkg -x "$work/${package}"_*.deb "$cache/tools"
    "$cache/tools/usr/sbin/$program" "$flag" >/dev/null 2>&1 || die "the unpacked $program does not run; install $package by hand"
}

install_browser() {
    want chromium chromium fonts-dejavu-core
    want certutil libnss3-tools
}

install_ssh() {
    want ssh openssh-client
    want ssh-keygen openssh-client
    want useradd passwd
}

# sshd steps down to an account of its own before anybody has logged in; its package would make it.
make_sshd_account() {
    id sshd >/dev/null 2>&1 || as_root useradd --system --no-create-home --home-dir /run/sshd --shell /usr/sbin/nologin sshd
}

# The mirror that this machine itself uses for Debian.
debian_mirror() {
    local codename
    codename=$(. /etc/os-release && [ "${ID:-}" = debian ] && printf '%s' "${VERSION_CODENAME:-sid}") || return 1
    # shellcheck disable=SC2016
    apt-get indextargets --format '$(REPO_URI) $(RELEASE) $(COMPONENT)' 'Created-By: Packages' 2>/dev/null \
        | awk -v codename="$codename" '$2 ~ "^(" codename "|stable|testing|unstable|sid)$" && $3 == "main" { print $1; exit }'
}

# An apt of its own, so that the machine's apt stays as it is: an empty status makes it fetch the whole closure.
private_apt() {
    local root=$1 mirror=$2
    mkdir -p "$root"/etc/apt/{apt.conf.d,preferences.d,sources.list.d,trusted.gpg.d} \
        "$root"/var/lib/apt/lists/partial "$root"/var/cache/apt/archives/partial "$root"/var/lib/dpkg
    : >"$root/var/lib/dpkg/status"
    printf 'deb [signed-by=/usr/share/keyrings/debian-archive-keyring.gpg] %s sid main\n' "$mirror" >"$root/etc/apt/sources.list"
    {
        # Proxies and the like of this machine stay in force.
        apt-config dump | grep -E '^Acquire::(http|https)(::Proxy|::CaInfo|::Verify)' || true
        printf 'Dir "%s/";\nDir::State::status "%s/var/lib/dpkg/status";\nDir::Etc "%s/etc/apt";\n' "$root" "$root" "$root"
        printf 'APT::Architectures {"%s";};\nAPT::Install-Recommends "false";\nAPT::Sandbox::User "root";\n' "$(dpkg --print-architecture)"
        printf 'Acquire::Languages "none";\nAcquire::Check-Valid-Until "false";\nAcquire::Check-Date "false";\n'
        printf 'Acquire::Retries "2";\nAcquire::http::Timeout "20";\nAcquire::https::Timeout "20";\n'
    } >"$root/apt.conf"
}

# Fetches Debian's newest MySQL with every library it needs.
fetch_mysql() {
    local root=$1
    APT_CONFIG=$root/apt.conf timeout -k 10 120 apt-get update -q \
        && APT_CONFIG=$root/apt.conf timeout -k 10 300 apt-get install -y -q -d mysql-server-core
}

# Unpacks the packages and makes the server use the libraries that came with it, whatever this machine has.
unpack_mysql() {
    local root=$1 tree=$2 deb loader libraries
    mkdir -p "$tree"
    for deb in "$root"/var/cache/apt/archives/*.deb; do dpkg -x "$deb" "$tree"; done
    ( cd "$root/var/cache/apt/archives" && sha256sum -- *.deb ) >"$tree/PACKAGES"
    rm -rf "$tree"/usr/share/{doc,man,locale,perl,info,bash-completion,lintian,i18n} "$tree"/usr/lib/*/{perl,perl-base,gconv}
    loader=$(patchelf --print-interpreter "$tree/usr/sbin/mysqld")
    [ -e "$tree/usr$loader" ] && loader=$tree/usr$loader || loader=$tree$loader
    libraries=$(basename "$(dirname "$(find "$tree/usr/lib" -name 'libc.so.6' -print -quit)")")
    # The tree is moved into place afterwards: the interpreter must name that place.
    patchelf --set-interpreter "${loader/$tree/$cache/mysql}" --force-rpath --set-rpath "\$ORIGIN/../lib/$libraries" "$tree/usr/sbin/mysqld"
}

install_mysql() {
    local basedir=${MYSQL_BASEDIR:-} mirror tree=$cache/mysql.partial
    if [ -n "$basedir" ]; then
        [ -x "$basedir/bin/mysqld" ] || [ -x "$basedir/sbin/mysqld" ] \
            || die "MYSQL_BASEDIR=$basedir holds no bin/mysqld or sbin/mysqld; point it at an unpacked MySQL 8.0 or newer, or unset it"
        return
    fi
    [ -e "$cache/mysql/PACKAGES" ] && return
    has patchelf || apt_install patchelf
    mirror=$(debian_mirror) || mirror=
    [ -n "$mirror" ] || die "this machine's apt names no Debian mirror; set MYSQL_BASEDIR to an unpacked MySQL 8.0 or newer"
    say "fetching MySQL into $cache/mysql (about 70 MB; this machine's apt is not touched)"
    private_apt "$work/apt" "$mirror"
    fetch_mysql "$work/apt" >"$work/mysql.log" 2>&1 || fetch_mysql "$work/apt" >>"$work/mysql.log" 2>&1 || {
        tail -n 20 "$work/mysql.log" >&2
        die "MySQL could not be fetched from Debian sid; set MYSQL_BASEDIR to an unpacked MySQL 8.0 or newer (FLAVOUR=mariadb needs none)"
    }
    rm -rf "$tree" "$cache/mysql"
    unpack_mysql "$work/apt" "$tree"
    mv "$tree" "$cache/mysql"
    "$cache/mysql/usr/sbin/mysqld" --no-defaults --version >"$work/version" 2>&1 || {
        cat "$work/version" >&2
        rm -rf "$cache/mysql"
        die "the unpacked MySQL does not run here; set MYSQL_BASEDIR to an unpacked MySQL 8.0 or newer"
    }
    say "$(cat "$work/version")"
}

[ $# -gt 0 ] || set -- base
mkdir -p "$cache"
work=$(mktemp -d "$cache/install.XXXXXX")
trap 'rm -rf "$work"' EXIT

for part in "$@"; do
    case $part in
        base) install_base ;;
        net) install_net ;;
        feed) install_feed ;;
        ssh) install_ssh ;;
        browser) install_browser ;;
        mysql | proxies) ;;
        *) die "unknown part '$part'; parts are: base net mysql feed ssh proxies browser" ;;
    esac
done
if [ ${#missing[@]} -gt 0 ]; then apt_install "${missing[@]}"; fi

# Two installations at a time would write into the same cache.
exec 9>"$cache/install.lock"
flock -w 600 9 || die "another installation holds $cache/install.lock for 10 minutes; end it and repeat"
for part in "$@"; do
    case $part in
        base) unpack haproxy haproxy -v ;;
        proxies) unpack nginx nginx -v ;;
        ssh) unpack openssh-server sshd -V && make_sshd_account ;;
        mysql) install_mysql ;;
    esac
done

# SPDX-License-Identifier: BSD-3-Clause
# shellcheck shell=bash
# What install, quickstart and check share: speaking, failing, packages, accounts and who may write where.
# Sourced, never executed. The caller has set `program`, its name in messages.
# shellcheck disable=SC2034,SC2154 # colours are used by the callers, and program is theirs

if [[ -t 1 && -z ${NO_COLOR:-} ]]; then
    bold=$'\e[1m' dim=$'\e[2m' red=$'\e[31m' green=$'\e[32m' plain=$'\e[0m'
else
    bold='' dim='' red='' green='' plain=''
fi

say() {
    printf '%s\n' "$*"
}

fail() {
    printf '%s%s: %s%s\n' "$red" "$program" "$*" "$plain" >&2
    exit 1
}

# show_tail LOG [LINES]: what a failing step shows of its log.
show_tail() {
    local log=$1 lines=${2:-20}
    [[ -s $log ]] || return 0
    printf '%s--- the end of %s:%s\n' "$dim" "$log" "$plain" >&2
    tail -n "$lines" "$log" | sed 's/^/    /' >&2
}

# run_step WHAT LOG COMMAND...: run quietly; one line when done, the log's end when it failed. The first
# failure in COMMAND ends it, which bash grants only outside of any condition: never `run_step ... || ...`.
run_step() {
    local what=$1 log=$2 started=$SECONDS status
    shift 2
    printf '%s ... ' "$what"
    set +e
    (
        set -e
        "$@"
    ) >>"$log" 2>&1 </dev/null
    status=$?
    set -e
    if ((status)); then
        printf '%sfailed%s\n' "$red" "$plain"
        show_tail "$log"
        fail "this step failed: $what (exit status $status)"
    fi
    printf '%sdone%s %s(%d s)%s\n' "$green" "$plain" "$dim" "$((SECONDS - started))" "$plain"
}

# become_root SCRIPT ARGUMENTS...: go on as root, by sudo where we are not.
become_root() {
    ((EUID == 0)) && return 0
    command -v sudo >/dev/null || fail "must run as root, and there is no sudo here"
    say "$program needs root; running it again by sudo"
    exec sudo -- "$@"
}

# os_release KEY: what this system says of itself.
os_release() (
    # In a subshell: the file sets many names.
    # shellcheck disable=SC1091
    . /etc/os-release 2>/dev/null || true
    printf %s "${!1:-}"
)

require_supported_system() {
    local version
    version=$(os_release VERSION_ID)
    case $(os_release ID) in
        debian) [[ -z $version || ${version%%.*} -ge 12 ]] && return 0 ;; # testing has no number
        ubuntu) [[ ${version%%.*} -ge 24 ]] && return 0 ;;
    esac
    fail "this is $(os_release PRETTY_NAME); Debian 12 and newer and Ubuntu 24.04 and newer are supported" \
        "(apt, and python3 3.11 or newer)"
}

is_installed() {
    [[ $(dpkg-query --show --showformat='${db:Status-Abbrev}' "$1" 2>/dev/null) == ?i* ]]
}

# missing_packages NAME...: those that are not installed, one a line.
missing_packages() {
    local package
    for package; do
        is_installed "$package" || printf '%s\n' "$package"
    done
}

# need_packages LOG NAME...: install what is missing, refreshing apt's lists only where they are of no use.
need_packages() {
    local log=$1 missing
    shift
    mapfile -t missing < <(missing_packages "$@")
    ((${#missing[@]})) || return 0
    run_step "apt-get install ${missing[*]}" "$log" install_packages "${missing[@]}"
}

install_packages() {
    local -a apt_get=(env DEBIAN_FRONTEND=noninteractive apt-get -q -y -o DPkg::Lock::Timeout=300)
    local -a install=("${apt_get[@]}" install --no-install-recommends "$@")
    if compgen -G '/var/lib/apt/lists/*_Packages*' >/dev/null && "${install[@]}"; then
        return 0
    fi
    "${apt_get[@]}" update && "${install[@]}"
}

# distribution_sources CODENAME: lines of sources.list for where this machine's apt finds its distribution.
distribution_sources() {
    local keyring signed_by=''
    for keyring in /usr/share/keyrings/{debian,ubuntu}-archive-keyring.{gpg,pgp}; do
        [[ -e $keyring ]] && signed_by="[signed-by=$keyring] " && break
    done
    # shellcheck disable=SC2016 # apt expands these
    apt-get indextargets --format '$(ORIGIN) $(COMPONENT) $(REPO_URI) $(RELEASE)' 'Created-By: Packages' |
        sed -nE "s#^(Debian|Ubuntu) main ([^ ]+) ($1(-updates|-security)?)\$#deb $signed_by\\2 \\3 main#p" | sort -u
}

# How this machine's apt reaches its servers, for an apt.conf of another root tree.
apt_access() {
    apt-config dump | grep -E '^Acquire::(Check-|http|https|Retries|ForceIPv4)' || true
}

# require_untouchable DIRECTORY: it and everything above it can be changed by root alone. What is set-uid
# root, or executed as root, must not live where somebody else could swap it.
require_untouchable() {
    local directory=$1 owner mode
    while :; do
        if [[ -e $directory ]]; then
            [[ -d $directory ]] || fail "$directory is not a directory"
            read -r owner mode < <(stat -L --format='%u %a' "$directory")
            ((owner == 0)) || fail "$directory belongs to uid $owner, not to root: choose another --prefix"
            ((8#$mode & 8#022)) && fail "$directory can be written by others (mode $mode): choose another --prefix"
        fi
        [[ $directory == / ]] && return 0
        directory=$(dirname "$directory")
    done
}

# absolute_directory OPTION PATH: PATH in the one spelling that configuration files, shebangs and URLs all take.
absolute_directory() {
    [[ $2 =~ ^/[A-Za-z0-9._+/-]+$ ]] || fail "$1 must be an absolute path of letters, digits and ._+-, not '$2'"
    realpath --canonicalize-missing -- "$2"
}

# hash_of FILE...: one number for the content, mode and name of all of them.
hash_of() {
    { stat --format='%a %n' -- "$@" && sha256sum -- "$@"; } | sha256sum | cut -c1-32
}

# install_file MODE SOURCE TARGET: put a root-owned file in place whole, whoever may be running the old one.
install_file() {
    local mode=$1 source=$2 target=$3 new
    new=$(mktemp "$(dirname "$target")/.$(basename "$target").XXXXXX")
    cp -- "$source" "$new"
    ((EUID)) || chown root:root "$new" # who stages a package need not be root
    chmod "$mode" "$new"
    mv -fT -- "$new" "$target"
}

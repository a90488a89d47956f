# SPDX-License-Identifier: BSD-3-Clause
"""What a remote host is asked to do, for a POSIX shell and coreutils.

Every script gets the image directory as its first argument and starts in it; what it prints before
it fails is the reason. Arguments reach it quoted, and file names are those that `names` makes.
"""

from __future__ import annotations

ENTER = """\
if ! [ -d "$1" ]; then
    echo 'it is no directory there: create it, owned by the account that ssh logs in as'
    exit 1
fi
cd "$1"
"""

REQUIRE_USABLE = """\
if ! { [ -r . ] && [ -w . ] && [ -x . ]; }; then
    echo 'the account that ssh logs in as cannot write there: change its owner'
    exit 1
fi
"""

# $2 partial file, $3 KiB it will have, $4 over how many OSTs Lustre is to spread it
PREPARE = """\
rm -rf -- "$2"
free=$(df -Pk . | { read -r skip; read -r skip skip skip free skip; echo "$free"; })
case $free in
    '' | *[!0-9]*) ;;
    *) if [ "$free" -lt "$3" ]; then
        echo "it is full: $free KiB are free, the image has $3: free some space, or expire images"
        exit 1
    fi ;;
esac
if [ "$4" != 0 ] && command -v lfs >/dev/null; then
    lfs setstripe -c "$4" "$2" || rm -f -- "$2"
fi
[ -e "$2" ] || : >"$2"
chmod 600 "$2"
"""

# $2 partial file; prints its bytes and its digest
MEASURE = """\
chmod 600 "$2"
sync "$2"
wc -c <"$2"
sha256sum <"$2"
"""

# $2 partial file, $3 its content
WRITE_TEXT = """\
rm -f -- "$2"
printf '%s' "$3" >"$2" || { rm -f -- "$2"; exit 1; }
sync "$2"
"""

# Pairs: partial file, its name when it is whole; each is on disk before the next is visible.
PUBLISH = """\
shift
while [ $# -gt 0 ]; do
    mv -f "$1" "$2"
    sync .
    shift 2
done
"""

# $2 .meta, $3 image; if both are there, prints the image's bytes, and its start in hexadecimal
INSPECT = """\
if [ -f "$2" ] && [ -f "$3" ]; then
    wc -c <"$3"
    dd if="$3" bs=4096 count=1 2>/dev/null | od -An -v -tx1
fi
"""

# $2 a small file; prints what is in it
READ = """\
if ! [ -f "$2" ]; then
    echo "$2 is not there"
    exit 1
fi
base64 <"$2"
"""

# $2 image
MEASURE_SIZE = """\
wc -c <"$2"
"""

# $2 image, $3 a mark; prints the mark, the image's bytes and when it was written. Then it reads the
# number of a byte, of which the first is 1, and prints the image from there on.
SEND = """\
if [ -L "$2" ] || ! [ -f "$2" ]; then
    echo "$2 is not there"
    exit 1
fi
exec 3<"$2"
stat -L -c "$3 %s %Y" /dev/stdin <&3
read -r first
exec tail -c "+$first" <&3 2>&4
"""

# Pairs: a file that may be there, the hidden name under which it is put aside
PUT_ASIDE = """\
shift
while [ $# -gt 0 ]; do
    rm -rf -- "$2"
    if [ -e "$1" ]; then
        mv -f "$1" "$2"
    fi
    sync .
    shift 2
done
"""

# Pairs as above; a file stays away where there is a new one
PUT_BACK = """\
shift
while [ $# -gt 0 ]; do
    if [ -e "$2" ]; then
        ln "$2" "$1" || [ -e "$1" ]
        rm -f -- "$2"
    fi
    shift 2
done
"""

# $2 … partial files
DISCARD = """\
shift
rm -rf -- "$@"
"""

# $2 image id, $3 the worker that holds the image
SHUT_OUT_OTHERS = """\
for path in ."$2".*.partial; do
    case $path in
        ."$2".*."$3".partial) ;;
        *) rm -rf -- "$path" ;;
    esac
done
"""

# $2 partial file; prints how many KiB are free while it is there
ABANDON = """\
df -Pk . | { read -r skip; read -r skip skip skip free skip; echo "$free"; }
rm -f -- "$2"
"""

# Prints the time, then what is there.
LIST = """\
date +%s
ls -lnA --time-style=+%s .
"""

# $2 directory of the entry, $3 the entry, $4 hidden file, $5 image id
INDEX = """\
if [ -f "$3" ] && read -r known <"$3" && [ "$known" = "$5" ]; then
    exit 0
fi
mkdir -p "$2"
trap 'rm -f -- "$4"' EXIT
printf '%s\\n' "$5" >"$4"
sync "$4"
mv -f "$4" "$3"
sync "$2"
"""

# As INDEX; between a look and a removal, the name may have been given to another image.
UNINDEX = """\
if ! { [ -f "$3" ] && read -r known <"$3" && [ "$known" = "$5" ]; }; then
    exit 0
fi
trap 'rm -f -- "$4"' EXIT
mv -f "$3" "$4"
if ! { read -r known <"$4" && [ "$known" = "$5" ]; }; then
    ln "$4" "$3" || true
fi
rm -f -- "$4"
sync "$2"
"""

# $2 the index; prints the id and the place of every entry
LIST_INDEX = """\
list() {
    for path in "$1"/*; do
        if [ -d "$path" ]; then
            list "$path"
        elif [ -f "$path" ] && read -r id <"$path"; then
            printf '%s %s\\n' "$id" "$path"
        fi
    done
}
list "$2"
"""

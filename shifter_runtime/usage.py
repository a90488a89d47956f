# SPDX-License-Identifier: BSD-3-Clause
"""What `shifter --help` says; its first part is also shown with errors of usage."""

SHORT = """
Usage:
shifter [options] [--] [command [arguments...]]

  -h, --help
  -v, --verbose
  -i, --image=<imageType>:<imageTag>
      --entrypoint[=command]
  -w, --workdir[=/path]
  -E, --clearenv
  -e, --env=<var>=<value>
      --env-file=/env/file
  -V, --volume=/from:/to[:<flags>][;...]
  -m, --module=<modulename>[,...]
      --dry-run

"""

LONG = (
    SHORT
    + """\
Runs a program in a container image, as yourself: with your user and group ids, in the directory
you are in, with your files where the site shares them. Options end at the first word that is not
one, or at --.

  shifter --image=docker:ubuntu:24.04 cat /etc/os-release
  shifter --image=docker:ubuntu:24.04 --volume=$SCRATCH/run7:/data python3 /data/fit.py
  srun -n 64 shifter --image=custom:solver:v3 --entrypoint input.yaml

Image Selection
  The first of these that is given:
    --image=docker:NAME:TAG (or custom:..., id:..., see: shifterimg images)
    the environment variable SHIFTER=type:tag
    the variables SHIFTER_IMAGETYPE and SHIFTER_IMAGE, which a batch job sets
    the variable SHIFTER_IMAGEREQUEST
  Without a type, the site's default is meant (usually docker). Pull an image once before you use
  it: shifterimg pull docker:NAME:TAG

Command Selection
  The given command. With --entrypoint, the entry point of the image, followed by the given
  arguments or else by the image's own; --entrypoint=COMMAND replaces the entry point. Without any
  command: your shell ($SHELL) if the image has it, else /bin/sh. The image's default command is
  used with --entrypoint only.

--workdir
  The program starts in the directory you are in, or in / where the container does not have it.
  --workdir=/path (or -w/path) chooses another; --workdir alone the one the image names.

Environmental Transfer
  Your variables are passed on, overridden by those of the image; --clearenv keeps yours out.
  --env=NAME=value sets one and may be repeated. --env-file reads lines NAME=value; blank lines and
  lines that begin with # are skipped, quotes are kept as they are.

  Order of precedence, later ones win:
    1. LD_*, RTLD_*, TMPDIR and others that the dynamic linker trusts are removed
    2. your environment
    3. the image
    4. --env-file
    5. --env
    6. modules
    7. the configuration of the site

Shifter Module Support
  A module is a set of directories, variables and scripts that the site offers, for MPI or GPUs for
  example. --module=a,b chooses modules in the place of the site's defaults; --module=none
  chooses none.

Volume Mapping
  --volume=/from:/to shows the directory /from (as seen in the container: a directory of the image
  or one that the site shares) at /to, for example --volume=/scratch/me/in:/data:ro;/home/me:/work
  and may be repeated. Flags: ro (read-only), perNodeCache=size=200G (a private, fast filesystem
  on each node). Not below /dev, /etc, /opt/udiImage, /proc, /sys, /var (except at /var/tmp).

--dry-run
  Prints what would be mounted and written, and does nothing.
"""
)

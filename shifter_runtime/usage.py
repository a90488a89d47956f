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
      --unsetenv=<var>[,...]
      --writable[=<size>]
      --mount=tmpfs:/path[:size=<size>]
      --no-mount=<name>[,...]
      --dry-run
      --timing
      --json
      --version

"""

LONG = (
    SHORT
    + """\
Runs a program in a container image, as yourself: with your user and group ids,
in the directory you are in, with your files where the site shares them. Options
end at the first word that is not one, or at --. A long option may be shortened
as long as it is clear which one is meant. A value in [] has to be attached.

  shifter --image=docker:ubuntu:24.04 cat /etc/os-release
  shifter --image=docker:ubuntu:24.04 --volume=$SCRATCH/run7:/data ls /data
  srun -n 64 shifter --image=custom:solver:v3 --entrypoint input.yaml
  shifter --image=docker:python:3.12 --clearenv --env=HOME=$HOME python3
  shifter --image=docker:ubuntu:24.04 --writable=2G sh build.sh

Image Selection
  The first of these that is given:
    --image=docker:NAME:TAG (or custom:..., id:..., see: shifterimg images; or
      local:/path where the site allows directories as images)
    the environment variable SHIFTER=type:tag
    the variables SHIFTER_IMAGETYPE and SHIFTER_IMAGE, which a batch job sets
    the variable SHIFTER_IMAGEREQUEST
  Without a type, the site's default is meant (usually docker). Pull an image
  once before you use it: shifterimg pull docker:NAME:TAG

Command Selection
  The given command. With --entrypoint, the entry point of the image, followed
  by the given arguments or else by the image's own; --entrypoint=COMMAND
  replaces the entry point. Without any command: your shell ($SHELL) if the
  image has it, else /bin/sh. The image's default command is used with
  --entrypoint only.

--workdir
  The program starts in the directory you are in, or in / where the container
  does not have it. --workdir=/path (or -w/path) chooses another; --workdir
  alone the one the image names.

Environmental Transfer
  Your variables are passed on, overridden by those of the image; --clearenv
  keeps yours out. --env=NAME=value sets one and may be repeated. --env-file
  reads lines NAME=value from a file of the container and may be repeated; blank
  lines and lines that begin with # are skipped, quotes are kept as they are.
  --unsetenv=NAME removes a variable, wherever you or the image set it.

  Order of precedence, later ones win:
    1. LD_*, RTLD_*, TMPDIR and others that the dynamic linker trusts are gone
    2. your environment
    3. the image
    4. --env-file
    5. --env
       (then --unsetenv)
    6. modules
    7. the configuration of the site

  SHIFTER_VOLUME and SHIFTER_MODULE stand for --volume and --module where these
  are not given. A job finds what was asked for when it was submitted in
  SLURM_SPANK_SHIFTER_IMAGE and so on; a variable without this beginning comes
  first.

Shifter Module Support
  A module is a set of directories, variables and scripts that the site offers,
  for MPI or GPUs for example. --module=a,b chooses modules in the place of the
  site's defaults; --module=none chooses none.

Volume Mapping
  --volume=/from:/to shows the directory /from (as seen in the container: a
  directory of the image or one that the site shares) at /to, and may be
  repeated, or hold several: --volume="/scratch/me/in:/data:ro;/home/me:/work"
  Flags: ro (read-only), perNodeCache=size=200G (a private, fast filesystem on
  each node, in the place of /from). Not below /dev, /etc, /opt/udiImage, /proc,
  /sys, /var (except at /var/tmp).

--writable, --mount, --no-mount
  The image is read-only. With --writable, you may change all of it: what is
  written is kept in the memory of the node, at most as much as --writable=2G
  says, until the program ends.
  --mount=tmpfs:/path:size=1G has an empty directory in memory at /path; may be
  repeated, and may be written type=tmpfs,destination=/path,tmpfs-size=1G.
  --no-mount=NAME leaves out a directory that the site shares, by its path in
  the container or the last part of that: --no-mount=home,tmp
  Such a container is always the program's own, never one that a job prepared.

--dry-run, --timing, --json
  --dry-run prints what would be mounted, written, set and run, and does
  nothing. --timing says on standard error how long each step took. With --json,
  each prints one JSON object.

Doctor
  shifter doctor IMAGE, with the options of a launch if need be, says whether it
  would start on this node, as you, and what is wrong if not; see shifter doctor
  --help. A program of that name is run by: shifter --image=IMAGE doctor

Scripts
  A script may name shifter in its first line, with options if need be, and is
  then read by the program named last. Options are separated by blanks there,
  and cannot hold any:
    #!/usr/bin/shifter /bin/bash
    #!/usr/bin/shifter --image=docker:ubuntu:24.04 /bin/bash

Exit Status
  That of the program; or 1 where the container could not be made, 127 where the
  program could not be started. A signal ends shifter as it ends the program.

As docker knows them, and without any effect: -it, -t, --tty, --interactive,
--rm. What is -v for docker is -V here, and -v is --verbose.
"""
)

# SPDX-License-Identifier: BSD-3-Clause
"""What manual pages say beside what the programs say of themselves."""

from __future__ import annotations

SUMMARIES = {
    "shifter.1": "run a program in a container image, as yourself",
    "shifterimg.1": "fetch container images for a cluster, list them, find one",
    "udiRoot.conf.5": "configuration of Shifter's runtime",
    "imagemanager.json.5": "configuration of Shifter's image gateway",
    "shifter-admin.8": "check nodes and gateways, and prepare modules",
    "shifter-gateway.8": "run Shifter's image gateway, and put its house in order",
    "setupRoot.8": "prepare the container of a job on this node",
    "unsetupRoot.8": "take down what setupRoot prepared",
    "shifter-prologue.8": "prepare the container of a batch system's job",
    "shifter-epilogue.8": "take down the container of a batch system's job",
}

Items = tuple[tuple[str, str], ...]

_COMMANDS_STATUS: Items = (
    ("0", "Done."),
    ("1", "Something failed; standard error says what, and what to do."),
    ("70", "A defect of Shifter: please report what it says."),
    ("130", "Interrupted by Ctrl-C."),
)
_COLOUR: Items = (("NO_COLOR", "Set to anything, no output has colours."),)
_DEBUG: Items = (("SHIFTER_DEBUG", "Set to 1, a defect is shown with all that developers want."),)
_UDI_ROOT_FILE: Items = (
    ("@sysconfdir@/udiRoot.conf", "The configuration; see `udiRoot.conf`(5)."),
)
_GATEWAY_FILE: Items = (
    ("@sysconfdir@/imagemanager.json", "The configuration; see `imagemanager.json`(5)."),
)

ENDS: dict[str, dict[str, Items]] = {
    "shifter.1": {
        "environment": (
            ("SHIFTER", "The image, as type:tag, where no --image is given."),
            ("SHIFTER_IMAGETYPE, SHIFTER_IMAGE", "The same, in two parts; a batch job sets them."),
            ("SHIFTER_IMAGEREQUEST", "The image as it was asked for."),
            ("SHIFTER_VOLUME, SHIFTER_MODULE", "Stand for --volume and --module."),
            ("SLURM_SPANK_SHIFTER_*", "All of these, as Slurm carries them into a job."),
            ("SHELL", "What runs where no program is given, if the image has it."),
        ),
        "files": (
            *_UDI_ROOT_FILE,
            (
                "/opt/udiImage, /var/shifterConfig.json, /var/hostsfile",
                "In the container: what the site adds, what it was made of, the nodes of the job.",
            ),
        ),
    },
    "shifterimg.1": {
        "exit status": (
            *_COMMANDS_STATUS[:3],
            ("75", "Of lookup: no gateway answered, or none could be asked."),
            _COMMANDS_STATUS[3],
        ),
        "environment": (
            ("DOCKER_CONFIG", "The directory of docker's config.json, if not ~/.docker."),
            (
                "REGISTRY_AUTH_FILE, XDG_RUNTIME_DIR, XDG_CONFIG_HOME",
                "Where podman keeps logins, in this order.",
            ),
            ("PATH", "Where credential helpers are (docker-credential-NAME)."),
            ("XDG_RUNTIME_DIR, XDG_CACHE_HOME", "Where completion keeps names for a minute."),
            *_COLOUR,
            *_DEBUG,
        ),
        "files": (
            *_UDI_ROOT_FILE,
            ("~/.udiRoot/.cred", "Your registry logins, which munge has sealed."),
            (
                "~/.docker/config.json, ~/.config/containers/auth.json",
                "Logins of docker and podman, which are used for their registries.",
            ),
        ),
    },
    "shifter-admin.8": {
        "exit status": _COMMANDS_STATUS,
        "environment": (
            ("SUDO_USER", "Who starts an image that root wants to look into."),
            *_COLOUR,
            *_DEBUG,
        ),
        "files": (*_UDI_ROOT_FILE, *_GATEWAY_FILE),
    },
    "shifter-gateway.8": {
        "exit status": (*_COMMANDS_STATUS[:2], ("2", "Wrong usage."), *_COMMANDS_STATUS[2:3]),
        "environment": (("GWCONFIG", "The configuration, if no --config is given."),),
        "files": _GATEWAY_FILE,
    },
    "setupRoot.8": {
        "environment": (("none", "Nothing is read from the environment: a user may have set it."),),
        "files": (
            *_UDI_ROOT_FILE,
            ("/run/shifter/udi", "What is prepared on this node; only for root."),
        ),
    },
    "unsetupRoot.8": {
        "environment": (("none", "Nothing is read from the environment."),),
        "files": (*_UDI_ROOT_FILE, ("/run/shifter/udi", "What is prepared; only for root.")),
    },
    "shifter-prologue.8": {
        "environment": (
            (
                "SHIFTER, SHIFTER_IMAGE, SHIFTER_VOLUME, SHIFTER_MODULE",
                "What the job asks for; read with --environment only.",
            ),
        ),
        "files": (
            *_UDI_ROOT_FILE,
            ("@sysconfdir@/batch", "Examples for Torque, PBS, Grid Engine and LSF."),
        ),
    },
    "shifter-epilogue.8": {
        "environment": (("none", "Nothing is read from the environment without --scheduler."),),
        "files": (*_UDI_ROOT_FILE, ("@sysconfdir@/batch", "Examples for batch systems.")),
    },
    "udiRoot.conf.5": {
        "files": (
            ("@sysconfdir@/udiRoot.conf", "What the installed programs read, and no other."),
            ("@sysconfdir@/udiRoot.conf.example", "A file to start from, with comments."),
        ),
    },
    "imagemanager.json.5": {
        "files": (
            ("@sysconfdir@/imagemanager.json", "What the installed gateway reads."),
            ("@sysconfdir@/imagemanager.json.example", "The smallest that works."),
            (
                "@sysconfdir@/imagemanager.production.json.example",
                "For several hosts, with MongoDB and Redis.",
            ),
        ),
    },
}

_USERS = ("shifter.1", "shifterimg.1")
_NODES = ("shifter.1", "udiRoot.conf.5", "setupRoot.8", "unsetupRoot.8", "shifter-admin.8")
SEE_ALSO: dict[str, tuple[str, ...]] = {
    "shifter.1": (*_USERS, "udiRoot.conf.5"),
    "shifterimg.1": (*_USERS, "shifter-admin.8", "shifter-gateway.8"),
    "setupRoot.8": (*_NODES, "shifter-prologue.8"),
    "unsetupRoot.8": (*_NODES, "shifter-epilogue.8"),
    "shifter-prologue.8": (*_NODES, "shifter-epilogue.8"),
    "shifter-epilogue.8": (*_NODES, "shifter-prologue.8"),
    "udiRoot.conf.5": (*_NODES, "imagemanager.json.5"),
    "imagemanager.json.5": ("shifter-gateway.8", "shifterimg.1", "udiRoot.conf.5"),
}

UDI_ROOT = (
    "Lines of the form `key = value` tell Shifter's programs on a node what the site wants. A line "
    "that begins with # is a comment; one that ends with a backslash goes on in the next. A key of "
    "which several values make sense may stand in several lines.",
    "Root relies on the file, so that only root may be able to change it, or any directory that "
    "leads to it. A key that is unknown is told of, and ignored; `shifter-admin config check` says "
    "what every line means and what is wrong.",
)
MODULES = (
    "A module is what the site offers by a name, for MPI or a GPU for example, and users choose "
    "with --module. NAME is made of letters, digits and .+-"
)
UDI_ROOT_EXAMPLE = """
udiMount = /var/udiMount
loopMount = /var/loopMount
imagePath = /scratch/shifter/images
udiRootPath = /opt/shifter
populateEtcDynamically = 1
allowLibcPwdCalls = 1
siteFs = /home; /scratch
system = cluster
imageGateway = http://gateway.example.org:5000
defaultImageType = docker
module_mpich_copyPath = /opt/shifter/modules/mpich
module_mpich_siteEnvPrepend = LD_LIBRARY_PATH=/opt/udiImage/modules/mpich/lib
"""
IMAGE_MANAGER = (
    "One JSON object. In the names of keys below, a dot leads into a section, and * stands for a "
    "name that the site chooses: `Locations.*.url` is the url of each registry.",
    "A key that is unknown is told of, and ignored; `shifter-gateway config check` says what is "
    "wrong with a file.",
)
IMAGE_MANAGER_EXAMPLE = """
{
  "DefaultImageLocation": "registry-1.docker.io",
  "DefaultImageFormat": "squashfs",
  "CacheDirectory": "/var/cache/shifter",
  "Locations": {
    "registry-1.docker.io": {"remotetype": "dockerv2"}
  },
  "Platforms": {
    "cluster": {
      "accesstype": "local",
      "local": {"imageDir": "/scratch/shifter/images"}
    }
  }
}
"""

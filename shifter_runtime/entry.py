# SPDX-License-Identifier: BSD-3-Clause
"""What the launcher executes: find the runtime beside this file, and run it."""

import gc
import sys

# Started with -I -S, so that nothing but the standard library is on the path. This file is the
# one thing that is compiled anew at each start: it holds as little as it can.
gc.disable()  # it would look for garbage in what lives as long as this process does
directory = __file__.rpartition("/shifter_runtime/")[0]
sys.path.insert(0, directory)

try:
    from shifter_runtime import bundle

    bundle.use(directory)

    from shifter_runtime.main import main
except MemoryError:
    sys.exit("shifter: out of memory: the limits of this process leave too little to start")
except Exception as error:
    sys.exit(
        f"shifter: the installation in {directory} is damaged ({error}): ask the administrator to "
        "install Shifter again"
    )

main(sys.argv[1:])

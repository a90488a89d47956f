# SPDX-License-Identifier: BSD-3-Clause
"""What the launcher executes: find the runtime beside this file, and run it."""

# This file is the one thing that is compiled anew at each start: it holds as little as it can.
try:
    import sys

    # Started with -I -S, so that nothing but the standard library is on the path.
    sys.path.insert(0, __file__.rpartition("/shifter_runtime/")[0])

    from shifter_runtime.main import main

    main(sys.argv[1:])
except KeyboardInterrupt:  # while modules are loaded; later, main itself minds it
    import sys

    # Python then ends as by the signal; but nobody wants to read where it was.
    sys.excepthook = lambda *failure: None
    raise

# SPDX-License-Identifier: BSD-3-Clause
"""What the launcher executes: find the runtime beside this file, and run it."""

import sys

# Started with -I -S, so that nothing but the standard library is on the path. This file is the
# one thing that is compiled anew at each start: it holds as little as it can.
sys.path.insert(0, __file__.rpartition("/shifter_runtime/")[0])

from shifter_runtime.main import main

main(sys.argv[1:])

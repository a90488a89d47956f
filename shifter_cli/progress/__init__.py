# SPDX-License-Identifier: BSD-3-Clause
"""How far pulls and exports are, shown to who waits: in place on a terminal, in lines elsewhere."""

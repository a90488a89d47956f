# SPDX-License-Identifier: BSD-3-Clause
"""What batch systems other than Slurm run as root when a job starts and when it ends."""

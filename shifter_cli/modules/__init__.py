# SPDX-License-Identifier: BSD-3-Clause
"""Modules for udiRoot.conf, made of the node's MPI or GPU driver, and held against an image."""

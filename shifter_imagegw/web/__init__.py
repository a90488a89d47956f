# SPDX-License-Identifier: BSD-3-Clause
"""The web page: what people may see of images and jobs, in any browser. It changes nothing."""

"""AGS-CL, Jung et al. (NeurIPS 2020): one file for each part of section 3."""

from .method import AGSCL as AGSCL

"""depth_kind dense."""

from .block import Depth

# ---- Dense: every token goes through every layer -----------------------------------------------------------------------------------------


KindOfDepth = Depth

"""Line styles that the plots of reports and of engines share."""

from __future__ import annotations

#: Okabe and Ito's colors for color-blind readers, without those that vanish on white or on black; then more
#: for longer lists.
COLORS = ("#1f83d2", "#e69f00", "#009e73", "#cc79a7", "#d55e00", "#56b4e9", "#8c6bb1", "#7f7f7f", "#a6761d")
DASHES = ("solid", "dashed", "dotted")
